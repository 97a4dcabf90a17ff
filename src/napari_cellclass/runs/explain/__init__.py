"""Where in a tile a prediction comes from."""
