"""The Classify plate widget."""
