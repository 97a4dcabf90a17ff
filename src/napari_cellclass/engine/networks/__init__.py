"""Architectures, the graph of texture features, checked loading of Keras files."""
