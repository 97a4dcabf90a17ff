"""The lines under a map: whether it belongs to what is shown now, and what it says of the current tile."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.runs.common.engine_cache import EngineCache
from napari_cellclass.viewer.common.map_view import MapView
from napari_cellclass.viewer.workspace.current_tile import describe_current_tile
from napari_cellclass.viewer.workspace.label_import import accept_predictions
from napari_cellclass.viewer.workspace.map_origin import MapOrigin
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.classify.model_similar import ModelSimilarTiles
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel

_TEXTS_AFTER_MS = 150  # several keys a second share one update


class MapState(QWidget):
    """Marks a map that is outdated, accepts its prediction for the current tile, and shows similar training tiles.

    Parameters
    ----------
    workspace, map_view, engines
        The work in the viewer, the map in it, and the networks that are open.
    """

    def __init__(self, workspace: Workspace, map_view: MapView, engines: EngineCache) -> None:
        super().__init__()
        self._workspace, self._map = workspace, map_view
        self._origin: MapOrigin | None = None
        self._model: ModelBundle | None = None
        self.similar = ModelSimilarTiles(workspace, engines)
        self.outdated, self.tile = WrappedLabel(), WrappedLabel(selectable=False)
        self.outdated.set_warning(True)
        self.accept_button = QPushButton("Accept prediction")
        self.accept_button.setToolTip("label the tile in the frame with the class that the map predicts")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.outdated)
        column.addLayout(row_of(self.tile, self.accept_button))
        column.addWidget(self.similar)
        self.accept_button.clicked.connect(self.accept_current)
        self._texts_timer = QTimer(self)
        self._texts_timer.setSingleShot(True)
        self._texts_timer.setInterval(_TEXTS_AFTER_MS)
        self._texts_timer.timeout.connect(map_view.refresh_view)
        workspace.field_changed.connect(self.follow)
        workspace.tile_changed.connect(self._show_tile)
        workspace.classes_changed.connect(self._show_tile)
        workspace.labels_changed.connect(self._labels_changed)
        self.follow()

    def show_origin(self, origin: MapOrigin | None) -> None:
        """Follow a map that has just been put into the viewer; None for one of live predictions."""
        self._origin = origin
        self.follow()

    def set_model(self, model: ModelBundle) -> None:
        """Follow the model that is chosen."""
        self._model = model
        self.similar.set_model(model)
        self.follow()

    def follow(self) -> None:
        """Mark a map that does not belong to what is shown and chosen now."""
        text, outdated = "", False
        if self._origin is not None and self._map.is_in_viewer():
            text = self._origin.why_outdated(self._workspace, self._model)
            outdated = bool(text)
            if not outdated and self._origin.trained_on:
                text = "The model was trained on tiles of this field: it looks better here than elsewhere."
            self._map.mark_outdated(outdated)
        self.outdated.setText(text)
        self.outdated.setVisible(bool(text))
        self._show_tile()

    def _labels_changed(self, change: object) -> None:
        self._texts_timer.start()  # the tiles say where a label contradicts the map
        self._show_tile()

    def _show_tile(self) -> None:
        shown = self._map.is_in_viewer() and self._workspace.predictions() is not None
        self.tile.setVisible(shown)
        self.accept_button.setVisible(shown)
        if shown:
            self.tile.setText(describe_current_tile(self._workspace))
        self.similar.follow()

    def accept_current(self) -> None:
        """Label the current tile with the class that the map predicts."""
        if self._workspace.current_tile is not None:
            accept_predictions(self._workspace, np.array([self._workspace.current_tile]))
