"""OpenVINO in this process, TensorFlow in a child process; precision; import of Keras files."""
