"""A model written for other programs."""
