"""The Experiment widget."""
