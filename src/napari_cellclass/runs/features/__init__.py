"""Features of the tiles of images: computed once, and kept for the next time."""
