"""The labelled tiles that are most similar to the current tile, of all fields of the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.display import read_tile_rgb
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.runs.live.similar_labels import SimilarLabels
from napari_cellclass.viewer.workspace.current_tile import is_drawn_unseen
from napari_cellclass.viewer.workspace.tile_place import TilePlace
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.annotate.live_predictions import LivePredictions
from napari_cellclass.widgets.common.choices.similar_tiles import SHOWN, SimilarTile, SimilarTiles
from napari_cellclass.widgets.common.jobs import Job, start_job

_SETTLES_MS = 150  # while keys come fast, the map is what matters


@dataclass(frozen=True, eq=False)
class _Request:
    finder: SimilarLabels
    labels: Mapping[str, NDArray[np.int16]]
    sources: Mapping[str, Callable[[], SourceImage]]
    boxes: Mapping[str, NDArray[Any]]
    groups: Mapping[str, str]
    scheme: ClassScheme
    key: str
    tile: int


def _find(request: _Request, task: Task) -> list[SimilarTile]:
    """Find the most similar labelled tiles and read their pixels; in a thread."""
    found = request.finder.find(request.labels, request.key, request.tile, SHOWN)
    opened: dict[str, SourceImage] = {}
    tiles = []
    for one in found:
        task.check("another tile is the current one")
        source = opened.setdefault(one.key, request.sources[one.key]())
        box = request.boxes[one.key][one.tile]
        y0, x0, y1, x1 = (int(value) for value in box)
        place = TilePlace(source.image_id, source.name, (y0, x0, y1, x1), tuple(sorted(source.plane.items())))
        name, colour = request.scheme.names[one.label], request.scheme.colours[one.label]
        group = "" if request.groups[one.key] == source.image_id else request.groups[one.key]
        tiles.append(SimilarTile(place, name, colour, group, one.similarity, read_tile_rgb(source, box)))
    return tiles


class LabelledSimilarTiles(SimilarTiles):
    """Follows the current tile and the labels, where features of the tiles are known.

    Parameters
    ----------
    workspace, predictions
        The work, and what knows the features of its tiles.
    """

    def __init__(self, workspace: Workspace, predictions: LivePredictions) -> None:
        super().__init__("labelled tiles")
        self._workspace, self._predictions = workspace, predictions
        self._job: Job | None = None
        self._finder: SimilarLabels | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLES_MS)
        self._timer.timeout.connect(self._find)
        workspace.tile_changed.connect(self.follow)
        workspace.policy_changed.connect(self.follow)
        workspace.field_changed.connect(lambda: self.show_tiles(()))
        predictions.predicted.connect(lambda _: self.follow())

    def follow(self) -> None:
        """Compare the tile that is the current one now."""
        parent = self.parentWidget()
        if parent is not None and parent.isVisible():
            self._timer.start()

    def _request(self) -> _Request | None:
        session, tile, key = self._predictions.session, self._workspace.current_tile, self._workspace.field_key
        if is_drawn_unseen(self._workspace):
            return None  # the classes of similar tiles are a prediction, too
        if not self._predictions.enabled or session is None or tile is None or key not in session.fields:
            return None
        if self._finder is None or self._finder.session is not session:
            self._finder = SimilarLabels(session)
        opened, scheme = self._predictions.opened, self._workspace.scheme
        return _Request(
            self._finder, {one: field.labelled.labels_in(scheme.names) for one, field in opened.items()},
            {one: field.open_source for one, field in opened.items()},
            {one: field.features.grid.boxes for one, field in opened.items()},
            {one: field.labelled.group for one, field in opened.items()}, scheme, key, tile,
        )  # fmt: skip

    def _find(self) -> None:
        if self._job is not None and self._job.running:
            self._timer.start()
            return
        request = self._request()
        if request is None:
            self.show_tiles(())
            return
        self._job = job = start_job(_find, owner=self, request=request)
        job.returned.connect(lambda tiles: self._show(request, tiles))
        job.failed.connect(lambda _: self.show_tiles(()))

    def _show(self, request: _Request, tiles: list[SimilarTile]) -> None:
        if request.key == self._workspace.field_key:
            self.show_tiles(tiles)
