"""Import of the heavy libraries, messages from the parent process, checks of raw tiles."""
