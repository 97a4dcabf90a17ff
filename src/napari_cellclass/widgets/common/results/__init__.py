"""Results in a window of their own: headline, warnings, parts in columns, sheets of tiles."""
