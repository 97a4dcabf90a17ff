"""Records and rules without Qt, threads or a deep-learning library."""
