"""The child process that runs TensorFlow; no other package imports it."""
