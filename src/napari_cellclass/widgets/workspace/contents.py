"""What the dock *Cell Class* holds: its header and pages, made one after another, and what connects them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QTabWidget, QVBoxLayout

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.runs.live.live_model import LiveModel
from napari_cellclass.viewer.common.preferences import limit_cache
from napari_cellclass.viewer.common.tour_state import is_tour_wanted
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.annotate.widget import LabelPage
from napari_cellclass.widgets.classify.widget import MapPage
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.docks import SCATTER
from napari_cellclass.widgets.common.help.button import HelpButton
from napari_cellclass.widgets.common.window_parts import holding_dock
from napari_cellclass.widgets.train.widget import TrainPage
from napari_cellclass.widgets.workspace.canvas_focus import CanvasFocus
from napari_cellclass.widgets.workspace.canvas_pause import CanvasPause
from napari_cellclass.widgets.workspace.check_page import CheckPage
from napari_cellclass.widgets.workspace.command_entries import CommandEntries
from napari_cellclass.widgets.workspace.header import Header
from napari_cellclass.widgets.workspace.select_tool import SelectTool
from napari_cellclass.widgets.workspace.tile_jump import TileJump
from napari_cellclass.widgets.workspace.tile_travel import TileTravel
from napari_cellclass.widgets.workspace.tour import Tour
from napari_cellclass.widgets.workspace.unseen import UnseenPredictions

if TYPE_CHECKING:
    from napari.viewer import Viewer


class DockContents:
    """The header, which says what is worked on, and the pages, which are views on it.

    Parameters
    ----------
    dock
        The dock; what is made gets into its column.
    viewer
        The viewer.
    """

    def __init__(self, dock: DockedWidget, viewer: Viewer, column: QVBoxLayout) -> None:
        self._dock, self.viewer, self._column = dock, viewer, column

    def make_in_steps(self) -> Iterator[None]:
        """Make everything, in steps of some ten ms; nothing is read and no key is bound before the last one."""
        limit_cache()
        self.workspace = Workspace(self.viewer)
        self.header = Header(self.viewer, self.workspace)
        self._column.addWidget(self.header)
        yield
        self.pages = QTabWidget()
        self.pages.setDocumentMode(True)
        self.help = HelpButton(lambda: self.all_pages()[self.pages.currentIndex()].display_name)
        self.help.offer_tour()
        self.pages.setCornerWidget(self.help)
        self._column.addWidget(self.pages, 1)
        self.label = LabelPage(self.viewer, self.workspace)
        self.pages.addTab(self.label, "Label")
        yield
        self.train = TrainPage(self.viewer)
        yield
        self.pages.addTab(self.train, "Train")
        yield
        self.map = MapPage(
            self.viewer, self.workspace, self.header.images, self.header.channels, self.header.overlap.value
        )
        self.pages.addTab(self.map, "Map")
        yield
        self.check = CheckPage(self.viewer, self.workspace, lambda: self.map.model)
        self.pages.addTab(self.check, "Check")
        yield
        self.tour = Tour(self.workspace)
        self._column.addWidget(self.tour)
        self._focus, self._select_tool = CanvasFocus(self._dock, self.viewer), SelectTool(self._dock, self.workspace)
        self._jump = TileJump(self.header, self.workspace)
        self._travel = TileTravel(self.workspace, self.header.project, self._jump)
        self._connect_pages()
        self._connect_tour()
        self._entries = CommandEntries(
            self.workspace,
            {"run the map": self.map.run, "train": self.train.train, "open a project": self.header.project.ask_open,
             "scatter plot of the tiles": self._open_scatter},
        )  # fmt: skip
        self._dock.destroyed.connect(self._entries.close)  # with its window: nothing else says so
        self.header.begin()

    def _connect_pages(self) -> None:
        self.header.failed.connect(self.map.show_no_field)
        self.header.field_shown.connect(self.map.show_saved)
        self.header.opened.connect(self.map.field_opened)
        self.header.project.model_wanted.connect(self._use_model)
        self.header.groups.chosen.connect(self.train.data.prefer_groups)
        self.train.data.prefer_groups(self.header.groups.choice.value)
        self.header.project.opened.connect(lambda: self.train.set_project(self.workspace.session.project))
        self.train.trained.connect(self._take_up_model)
        self.label.live.predictions.predicted.connect(self.map.live.show)
        # Its end comes after the map.
        self._pause = CanvasPause(self._dock, self.viewer, self.label.live.predictions)
        self.label.live.kept.connect(self._take_up_kept)
        self.label.live.refine.refined.connect(self._take_up_refined)
        self.label.live.show_wanted.connect(self.map.live.show_instead)
        self.map.live.changed.connect(self.label.follow_map)
        self.map.evidence.follow_live(self._live_model)
        self._unseen = UnseenPredictions(self.workspace, self.map.map, self.map.live)
        self.map.live.covered.connect(self.label.live.set_covered)
        self.map.tiles_wanted.connect(self.header.suggest_tiles)
        for button in (self.label.scatter_button, self.map.results.scatter_button):
            button.clicked.connect(self._open_scatter)
        for similar in (self.label.similar, self.map.state.similar):
            similar.place_wanted.connect(self._travel.go)
            self.pages.currentChanged.connect(lambda _, one=similar: one.follow())

    def _connect_tour(self) -> None:
        """Let the tour follow what is done, and show it to who has not seen it."""
        self.help.tour_wanted.connect(self.tour.start)
        self.header.tile_px.valueChanged.connect(lambda _: self.tour.size_chosen())
        self.label.live.predictions.predicted.connect(self.tour.predicted)
        self.label.live.kept.connect(lambda _: self.tour.model_made())
        if is_tour_wanted():
            self.tour.start()

    def all_pages(self) -> list[DockedWidget]:
        """Give the pages, in their order."""
        return [self.label, self.train, self.map, self.check]

    def _use_model(self, path: Path) -> None:
        self.map.set_model(path)
        self.pages.setCurrentWidget(self.map)

    def _take_up_model(self, path: Path) -> None:
        try:
            text = self.workspace.session.take_up_model(path)
        except CellClassError as error:
            self.workspace.message.emit(str(error), True)
            return
        if text:
            self.workspace.message.emit(text, False)

    def _take_up_kept(self, path: Path) -> None:
        """Choose a model that was made of the labels on the page Map, ready to run on whole fields and plates."""
        self.workspace.message.emit(f"The model is {path}; it predicts what the live map shows.", False)
        self._take_up_model(path)
        self.map.set_model(path)

    def _take_up_refined(self, path: Path) -> None:
        self.workspace.message.emit(f"The model is {path}; run it on the page Map.", False)
        self._take_up_model(path)
        self.map.set_model(path)

    def _live_model(self) -> LiveModel | None:
        live = self.label.live.predictions
        return LiveModel.of(live.extractor, live.current, self.workspace.scheme.names)

    def show_tile(self, field_key: str, tile_index: int) -> None:
        """Make a tile of any open field the current one; its field is opened first."""
        self._jump.to(field_key, tile_index)

    def _open_scatter(self) -> None:
        """Open the scatter plot, or bring it forward."""
        scatter = SCATTER.open(self._dock, self.viewer)
        dock = holding_dock(scatter)
        if dock is not None:
            dock.show()
            dock.raise_()

    def close_down(self, window_stays: bool) -> None:
        """Leave no job running and no key bound; labels are on disk, their layers and maps stay."""
        self._entries.close()
        self._select_tool.close()
        self._pause.end()
        for page in self.all_pages():
            page.close_down_once(window_stays)
        self.header.disconnect_viewer()
        self.workspace.close()
