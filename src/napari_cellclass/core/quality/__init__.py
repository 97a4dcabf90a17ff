"""Whether a data set or a model is to be trusted: checks, confounding, duplicates, shortcuts, alarms."""
