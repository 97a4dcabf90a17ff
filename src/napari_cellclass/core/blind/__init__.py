"""Blinded reading of test tiles: sampling, reading, unblinding and results."""
