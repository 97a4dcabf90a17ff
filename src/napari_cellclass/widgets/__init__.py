"""The plugin's docks: Qt and magicgui, and no computation."""
