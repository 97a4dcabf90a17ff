"""The widget *Scatter*: all tiles of the open fields as points."""
