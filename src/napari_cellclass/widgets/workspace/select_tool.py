"""napari's tool *Select shapes* on the map, which is locked: what it takes are the tiles that the next key labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QRadioButton, QWidget

from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.viewer.common.layers import KEY
from napari_cellclass.viewer.common.map_view import field_key, is_own_layer
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.viewer.workspace.workspace import Workspace

if TYPE_CHECKING:
    from napari.layers import Shapes


class SelectTool(QObject):
    """Lets napari's own ways to select rectangles of a map select its tiles, and change none.

    napari switches its tools off for a layer that cannot be edited: this one would move rectangles, too. Here its
    button can be pressed, and a click or a drag without Shift then selects tiles. What else selects the rectangles of a
    map, a script or another plugin, selects its tiles as well; the rectangles are let go of then, or *Delete* would
    remove them.

    Parameters
    ----------
    owner
        The dock.
    workspace
        The work in the viewer.
    """

    def __init__(self, owner: QWidget, workspace: Workspace) -> None:
        super().__init__(owner)
        self._workspace = workspace
        self._map: Shapes | None = None
        self._button: QRadioButton | None = None
        workspace.viewer.layers.selection.events.changed.connect(self._follow)
        workspace.viewer.layers.events.inserted.connect(self._layer_added)
        for layer in workspace.viewer.layers:
            self._listen(layer)
        self._follow()

    def close(self) -> None:
        """Follow nothing any more."""
        self._workspace.viewer.layers.selection.events.changed.disconnect(self._follow)
        self._workspace.viewer.layers.events.inserted.disconnect(self._layer_added)
        for layer in self._workspace.viewer.layers:
            if _is_map_of_shapes(layer):
                unwrap(layer).selected_data.events.items_changed.disconnect(self._rectangles_taken, missing_ok=True)
        self._let_go()

    def _layer_added(self, event: Any) -> None:
        self._listen(event.value)

    def _listen(self, layer: Any) -> None:
        if _is_map_of_shapes(layer):
            unwrap(layer).selected_data.events.items_changed.connect(self._rectangles_taken)

    # -- the button --------------------------------------------------------------------------------

    def _follow(self, event: Any = None) -> None:
        self._let_go()
        layer = unwrap(self._workspace.viewer.layers.selection.active)
        if _is_map_of_shapes(layer):
            self._map = layer
            QTimer.singleShot(0, self._find_button)  # napari shows the controls of the layer on the same event

    def _find_button(self) -> None:
        if self._map is None or self._button is not None:
            return
        controls: QWidget = self._workspace.viewer.window._qt_viewer.controls.currentWidget()
        buttons = controls.findChildren(QRadioButton)
        self._button = next((one for one in buttons if one.property("mode") == "select"), None)
        if self._button is not None:
            self._button.installEventFilter(self)
            self._button.toggled.connect(self._toggled)
            self._toggled(self._button.isChecked())
            self._enable()

    def _let_go(self) -> None:
        button, self._button, self._map = self._button, None, None
        self._workspace.select_with(None)
        if button is not None:
            try:
                button.removeEventFilter(self)
                button.toggled.disconnect(self._toggled)
            except RuntimeError:
                return  # the map was removed, and its controls with it

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Notice that napari switches the button off."""
        if event is not None and event.type() == QEvent.Type.EnabledChange:
            QTimer.singleShot(0, self._enable)  # napari makes it pale after that
        return False

    def _enable(self) -> None:
        if self._button is None or self._map is None or not self._map.visible:
            return
        self._button.setEnabled(True)
        self._button.setToolTip("Select tiles: click or drag, then press the key of a class")
        effect = self._button.graphicsEffect()
        if effect is not None:
            effect.setEnabled(False)

    def _toggled(self, taken: bool) -> None:
        self._workspace.select_with(self._map if taken else None)

    # -- what is selected otherwise ----------------------------------------------------------------

    def _rectangles_taken(self, added: Any = None, removed: Any = None) -> None:
        QTimer.singleShot(0, self._take_rectangles)  # several changes at once are one

    def _take_rectangles(self) -> None:
        for layer in map(unwrap, self._workspace.viewer.layers):
            if _is_map_of_shapes(layer) and len(layer.selected_data):
                rows = np.array(sorted(layer.selected_data), np.int64)
                layer.selected_data.clear()
                self._workspace.select(self._tiles(layer, rows))

    def _tiles(self, layer: Shapes, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tiles of the field that is open which have the same place as tiles of a map; none of another."""
        table: TileTable = layer.metadata[KEY]["table"]
        work = self._workspace
        if work.annotation is None or work.source is None or layer.metadata[KEY]["field"] != field_key(work.source):
            return rows[:0]
        found = [work.annotation.grid.tile_at(*centre) for centre in _centres(table.grid.boxes[rows])]
        return np.unique(np.array([tile for tile in found if tile >= 0], np.int64))


def _centres(boxes: NDArray[np.integer[Any]]) -> list[tuple[float, float]]:
    return [(float(y), float(x)) for y, x in (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5]


def _is_map_of_shapes(layer: Any) -> bool:
    return (
        layer is not None and type(unwrap(layer)).__name__ == "Shapes" and is_own_layer(layer)
        and layer.metadata[KEY].get("kind") == "map"
    )  # fmt: skip
