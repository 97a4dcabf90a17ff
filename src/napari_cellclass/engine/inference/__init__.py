"""Engines (OpenVINO in this process, TensorFlow in a child process), their precision, and import of Keras files."""
