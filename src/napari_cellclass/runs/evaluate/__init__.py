"""Test sets through a model, and whether the result is to be trusted."""
