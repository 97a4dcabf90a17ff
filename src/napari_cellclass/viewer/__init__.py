"""Conversion between napari layers and our records; no Qt, no threads."""
