"""The ``.cellclass`` bundle and the records that a model carries."""
