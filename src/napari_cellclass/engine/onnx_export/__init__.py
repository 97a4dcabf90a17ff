"""A model as an ONNX graph, from the raw pixels of tiles to calibrated probabilities."""
