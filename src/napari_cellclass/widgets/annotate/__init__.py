"""The Annotate tiles widget."""
