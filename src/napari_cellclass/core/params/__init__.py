"""One pydantic model of parameters per verb."""
