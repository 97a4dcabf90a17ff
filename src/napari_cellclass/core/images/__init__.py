"""``SourceImage``, its content hash, and one reader per file format."""
