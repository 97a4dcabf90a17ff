"""The Blinded reading widget."""
