"""The jobs of the widget *Scatter*, without Qt: where tiles lie, and what the labels predict for other fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.selection.projection import Projection
from napari_cellclass.runs.features.umap import umap_coordinates
from napari_cellclass.runs.live.field_features import FieldFeatures
from napari_cellclass.runs.live.session import LivePrediction
from napari_cellclass.viewer.features.tile_points import PointField, TilePoints

Method = Literal["PCA", "UMAP"]
_UMAP_FROM = 50  # principal components that UMAP is computed from
_BLOCK = 8_192
_REFIT = 1.5  # the components are computed anew when so many times more tiles have features


@dataclass(frozen=True, eq=False)
class PlotRequest:
    """What is to be plotted.

    Parameters
    ----------
    fields
        The fields with their features, as many as are known by now.
    method
        How.
    before
        The plot so far, whose components are kept while few tiles have come, so that points stay where they are.
    """

    fields: tuple[tuple[PointField, FieldFeatures], ...]
    method: Method = "PCA"
    before: Plot | None = None


@dataclass(frozen=True, eq=False)
class Plot:
    """Where the tiles lie.

    Parameters
    ----------
    points
        The tiles that have features.
    method
        How they were laid out.
    complete
        Whether all tiles of all fields had features, or none to come.
    projection, fitted_on
        The components of PCA, and how many tiles they are of; None and 0 where there are none yet.
    """

    points: TilePoints
    method: Method
    complete: bool
    projection: Projection | None = None
    fitted_on: int = 0


def plot_tiles(request: PlotRequest, task: Task) -> Plot:
    """Compute where tiles lie.

    Raises
    ------
    ParamsError, EngineError
        UMAP cannot be computed.
    CancelledError
        The plot was no longer wanted.
    """
    complete = all(features.complete for _, features in request.fields)
    known = [np.flatnonzero(one.known & np.isfinite(one.values[:, 0])) for _, one in request.fields]
    n = sum(len(tiles) for tiles in known)
    before = request.before
    same = before is not None and [one.key for one in before.points.fields] == [one.key for one, _ in request.fields]
    projection, fitted_on = (None, 0) if before is None or not same else (before.projection, before.fitted_on)
    if projection is None or n >= _REFIT * fitted_on or (complete and n > fitted_on):
        projection, fitted_on = Projection.fit([one.values for _, one in request.fields]), n
    if request.method == "UMAP":
        return Plot(_umap(request, known, task), "UMAP", complete)
    if projection is None:
        nothing = [(field, tiles[:0], np.zeros((0, 2), np.float32)) for (field, _), tiles in _zip(request, known)]
        return Plot(TilePoints.of(nothing), "PCA", complete)
    placed = [(field, tiles, projection.apply(one.values, task)[tiles]) for (field, one), tiles in _zip(request, known)]
    axes = f"components with {projection.explained[0]:.0%} and {projection.explained[1]:.0%} of the variance"
    return Plot(TilePoints.of(placed, axes), "PCA", complete, projection, fitted_on)


def _zip(
    request: PlotRequest, known: list[NDArray[np.int64]]
) -> list[tuple[tuple[PointField, FieldFeatures], NDArray[np.int64]]]:
    return list(zip(request.fields, known, strict=True))


def _umap(request: PlotRequest, known: list[NDArray[np.int64]], task: Task) -> TilePoints:
    projection = Projection.fit([one.values for _, one in request.fields], _UMAP_FROM)
    if projection is None:
        raise ParamsError("no tile has features yet")
    parts = [projection.apply(one.values, task)[tiles] for (_, one), tiles in _zip(request, known)]
    xy = umap_coordinates(np.concatenate(parts), task=task)
    ends = np.cumsum([len(tiles) for tiles in known])[:-1]
    placed = [
        (field, tiles, part) for ((field, _), tiles), part in zip(_zip(request, known), np.split(xy, ends), strict=True)
    ]
    return TilePoints.of(placed, "UMAP")


def predict_others(
    found: LivePrediction, columns: tuple[int, ...], fields: Mapping[str, FieldFeatures], task: Task
) -> dict[str, NDArray[np.float32]]:
    """Predict the tiles of fields that are not shown, by what the labels say of the one that is.

    Returns
    -------
    dict
        By field: float32, shape (N, K), probabilities; rows of NaN are tiles without features. Empty where only one
        class is labelled.
    """
    if found.fit is None or found.standardisation is None:
        return {}
    present = np.flatnonzero(found.n_labels)
    ends = np.cumsum(columns).tolist()
    result = {}
    for key, one in fields.items():
        prob = np.full((len(one.values), len(found.n_labels)), np.nan, np.float32)
        for start in range(0, len(prob), _BLOCK):
            task.check("other predictions are wanted")
            rows = np.flatnonzero(one.known[start : start + _BLOCK]) + start
            rows = rows[np.isfinite(one.values[rows, 0])]
            if len(rows):
                z = found.standardisation.apply(one.values[rows])
                parts = [z[:, end - n : end] for n, end in zip(columns, ends, strict=True)]
                prob[rows] = 0
                prob[np.ix_(rows, present)] = found.fit.head.predict(parts)
        result[key] = prob
    return result
