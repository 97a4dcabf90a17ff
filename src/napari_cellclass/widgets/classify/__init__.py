"""The Classify field widget, and a model dropped onto napari."""
