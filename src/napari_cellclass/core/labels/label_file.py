"""Annotation files ``NAME.tiles.json``: labels by tile id, with classes, grid and the image's id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import MALFORMED_JSON, CellClassError, DatasetError
from napari_cellclass.core.common.files import write_json
from napari_cellclass.core.common.limits import limit, limit_variable
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_store import CONFLICT
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_from_layout, grid_layout

_SUFFIX = ".tiles.json"
_FORMAT = "napari-cellclass annotation"
_SCHEMA = 1


@dataclass(frozen=True)
class ImageKey:
    """The image that labels belong to: its content hash; name and path are for display and for finding it again."""

    image_id: str
    name: str
    path: Path | None = None


@dataclass(frozen=True, eq=False)
class AnnotationFile:
    """Contents of an annotation file.

    Parameters
    ----------
    image, grid, scheme
        The field, the tiles and the classes.
    ids
        int64, shape (M,), ascending: ids of the tiles that have a label, inside the region of interest or not.
    labels
        int16, shape (M,): their labels.
    """

    image: ImageKey
    grid: TileGrid
    scheme: ClassScheme
    ids: NDArray[np.int64]
    labels: NDArray[np.int16]

    def write(self, path: Path) -> None:
        """Write the file atomically.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        name = self.image.name.encode("utf-8", "backslashreplace").decode()  # a file name can be any bytes
        content = {
            "format": _FORMAT,
            "schema_version": _SCHEMA,
            "image": {"id": self.image.image_id, "name": name},
            "grid": grid_layout(self.grid),
            "classes": self.scheme.to_json(),
            "labels": {str(tile): label for tile, label in zip(self.ids.tolist(), self.labels.tolist(), strict=True)},
        }
        write_json(path, content)

    @classmethod
    def read(cls, path: Path) -> AnnotationFile:
        """Read a file.

        Raises
        ------
        DatasetError
            It is missing, damaged, or of a newer version.
        """
        try:
            if (size := path.stat().st_size) > (most := limit("annotation_bytes")):
                raise DatasetError(
                    f"{path} has {size:,} bytes; up to {most:,} are read, see {limit_variable('annotation_bytes')}"
                )
            content = json.loads(path.read_bytes())
        except OSError as error:
            raise DatasetError(f"cannot open {path}: {error.strerror or error}; choose a file {_SUFFIX}") from error
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{path} is damaged or not an annotation: {error}; choose a file {_SUFFIX}") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise DatasetError(f"{path} is not an annotation; choose a file {_SUFFIX} that this program saved")
        if content.get("schema_version") != _SCHEMA:
            raise DatasetError(
                f"{path} has version {content.get('schema_version')!r}, but this program reads {_SCHEMA}; update it"
            )
        try:
            return cls._from_content(content)
        except (*MALFORMED_JSON, CellClassError) as error:
            raise DatasetError(f"{path} is damaged ({type(error).__name__}: {error}); open an earlier copy") from error

    @classmethod
    def _from_content(cls, content: Mapping[str, Any]) -> AnnotationFile:
        image = ImageKey(str(content["image"]["id"]), str(content["image"]["name"]))
        grid = grid_from_layout(content["grid"])
        scheme = ClassScheme.from_json(content["classes"])
        ids = np.array([int(tile) for tile in content["labels"]], np.int64)
        labels = np.array([int(label) for label in content["labels"].values()], np.int64)
        if len(ids) and not (ids.min() >= 0 and ids.max() < grid.grid_shape[0] * grid.grid_shape[1]):
            raise ValueError("a label is for a tile outside the grid")
        if len(ids) and not (labels.min() >= CONFLICT and labels.max() < len(scheme)):
            raise ValueError("a label is not a class index")
        order = np.argsort(ids)
        return cls(image, grid, scheme, ids[order], labels[order].astype(np.int16))
