"""A synthetic plate and a real sample field."""
