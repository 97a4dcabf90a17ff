"""The work in a viewer as one object: the field, its labels and classes, the current tile, keys and mouse. No Qt."""
