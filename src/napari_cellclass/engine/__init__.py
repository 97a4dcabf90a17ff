"""Networks, training and inference: the only room that names TensorFlow or OpenVINO."""
