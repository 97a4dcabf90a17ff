"""Tiles that are drawn at random are labelled without their predictions, which would lead the eye."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject

from napari_cellclass.viewer.common.map_view import MapView
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.viewer.workspace.current_tile import AT_RANDOM
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.classify.live_predictions import LivePredictionMap


class UnseenPredictions(QObject):
    """Hides the live map while tiles are drawn at random, and shows it again afterwards.

    Where a user shows a layer of the map again by its eye, it stays: only a map that is new is hidden.

    Parameters
    ----------
    workspace, map_view, shown
        The work, the map in the viewer, and what shows live predictions there.
    """

    def __init__(self, workspace: Workspace, map_view: MapView, shown: LivePredictionMap) -> None:
        super().__init__(shown)
        self._workspace, self._map, self._shown = workspace, map_view, shown
        self._seen: list[Any] = []
        self._hidden: list[Any] = []
        workspace.policy_changed.connect(self.follow)
        shown.changed.connect(self.follow)

    def follow(self) -> None:
        """Hide or show the live map, as the order of tiles wants it."""
        if self._workspace.policy == AT_RANDOM:
            layers = self._map.all_layers() if self._shown.is_shown else []
            new = [one for one in layers if one.visible and not any(one is other for other in self._seen)]
            self._seen = layers
            self._hidden += new
            self._switch(new, False)
        else:
            self._switch(self._hidden, True)
            self._seen, self._hidden = [], []

    def _switch(self, layers: list[Any], visible: bool) -> None:
        present = [unwrap(layer) for layer in self._workspace.viewer.layers]
        for layer in layers:
            if any(layer is one for one in present):
                layer.visible = visible
        if layers:
            self._map.refresh_view()
