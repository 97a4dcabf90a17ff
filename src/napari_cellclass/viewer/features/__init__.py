"""What each widget shows on the canvas."""
