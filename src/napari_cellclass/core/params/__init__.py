"""Parameters: one pydantic model per command-line verb, and the settings files that hold them."""
