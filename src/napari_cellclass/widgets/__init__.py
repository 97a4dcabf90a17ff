"""Qt and magicgui, thin."""
