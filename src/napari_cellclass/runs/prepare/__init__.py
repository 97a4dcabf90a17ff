"""Cutting images into tile files."""
