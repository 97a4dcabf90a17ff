"""Features of tiles: what a network or a linear model is given instead of pixels."""
