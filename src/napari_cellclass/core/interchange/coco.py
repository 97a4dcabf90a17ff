"""Tiles as a COCO detection file, and boxes of such files as labels.

The format is that of https://cocodataset.org/#format-data: ``images``, ``categories`` and ``annotations`` with
``bbox`` = [x, y, width, height] in px, edges on integers. ``score`` is what COCO's result files call a confidence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cellclass.core.common.errors import MALFORMED_JSON, DatasetError
from napari_cellclass.core.common.files import write_text
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.json_files import load_json
from napari_cellclass.core.common.names import clean_name, distinct_paths, matching_names, split_path
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


def read_coco(path: Path, image_name: str | Sequence[str] | None = None) -> tuple[CsvBoxes, dict[str, str]]:
    """Read the boxes of one image and the colours of their classes.

    An annotation without a usable box or class is passed over and named in ``skipped``. Ids are compared as texts.

    Parameters
    ----------
    path
        The file.
    image_name
        Which image's boxes, by its name or path, see :func:`~napari_cellclass.core.common.names.matching_names`; of
        several names the first that the file lists counts. None where the file has one image only.

    Returns
    -------
    boxes : CsvBoxes
        As :func:`~napari_cellclass.core.labels.tile_labels.labels_from_csv` expects them.
    colours : dict
        ``#RRGGBB`` of the classes, where the file has them.

    Raises
    ------
    DatasetError
        The file is missing or damaged, does not contain the image, or several that may be it, or none of the
        image's annotations can be used.
    """
    content = load_json(path, "COCO")
    try:
        images = [(_id(row["id"]), str(row.get("file_name", ""))) for row in content["images"]]
        categories = {_id(row["id"]): clean_name(row.get("name")) for row in content["categories"]}
        colours = {clean_name(row.get("name")): _colour(row.get("colour")) for row in content["categories"]}
        annotations = list(content["annotations"])
        image = _image(images, image_name, path)
    except MALFORMED_JSON as error:
        raise DatasetError(f"{path} is not a COCO file ({type(error).__name__}: {error}); export it again") from error
    boxes, names, skipped = [], [], []
    for i, row in enumerate(annotations):
        entry = f"annotation {row.get('id', i + 1) if isinstance(row, dict) else i + 1}"
        try:
            if _id(row["image_id"]) != image:
                continue
            box, name = _box(row), categories.get(_id(row["category_id"]), "")
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) and error.args else str(error)
            skipped.append(f"{entry}: {reason}"[:200])
            continue
        if not name:
            skipped.append(f"{entry}: its category {str(row['category_id'])[:40]!r} has no name")
            continue
        boxes.append(box)
        names.append(name)
    if skipped and not boxes:
        raise DatasetError(f"{path}, {skipped[0]}; correct or remove it")
    given = {name: colour for name, colour in colours.items() if name and colour}
    return CsvBoxes(np.array(boxes, np.float64).reshape(-1, 4), tuple(names), tuple(skipped)), given


def _id(value: Any) -> str:
    """Return an id as a text: some programs write numbers, some texts, some both."""
    if isinstance(value, dict | list) or value is None:
        raise ValueError(f"{str(value)[:40]!r} is not an id")
    return clean_name(value)


def _colour(value: Any) -> str | None:
    return value.upper() if isinstance(value, str) and re.fullmatch("#[0-9A-Fa-f]{6}", value) else None


def _box(row: Mapping[str, Any]) -> list[float]:
    """Return y0, x0, y1, x1 of an annotation: of its box, or of its outlines where it has no box."""
    given = row.get("bbox")
    if not given and isinstance(row.get("segmentation"), list):
        xy = np.concatenate([np.asarray(ring, np.float64).reshape(-1, 2) for ring in row["segmentation"]])
        given = [*xy.min(axis=0), *np.ptp(xy, axis=0)]
    values = [float(value) for value in given] if isinstance(given, list) else []
    if len(values) != 4 or not np.isfinite(values).all():
        raise ValueError(f"its box {str(given)[:60]} is not four numbers")
    x, y, width, height = values
    if width <= 0 or height <= 0:
        raise ValueError(f"its box of {width:g} x {height:g} px has no area")
    return [y, x, y + height, x + width]


def _image(images: Sequence[tuple[str, str]], image_name: str | Sequence[str] | None, path: Path) -> str:
    """Find the id of the image."""
    wanted = [image_name] if isinstance(image_name, str) else list(image_name or ())
    names = [name for _, name in images]
    if not wanted and len(images) == 1:
        return images[0][0]
    found = next((hits for name in wanted if (hits := matching_names(name, names))), [])
    if not found:
        known = f"it lists {counted(len(images), 'image')}: {', '.join(names[:3])}" + " …" * (len(images) > 3)
        which = f"no image {wanted[0]}" if wanted else "several images"
        raise DatasetError(f"{path} has {which}; {known}; open the image first and select its layer")
    if len(paths := distinct_paths(names, found)) > 1:
        raise DatasetError(
            f"{path} has several images that may be {wanted[0]}: {', '.join(paths[:3])}; remove the others"
        )
    ids = {images[i][0] for i in found}
    same = [name for i, name in images if i in ids]
    if len(ids) > 1 or len({split_path(name) for name in same}) > 1:
        raise DatasetError(f"{path} lists {same[0]} under several ids, or several images under one; export it again")
    return ids.pop()
