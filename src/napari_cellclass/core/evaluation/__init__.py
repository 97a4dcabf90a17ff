"""What came out for a test set or over repeated runs, and the verdict."""
