"""Help within the window: what a page is for, with its chapter of the documentation, and what a field means."""
