"""What was classified, written for other programs: AnnData, and maps within OME-Zarr."""
