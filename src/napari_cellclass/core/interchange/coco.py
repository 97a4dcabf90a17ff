"""Tiles as a COCO detection file, and boxes of such files as labels.

The format is that of https://cocodataset.org/#format-data: ``images``, ``categories`` and ``annotations`` with
``bbox`` = [x, y, width, height] in px, edges on integers. ``score`` is what COCO's result files call a confidence.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cellclass.core.common.errors import MALFORMED_JSON, DatasetError
from napari_cellclass.core.common.files import write_text
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.interchange.geojson import load_geojson
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.points_and_boxes import CsvBoxes
from napari_cellclass.core.predictions.table import TileTable

SUFFIX = ".coco.json"


def write_coco(
    path: Path,
    image_name: str,
    image_shape: tuple[int, int],
    scheme: ClassScheme,
    boxes: NDArray[np.int32],
    labels: ArrayLike,
    scores: NDArray[np.float32] | None = None,
) -> None:
    """Write the boxes of one image.

    Parameters
    ----------
    path
        The file to write.
    image_name, image_shape
        File name and (height, width) in px.
    scheme
        Categories 1, 2, ... in the order of the classes; their ``colour`` and ``key`` are beside the name.
    boxes
        (N, 4): y0, x0, y1, x1 in px.
    labels
        (N,): class indices; boxes of a label below 0 are not written.
    scores
        (N,): confidence in 0..1, where the boxes were predicted.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    annotations: list[dict[str, Any]] = []
    for tile_index, label in enumerate(np.asarray(labels).tolist()):
        if label < 0:
            continue
        y0, x0, y1, x1 = boxes[tile_index].tolist()
        row: dict[str, Any] = {
            "id": len(annotations) + 1,
            "image_id": 1,
            "category_id": label + 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (y1 - y0) * (x1 - x0),
            "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
            "iscrowd": 0,
        }
        if scores is not None:
            row["score"] = round(float(scores[tile_index]), 6)
        annotations.append(row)
    height, width = image_shape
    content = {
        "images": [{"id": 1, "file_name": image_name, "height": int(height), "width": int(width)}],
        "categories": [
            {"id": i + 1, "supercategory": "tile", **row} for i, row in enumerate(scheme.to_json())
        ],
        "annotations": annotations,
    }  # fmt: skip
    write_text(path, json.dumps(content, allow_nan=False, ensure_ascii=False) + "\n")


def write_table_coco(table: TileTable, path: Path, image_name: str) -> None:
    """Write a table's tiles with their confidences; those without a class are not written."""
    shape = table.grid.image_shape
    write_coco(path, image_name, shape, table.scheme, table.grid.boxes, table.class_index, table.confidence)


def read_coco(path: Path, image_name: str | None = None) -> tuple[CsvBoxes, dict[str, str]]:
    """Read the boxes of one image and the colours of their classes.

    Parameters
    ----------
    path
        The file.
    image_name
        Which image's boxes, by file name; may be None where the file has one image only.

    Returns
    -------
    boxes : CsvBoxes
        As :func:`~napari_cellclass.core.labels.tile_labels.labels_from_csv` expects them.
    colours : dict
        ``#RRGGBB`` of the classes, where the file has them.

    Raises
    ------
    DatasetError
        The file is missing or damaged, or does not contain the image.
    """
    content = load_geojson(path)
    try:
        categories = {row["id"]: str(row["name"]).strip() for row in content["categories"]}
        colours = {str(row["name"]).strip(): row["colour"] for row in content["categories"] if "colour" in row}
        image = _image(content["images"], image_name, path)
        rows = [row for row in content["annotations"] if row["image_id"] == image]
        names = tuple(categories[row["category_id"]] for row in rows)
        xywh = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    except MALFORMED_JSON as error:
        raise DatasetError(f"{path} is not a COCO file ({type(error).__name__}: {error}); export it again") from error
    if not np.isfinite(xywh).all() or (xywh[:, 2:] <= 0).any():
        raise DatasetError(f"{path} contains a box without an area; correct or remove it")
    x, y, width, height = xywh.T
    return CsvBoxes(np.stack([y, x, y + height, x + width], axis=1), names), colours


def _image(images: Sequence[Any], image_name: str | None, path: Path) -> Any:
    if image_name is None and len(images) == 1:
        return images[0]["id"]
    found = [row["id"] for row in images if image_name and Path(str(row["file_name"])).name == image_name]
    found = found or [
        row["id"] for row in images if image_name and Path(str(row["file_name"])).stem == Path(image_name).stem
    ]
    if not found:
        known = ", ".join(str(row["file_name"]) for row in images[:3])
        raise DatasetError(
            f"{path} has no image {image_name or 'alone'}; it lists {counted(len(images), 'image')}: {known} …"
        )
    return found[0]
