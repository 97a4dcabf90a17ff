"""Labelled tiles for training: class folders, lists of tiles, provenance, splits, names."""
