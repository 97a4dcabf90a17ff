"""Many tiles, many fields: what the command line and the widgets both call."""
