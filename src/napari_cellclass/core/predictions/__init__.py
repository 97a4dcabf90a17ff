"""The table of classified tiles, and which tile to label next (active learning)."""
