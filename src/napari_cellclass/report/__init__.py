"""Figures: the only room that names matplotlib."""
