"""napari layers from our records and back; no Qt, no threads."""
