"""The training tiles of a map's model that are most similar to the current tile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.runs.classify.similar_tiles import training_tile_features
from napari_cellclass.runs.common.engine_cache import EngineCache, EngineKey
from napari_cellclass.viewer.common.preferences import cpu_threads
from napari_cellclass.viewer.workspace.tile_place import TilePlace
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.choices.similar_tiles import SHOWN, SimilarTile, SimilarTiles
from napari_cellclass.widgets.common.jobs import Job, start_job

_SETTLES_MS = 60


def _find(
    model: ModelBundle, engines: EngineCache, source: SourceImage, box: NDArray[Any], task: Task
) -> list[SimilarTile]:
    """Find the most similar training tiles; in a thread, as the network has to look at the tile."""
    known = model.training_tiles
    if known is None or source.channels != model.preprocess.channels:
        return []
    key = EngineKey(model.model_id, "auto", "f32", cpu_threads())
    with engines.use(key, lambda: model) as (opened, engine):
        features = training_tile_features(opened, engine, source, box, task)
    if features is None:
        return []
    indices, similarities = known.index.nearest(known.space.apply(features), SHOWN)
    images: list[Any] = model.manifest.data.get("images", [])
    found = []
    for i, similarity in zip(indices.tolist(), similarities.tolist(), strict=True):
        number = int(known.images[i])
        image = images[number] if number < len(images) and isinstance(images[number], dict) else {}
        y0, x0, y1, x1 = known.boxes[i].tolist()
        place = TilePlace(str(image.get("id", "")), Path(str(image.get("path", "?"))).name, (y0, x0, y1, x1))
        label = int(known.labels[i])
        pixels = known.thumbnails[i] if len(known.thumbnails) else None
        name, colour = model.scheme.names[label], model.scheme.colours[label]
        found.append(SimilarTile(place, name, colour, str(known.groups[i]), similarity, pixels))
    return found


class ModelSimilarTiles(SimilarTiles):
    """Follows the current tile, where the model carries its training tiles.

    Parameters
    ----------
    workspace, engines
        The work, and the networks that are open.
    """

    def __init__(self, workspace: Workspace, engines: EngineCache) -> None:
        super().__init__("training tiles of the model")
        self._workspace, self._engines = workspace, engines
        self._model: ModelBundle | None = None
        self._job: Job | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLES_MS)
        self._timer.timeout.connect(self._find)
        workspace.tile_changed.connect(self.follow)

    def set_model(self, model: ModelBundle | None) -> None:
        """Compare with the training tiles of another model."""
        self._model = model
        self.show_tiles(())
        self.follow()

    def follow(self) -> None:
        """Compare the tile that is the current one now."""
        parent = self.parentWidget()
        if self._model is not None and parent is not None and parent.isVisible():
            self._timer.start()

    def _find(self) -> None:
        source, annotation, tile = self._workspace.source, self._workspace.annotation, self._workspace.current_tile
        if self._model is None or source is None or annotation is None or tile is None:
            self.show_tiles(())
            return
        if self._job is not None and self._job.running:
            self._timer.start()
            return
        self._job = job = start_job(
            _find, owner=self, model=self._model, engines=self._engines, source=source, box=annotation.grid.boxes[tile]
        )
        job.returned.connect(self.show_tiles)
        job.failed.connect(lambda _: self.show_tiles(()))  # the run itself says what is wrong with a model
