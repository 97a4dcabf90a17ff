"""Pick image layers (several are channels) and a region from the viewer's layer list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QComboBox, QListWidget, QListWidgetItem, QWidget

from napari_cellclass.viewer.common.channels import field_of
from napari_cellclass.viewer.common.layers import is_user_layer
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.widgets.common.text import plain_tip

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

_ROW_PX, _MAX_ROWS = 22, 5


def _of_kind(viewer: Viewer, kind: str) -> list[Layer]:
    """Layers of a kind, without those that the plugin made."""
    return [layer for layer in viewer.layers if type(unwrap(layer)).__name__ == kind and is_user_layer(layer)]


class ImageChoice(QListWidget):
    """The viewer's image layers with a tick; several ticked layers are channels of one field.

    ``refreshed`` is sent when the layers have been listed again.
    """

    refreshed = Signal()

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._ticked_by_user = False
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setToolTip("tick the image layer; several ticked layers are the channels of one image, in this order")
        self.itemChanged.connect(self._ticked)
        self.refresh()

    def _ticked(self, item: QListWidgetItem) -> None:
        self._ticked_by_user = True

    def refresh(self) -> None:
        """Follow the viewer's layer list; a new image is ticked by itself, until a user has ticked one.

        With it are ticked the layers of its other channels.
        """
        there = self.layers()
        layers = _of_kind(self._viewer, "Image")
        new = [layer for layer in map(unwrap, layers) if all(layer is not other for other in there)]
        follow = new and there and not self._ticked_by_user
        ticked = {id(layer) for layer in (field_of(new[-1], layers) if follow else self.chosen())}
        self.blockSignals(True)
        self.clear()
        if not any(id(unwrap(layer)) in ticked for layer in layers) and layers:
            active = self._viewer.layers.selection.active
            first = active if any(active is layer for layer in layers) else layers[-1]
            ticked = {id(layer) for layer in field_of(first, layers)}
        for layer in map(unwrap, layers):
            layer.events.name.connect(self._renamed)
            item = QListWidgetItem(layer.name)
            item.setToolTip(plain_tip(layer.name))
            item.setData(Qt.ItemDataRole.UserRole, LayerRef(layer))
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if id(layer) in ticked else Qt.CheckState.Unchecked)
            self.addItem(item)
        self.blockSignals(False)
        self._fit_height()
        self.refreshed.emit()

    def _fit_height(self) -> None:
        """Be as high as the rows, whose height is the theme's."""
        row = self.sizeHintForRow(0)
        rows = min(_MAX_ROWS, max(1, self.count()))
        self.setFixedHeight((row if row > 0 else _ROW_PX) * rows + 2 * self.frameWidth() + 4)

    def showEvent(self, event: Any) -> None:
        """Follow the theme, which is known now."""
        super().showEvent(event)
        self._fit_height()

    def _renamed(self, event: Any = None) -> None:
        self.blockSignals(True)  # it is not the ticks that change
        for i in range(self.count()):
            self.item(i).setText(self.item(i).data(Qt.ItemDataRole.UserRole).layer.name)
            self.item(i).setToolTip(plain_tip(self.item(i).text()))
        self.blockSignals(False)

    def sizeHint(self) -> QSize:
        """Be no wider than the dock."""
        return QSize(120, self.height())

    def chosen(self) -> list[Layer]:
        """Give the ticked layers, in the order of the layer list."""
        items = [self.item(i) for i in range(self.count())]
        return [
            item.data(Qt.ItemDataRole.UserRole).layer for item in items if item.checkState() == Qt.CheckState.Checked
        ]

    def layers(self) -> list[Layer]:
        """Give all layers that are listed."""
        return [self.item(i).data(Qt.ItemDataRole.UserRole).layer for i in range(self.count())]

    def choose(self, layers: list[Any]) -> None:
        """Tick exactly these layers."""
        wanted = {id(unwrap(layer)) for layer in layers}
        for i in range(self.count()):
            item = self.item(i)
            ticked = id(item.data(Qt.ItemDataRole.UserRole).layer) in wanted
            item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)


class LayerRef:
    """Wraps a layer, so that Qt does not convert it to a list or dict of its own."""

    def __init__(self, layer: Layer | None) -> None:
        self.layer = layer


class RegionChoice(QComboBox):
    """The whole field, or a Shapes layer that a user drew."""

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.setToolTip("classify only tiles that lie at least half inside the shapes of a layer")
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(10)
        self.refresh()

    def refresh(self) -> None:
        """Follow the viewer's layer list."""
        chosen = self.chosen()
        self.blockSignals(True)
        self.clear()
        self.addItem("whole field", LayerRef(None))
        for layer in map(unwrap, _of_kind(self._viewer, "Shapes")):
            self.addItem(layer.name, LayerRef(layer))
            if layer is chosen:
                self.setCurrentIndex(self.count() - 1)
        self.blockSignals(False)

    def choose(self, layer: Layer | None) -> None:
        """Choose a Shapes layer, or None for the whole field."""
        for i in range(self.count()):
            if self.itemData(i).layer is (None if layer is None else unwrap(layer)):
                self.setCurrentIndex(i)

    def chosen(self) -> Layer | None:
        """Give the Shapes layer, or None for the whole field."""
        chosen = self.currentData()
        return None if chosen is None else chosen.layer
