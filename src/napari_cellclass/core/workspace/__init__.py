"""A project: fields, grid, classes, labels, models and maps as one file, with a folder beside it."""
