"""File formats of other programs: QuPath GeoJSON, COCO JSON, WSInfer CSV."""
