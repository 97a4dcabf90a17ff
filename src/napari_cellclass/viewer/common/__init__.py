"""napari layers and our records; the class map and its view-dependent layers; keys and clicks."""
