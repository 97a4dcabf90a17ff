"""Networks, training and inference: the only package that names TensorFlow or OpenVINO."""
