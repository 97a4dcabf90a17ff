"""Predictions that follow every label."""
