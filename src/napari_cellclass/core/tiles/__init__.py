"""Where tiles lie, and how their pixels are read, normalised, described, changed and written."""
