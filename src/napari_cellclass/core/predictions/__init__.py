"""The table of classified tiles, and the order in which to look at them."""
