"""Import of the heavy libraries, the parent process, checks of raw tiles."""
