"""The page Label of the dock Cell Class."""
