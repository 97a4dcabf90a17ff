"""Architectures, checked loading of Keras files."""
