"""Formats of other programs: GeoJSON of QuPath, COCO, CSV of WSInfer."""
