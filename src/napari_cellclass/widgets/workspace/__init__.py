"""The dock Cell Class: one header over the pages Label, Train, Map and Check."""
