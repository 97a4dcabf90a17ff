"""Blinded reading: drawn, read, revealed."""
