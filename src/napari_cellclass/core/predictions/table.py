"""Predicted classes and confidences of the tiles of one field, and their CSV and GeoJSON files."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.errors import GridError, ModelError, ParamsError
from napari_cellclass.core.common.files import atomic_write, write_text
from napari_cellclass.core.labels.classes import BELOW_THRESHOLD_NAME, UNSURE_NAME, ClassScheme
from napari_cellclass.core.stats.calibration import Calibration, prediction_sets
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_layout
from napari_cellclass.core.tiles.map_axes import field_pixels

FOREIGN_MEMBER = "napari_cellclass"
"""Our member of a GeoJSON FeatureCollection beside its features (a foreign member, RFC 7946, 6.1)."""
NO_CLASS = ""
"""Class name of a tile that could not be classified (NaN or infinite pixels)."""


_BLOCK = 4096  # tiles that are written at once
_ROUNDING = 1e-6  # p-values are float32


def _to_json(content: Any) -> str:
    return json.dumps(content, allow_nan=False, ensure_ascii=False)


@dataclass(frozen=True, eq=False)
class TileTable:
    """A network's predictions for every tile of a field.

    Parameters
    ----------
    grid
        The N tiles.
    scheme
        The K classes.
    prob
        float32, shape (N, K): softmax outputs; a row of NaN is a tile that could not be classified.
    pixel_size_um
        (y, x) size of a pixel in µm, or None.
    record
        Provenance: image, model, settings, versions, warnings; JSON-able.
    error_rate, limit
        Of the prediction sets, see :meth:`with_error_rate`; both None where there are none. A class is in a
        tile's prediction set where 1 - p is at most ``limit``.
    plane
        Where a field was classified on several planes, the one of these tiles, ``{"T": 0, "Z": 3}``; else empty.
    novelty, novelty_p
        float32, shape (N,): how far each tile is from the model's training tiles, and the conformal p-value of that
        distance, see :mod:`napari_cellclass.core.stats.novelty`; None where the model carries no training tiles.
    novelty_rate
        Tiles with a p-value of at most so much are unlike training; None where no tile is called that.
    """

    grid: TileGrid
    scheme: ClassScheme
    prob: NDArray[np.float32]
    pixel_size_um: tuple[float, float] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    error_rate: float | None = None
    limit: float | None = None
    plane: Mapping[str, int] = field(default_factory=dict)
    novelty: NDArray[np.float32] | None = None
    novelty_p: NDArray[np.float32] | None = None
    novelty_rate: float | None = None

    def __post_init__(self) -> None:
        if self.prob.shape != (len(self.grid), len(self.scheme)):
            raise ParamsError(
                f"probabilities of shape {self.prob.shape} do not fit {len(self.grid)} tiles and "
                f"{len(self.scheme)} classes"
            )

    def __len__(self) -> int:
        return len(self.grid)

    @property
    def is_live(self) -> bool:
        """Whether the predictions follow the labels that are being given, and are no model's yet."""
        return "live" in self.record

    @property
    def has_percentages(self) -> bool:
        """Whether the probabilities are good enough for a percentage; else they only put tiles in an order."""
        return bool(self.record.get("percentages", True))

    def take(self, index: ArrayLike) -> TileTable:
        """Select tiles by their indices or by a boolean mask, in that order."""
        index = np.asarray(index)
        novelty, p = (None if one is None else one[index] for one in (self.novelty, self.novelty_p))
        return replace(self, grid=self.grid.take(index), prob=self.prob[index], novelty=novelty, novelty_p=p)

    @cached_property
    def class_index(self) -> NDArray[np.int16]:
        """int16, shape (N,): index of the most probable class, -1 where there is none."""
        bad = ~np.isfinite(self.prob).all(axis=1)
        index = np.where(np.isfinite(self.prob), self.prob, -1).argmax(axis=1).astype(np.int16)
        index[bad] = -1
        return index

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """float32, shape (N,): the probability of the most probable class, NaN where there is none."""
        best = np.where(np.isfinite(self.prob), self.prob, -1).max(axis=1)
        return np.where(self.class_index >= 0, best, np.nan).astype(np.float32)

    @cached_property
    def prediction_sets(self) -> NDArray[np.bool_]:
        """bool, shape (N, K): whether a class is in a tile's prediction set; all False without class or limit."""
        if self.limit is None:
            return np.zeros(self.prob.shape, bool)
        return prediction_sets(self.prob, self.limit)

    @cached_property
    def class_or_unsure_index(self) -> NDArray[np.int16]:
        """int16, shape (N,): as ``class_index``, but K where the prediction set is not one class."""
        unsure = (self.limit is not None) & (self.class_index >= 0) & (self.prediction_sets.sum(axis=1) != 1)
        return np.where(unsure, len(self.scheme), self.class_index).astype(np.int16)

    def with_error_rate(self, error_rate: float | None, calibration: Calibration | None) -> TileTable:
        """Mark tiles as unsure by prediction sets at an error rate; None removes the marks.

        Raises
        ------
        ModelError
            The model has no calibration.
        """
        if error_rate is None:
            record = {name: value for name, value in self.record.items() if name != "error_rate"}
            return replace(self, record=record, error_rate=None, limit=None)
        if calibration is None:
            raise ModelError(
                f"this model has no calibration, so an error rate of {error_rate:g} has no meaning; train it again"
            )
        record = {**self.record, "error_rate": error_rate}
        return replace(self, record=record, error_rate=error_rate, limit=calibration.threshold(error_rate))

    def with_novelty_rate(self, rate: float | None) -> TileTable:
        """Call tiles unlike training at an error rate, where novelty is known; None calls none so."""
        record = {name: value for name, value in self.record.items() if name != "novelty_rate"}
        if self.novelty_p is None or rate is None:
            return replace(self, record=record, novelty_rate=None)
        return replace(self, record=record | {"novelty_rate": rate}, novelty_rate=rate)

    @cached_property
    def unlike_training(self) -> NDArray[np.bool_]:
        """bool, shape (N,): whether a tile is farther from the training tiles than known ones are at the error rate."""
        if self.novelty_p is None or self.novelty_rate is None:
            return np.zeros(len(self), bool)
        return np.asarray(self.novelty_p <= self.novelty_rate + _ROUNDING)  # NaN is not

    @cached_property
    def class_name(self) -> NDArray[np.object_]:
        """Object array of str, shape (N,); ``"(unsure)"`` where unsure, ``""`` where there is no class."""
        return np.array([*self.scheme.names, UNSURE_NAME, NO_CLASS], object)[self.class_or_unsure_index]

    def columns(self) -> dict[str, NDArray[Any]]:
        """Columns in their order: the same for layer features, CSV and GeoJSON measurements."""
        boxes = self.grid.boxes
        fixed: dict[str, NDArray[Any]] = {
            "tile_id": self.grid.tile_id,
            **{axis.lower(): np.full(len(self), self.plane[axis]) for axis in ("T", "Z") if axis in self.plane},
            "row": self.grid.row,
            "col": self.grid.col,
            **{name: boxes[:, i] for i, name in enumerate(("y0", "x0", "y1", "x1"))},
            "class_name": self.class_name,
            "confidence": self.confidence,
        }
        columns = fixed | {f"p_{name}": self.prob[:, k] for k, name in enumerate(self.scheme.names)}
        columns |= self._novelty_columns()
        return columns if self.limit is None else columns | {"prediction_set": self._prediction_set_names()}

    def _novelty_columns(self) -> dict[str, NDArray[np.float32]]:
        if self.novelty is None or self.novelty_p is None:
            return {}
        return {"novelty": self.novelty, "novelty_p": self.novelty_p}

    def _prediction_set_names(self) -> NDArray[np.object_]:
        """Object array of str, shape (N,): the classes that cannot be ruled out, ``"a|b"``.

        A bar or backslash in a class name has a backslash before it.
        """
        names = np.array([name.replace("\\", r"\\").replace("|", r"\|") for name in self.scheme.names], object)
        distinct, which = np.unique(self.prediction_sets, axis=0, return_inverse=True)
        return np.array(["|".join(names[row]) for row in distinct], object)[which.ravel()]

    def to_pandas(self) -> pd.DataFrame:
        """Give the columns as a DataFrame, a row per tile: position, box in px, class, confidence, probabilities."""
        return pd.DataFrame(self.columns())

    def as_labels(self, full_size: bool = False) -> NDArray[np.uint16]:
        """Give the classes as an image of labels: 0 where there is no class, then 1 to K, and K + 1 where unsure.

        Parameters
        ----------
        full_size
            One value per pixel of the field rather than one per tile; where tiles overlap that of the tile whose
            centre is nearest.

        Returns
        -------
        ndarray of uint16
            Shape (rows, columns) of the grid, or (height, width) of the field.
        """
        cells = np.zeros(self.grid.grid_shape, np.uint16)
        cells[self.grid.row, self.grid.col] = self.class_or_unsure_index + 1
        return field_pixels(self.grid, cells) if full_size else cells

    def counts(self, min_confidence: float = 0.0) -> pd.DataFrame:
        """Tiles and area per class.

        Parameters
        ----------
        min_confidence
            Tiles below it are counted in the last row, ``"(below threshold)"``, with those without a
            class.

        Returns
        -------
        DataFrame
            A row per class, then ``"(unsure)"`` where an error rate was set. Columns class_name, tiles,
            fraction (of all tiles), area_px (px²), area_um2 (µm², NaN where the pixel size is unknown),
            mean_confidence. Overlaps are counted once.
        """
        names = [*self.scheme.names, *([] if self.limit is None else [UNSURE_NAME]), BELOW_THRESHOLD_NAME]
        k = len(names)
        counted = (self.class_index >= 0) & (np.nan_to_num(self.confidence, nan=-1.0) >= min_confidence)
        group = np.where(counted, self.class_or_unsure_index, k - 1).astype(int)
        tiles = np.bincount(group, minlength=k)
        area = np.bincount(group, weights=self.grid.exclusive_area(), minlength=k)
        total = np.bincount(group, weights=np.nan_to_num(self.confidence), minlength=k)
        pixel = np.nan if self.pixel_size_um is None else self.pixel_size_um[0] * self.pixel_size_um[1]
        return pd.DataFrame(
            {
                "class_name": names,
                "tiles": tiles,
                "fraction": tiles / max(1, len(self)),
                "area_px": area,
                "area_um2": area * pixel,
                "mean_confidence": np.divide(total, tiles, out=np.full(k, np.nan), where=tiles > 0),
            }
        )

    def to_csv(self, path: str | Path) -> None:
        """Write the columns as CSV: UTF-8, decimal points, six significant digits, empty for NaN."""
        with atomic_write(Path(path)) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            for start in range(0, max(1, len(self)), _BLOCK):
                columns = {name: values[start : start + _BLOCK] for name, values in self.columns().items()}
                frame = escape_formulas(pd.DataFrame(columns))
                frame.to_csv(stream, index=False, header=start == 0, float_format="%.6g", lineterminator="\n")

    def to_geojson(self, path: str | Path) -> None:
        """Write the tiles as GeoJSON that QuPath opens as tiles with class, colour and measurements.

        Coordinates are (x, y) in px of the field, pixel edges on integers as QuPath counts them. The
        member names are those of QuPath 0.5 (qupath.lib.io.PathObjectTypeAdapters). A foreign member beside
        ``features``, which other readers ignore (RFC 7946, 6.1), holds classes, grid and pixel size, so that
        :func:`~napari_cellclass.core.interchange.tile_tables.read_tile_geojson` reads the same table.
        """
        collection = {"type": "FeatureCollection", FOREIGN_MEMBER: self._foreign_member(), "features": []}
        head, end = (_to_json(collection)[:-2], "]}\n")
        write_text(Path(path), itertools.chain([head], self._feature_texts(), [end]))

    def _feature_texts(self) -> Iterator[str]:
        """Yield the text of every feature, formatted in blocks: those of a whole slide would fill the memory."""
        more = self._novelty_columns()
        names = ["confidence", *(f"p_{name}" for name in self.scheme.names), *more]
        for start in range(0, len(self), _BLOCK):
            block = slice(start, start + _BLOCK)
            numbers = [self.confidence[block], self.prob[block], *(one[block] for one in more.values())]
            values = np.column_stack(numbers).astype(float).tolist()
            boxes, ids = self.grid.boxes[block].tolist(), self.grid.tile_id[block].tolist()
            for tile_index, (box, tile_id, row) in enumerate(zip(boxes, ids, values, strict=True), start):
                text = _to_json(self._feature(box, tile_id, tile_index, dict(zip(names, row, strict=True))))
                yield f", {text}" if tile_index else text

    def _foreign_member(self) -> dict[str, Any]:
        try:
            layout = grid_layout(self.grid)
        except GridError:
            layout = None  # tiles off a grid are described by their boxes alone
        size = None if self.pixel_size_um is None else [float(v) for v in self.pixel_size_um]
        member: dict[str, Any] = {"classes": self.scheme.to_json(), "grid": layout, "pixel_size_um": size}
        if self.plane:
            member["plane"] = dict(self.plane)
        if self.novelty_rate is not None:
            member["novelty_rate"] = self.novelty_rate
        return member if self.limit is None else member | {"error_rate": self.error_rate, "limit": self.limit}

    def _feature(self, box: list[int], tile_id: int, tile_index: int, measurements: dict[str, float]) -> dict[str, Any]:
        y0, x0, y1, x1 = box
        class_index = int(self.class_or_unsure_index[tile_index])
        properties: dict[str, Any] = {
            "objectType": "tile",
            "name": f"r{self.grid.row[tile_index]:03d}_c{self.grid.col[tile_index]:03d}",
        }
        if class_index >= 0:
            properties["classification"] = {
                "name": str(self.class_name[tile_index]),
                "color": list(self.scheme.rgb(class_index)),
            }
            properties["measurements"] = {k: round(v, 6) for k, v in measurements.items()}
        plane = {"plane": {"c": -1, **{a.lower(): self.plane.get(a, 0) for a in "ZT"}}} if self.plane else {}
        ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
        return {
            "type": "Feature",
            "id": tile_id,
            "geometry": {"type": "Polygon", "coordinates": [ring], **plane},
            "properties": properties,
        }
