"""The Prepare tiles widget."""
