"""The child process itself, which nothing imports."""
