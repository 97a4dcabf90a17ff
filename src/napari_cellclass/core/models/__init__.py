"""The ``.cellclass`` bundle, the records stored in it, and the names of files beside it."""
