"""The widget *Prepare tiles*: fields into tiles, names, rotated copies, and a check before training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QTabWidget, QVBoxLayout

from napari_cellclass.core.images.display import DisplayImage
from napari_cellclass.viewer.features.background_layers import add_field_layers
from napari_cellclass.widgets.common.dock_widget import DockedWidget, scrolling
from napari_cellclass.widgets.common.docks import TRAIN
from napari_cellclass.widgets.common.help.button import HelpButton
from napari_cellclass.widgets.common.layer_removal import fix_layer_removal
from napari_cellclass.widgets.prepare import work
from napari_cellclass.widgets.prepare.folder_pages import CheckPage, NamesPage
from napari_cellclass.widgets.prepare.slice_page import SlicePage

if TYPE_CHECKING:
    from napari.viewer import Viewer


class PrepareWidget(DockedWidget):
    """Make a data set of fields, and check it, without the command line.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    display_name = "Prepare tiles"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        fix_layer_removal(self, napari_viewer)
        self.slice, self.names, self.check = SlicePage(napari_viewer), NamesPage(), CheckPage()
        self.tabs = QTabWidget()
        for name, page in (("Slice", self.slice), ("Names and copies", self.names), ("Check", self.check)):
            self.tabs.addTab(scrolling(page), name)
        self.help = HelpButton(self.display_name)
        self.tabs.setCornerWidget(self.help)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.tabs)
        self.setMinimumWidth(360)
        self.slice.written.connect(self._written)
        self.names.written.connect(self._written)
        self.check.open_image.connect(self._show)
        self.check.show_tiles.connect(self._show_tiles)
        self.check.train.connect(self._train)
        for event in self._layer_events():
            event.connect(self._layers_changed)

    def _layer_events(self) -> tuple[Any, ...]:
        events = self.viewer.layers.events
        return events.inserted, events.removed, events.reordered

    def _layers_changed(self, event: Any = None) -> None:
        self.slice.source.layers.refresh()

    def _written(self, folder: Path) -> None:
        for page in (self.names, self.check):
            page.set_folder(folder)

    def _show(self, path: Path) -> None:
        self.check.panel.run(work.open_picture, self._opened, path=path)

    def _opened(self, picture: DisplayImage) -> None:
        add_field_layers(self.viewer, picture.source, picture.pixels, picture.step)

    def _show_tiles(self, folder: Path) -> None:
        self.viewer.open(str(folder), plugin="napari-cellclass")

    def _train(self, folder: Path, values: dict[str, Any]) -> None:
        TRAIN.open(self, self.viewer).preview_folder(folder, **values)

    def close_down(self, window_stays: bool) -> None:
        """Leave no job running."""
        for changed in self._layer_events():
            changed.disconnect(self._layers_changed)
        self.slice.close_down()
        for page in (self.names, self.check):
            page.panel.close_down()
