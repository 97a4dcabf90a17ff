"""napari layers from our records and back; the map; layers found again; keys."""
