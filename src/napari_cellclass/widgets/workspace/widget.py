"""The dock *Cell Class*: label, train, map and check, under one header."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtCore import QEvent, QTimer, Signal
from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.runs.live.live_model import LiveModel
from napari_cellclass.viewer.common.layers import unwrap
from napari_cellclass.viewer.common.preferences import limit_cache
from napari_cellclass.viewer.common.tour_state import is_tour_wanted
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.annotate.live_predictions import LivePredictions
from napari_cellclass.widgets.annotate.widget import LabelPage
from napari_cellclass.widgets.classify.widget import MapPage
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.docks import SCATTER, open_cell_class
from napari_cellclass.widgets.common.help.button import HelpButton
from napari_cellclass.widgets.common.layer_removal import fix_layer_removal
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


class CellClassWidget(DockedWidget):
    """The one dock for a field: a header that says what is worked on, and pages that are views on it.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    display_name = "Cell Class"
    closing = Signal()

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = unwrap(napari_viewer)
        fix_layer_removal(self, napari_viewer)
        limit_cache()
        self.workspace = Workspace(self.viewer)
        self.header = Header(self.viewer, self.workspace)
        self.label = LabelPage(self.viewer, self.workspace)
        self.train = TrainPage(self.viewer)
        self.map = MapPage(
            self.viewer, self.workspace, self.header.images, self.header.channels, self.header.overlap.value
        )
        self.check = CheckPage(self.viewer, self.workspace, lambda: self.map.model)
        self.pages = QTabWidget()
        self.pages.setDocumentMode(True)
        for name, page in (("Label", self.label), ("Train", self.train), ("Map", self.map), ("Check", self.check)):
            self.pages.addTab(page, name)
        self.help = HelpButton(lambda: self._pages()[self.pages.currentIndex()].display_name)
        self.help.offer_tour()
        self.pages.setCornerWidget(self.help)
        self.tour = Tour(self.workspace)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.header)
        column.addWidget(self.pages, 1)
        column.addWidget(self.tour)
        self.setMinimumWidth(400)
        self._focus, self._select_tool = CanvasFocus(self, self.viewer), SelectTool(self, self.workspace)
        self.header.failed.connect(self.map.show_no_field)
        self.header.field_shown.connect(self.map.show_saved)
        self.header.opened.connect(self.map.field_opened)
        self.header.project.model_wanted.connect(self._use_model)
        self.header.groups.chosen.connect(self.train.data.prefer_groups)
        self.train.data.prefer_groups(self.header.groups.choice.value)
        self.header.project.opened.connect(lambda: self.train.set_project(self.workspace.session.project))
        self.train.trained.connect(self._take_up_model)
        self.label.live.predictions.predicted.connect(self.map.live.show)
        self._pause = CanvasPause(self, self.viewer, self.label.live.predictions)  # its end comes after the map
        self.label.live.kept.connect(self._take_up_kept)
        self.label.live.refine.refined.connect(self._take_up_refined)
        self.label.live.show_wanted.connect(self.map.live.show_instead)
        self.map.live.changed.connect(self.label.follow_map)
        self.map.evidence.follow_live(self._live_model)
        self._unseen = UnseenPredictions(self.workspace, self.map.map, self.map.live)
        self.map.live.covered.connect(self.label.live.set_covered)
        self.map.tiles_wanted.connect(self.header.suggest_tiles)
        self._jump = TileJump(self.header, self.workspace)
        for button in (self.label.scatter_button, self.map.results.scatter_button):
            button.clicked.connect(self._open_scatter)
        self._travel = TileTravel(self.workspace, self.header.project, self._jump)
        for similar in (self.label.similar, self.map.state.similar):
            similar.place_wanted.connect(self._travel.go)
            self.pages.currentChanged.connect(lambda _, one=similar: one.follow())
        self._connect_tour()
        self._entries = CommandEntries(
            self.workspace,
            {"run the map": self.map.run, "train": self.train.train, "open a project": self._ask_project,
             "scatter plot of the tiles": self._open_scatter},
        )  # fmt: skip
        self.destroyed.connect(self._entries.close)  # with its window: nothing else says so

    def _connect_tour(self) -> None:
        """Let the tour follow what is done, and show it to who has not seen it."""
        self.help.tour_wanted.connect(self.tour.start)
        self.header.tile_px.valueChanged.connect(lambda _: self.tour.size_chosen())
        self.label.live.predictions.predicted.connect(self.tour.predicted)
        self.label.live.kept.connect(lambda _: self.tour.model_made())
        if is_tour_wanted():
            self.tour.start()

    def open_project(self, path: Path) -> None:
        """Open a project as it was left."""
        self.header.project.open(path)

    def _ask_project(self) -> None:
        self.header.project.ask_open()

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

    @property
    def live(self) -> LivePredictions:
        """The live predictions, with the features that they are made from."""
        return self.label.live.predictions

    def _live_model(self) -> LiveModel | None:
        return LiveModel.of(self.live.extractor, self.live.current, self.workspace.scheme.names)

    def show_tile(self, field_key: str, tile_index: int) -> None:
        """Make a tile of any open field the current one; its field is opened first."""
        self._jump.to(field_key, tile_index)

    def _open_scatter(self) -> None:
        """Open the scatter plot, or bring it forward."""
        scatter = SCATTER.open(self, self.viewer)
        dock = holding_dock(scatter)
        if dock is not None:
            dock.show()
            dock.raise_()

    def _take_up_refined(self, path: Path) -> None:
        self.workspace.message.emit(f"The model is {path}; run it on the page Map.", False)
        self._take_up_model(path)
        self.map.set_model(path)

    def show_page(self, display_name: str) -> QWidget:
        """Show the page that has a name in napari's menus, and give it."""
        page = next(one for one in self._pages() if one.display_name == display_name)
        self.pages.setCurrentWidget(page)
        return page

    def _pages(self) -> list[DockedWidget]:
        return [self.label, self.train, self.map, self.check]

    def running_work(self) -> str:
        """Name what is running on any page."""
        return next((work for page in self._pages() if (work := page.running_work())), "")

    def lasting_work(self) -> str:
        """Name the training that is running."""
        return self.train.lasting_work() or self.label.lasting_work()

    def stop_work(self, keep: bool) -> None:
        """Stop what is running on the pages."""
        for page in self._pages():
            page.stop_work(keep)

    def close_down(self, window_stays: bool) -> None:
        """Leave no job running and no key bound; labels are on disk, their layers and maps stay."""
        self.closing.emit()
        self._entries.close()
        self._select_tool.close()
        self._pause.end()
        for page in self._pages():
            page.close_down_once(window_stays)
        self.header.disconnect_viewer()
        self.workspace.close()


class PageOpener(QWidget):
    """An entry of napari's menus that opens a page of the dock; its own dock goes away at once.

    napari docks what an entry makes, so that three entries cannot have one dock. What napari returns to a script has
    the attributes of the page.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    display_name: ClassVar[str]

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = unwrap(napari_viewer)
        self.page = open_cell_class(self._viewer).show_page(self.display_name)

    def __getattr__(self, name: str) -> Any:
        if name == "page":  # not there yet
            raise AttributeError(name)
        return getattr(self.page, name)

    def event(self, event: QEvent | None) -> bool:
        """Take the empty dock away once napari has made it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is not None:
            QTimer.singleShot(0, self._remove_dock)
        return bool(super().event(event))

    def _remove_dock(self) -> None:
        if self.parent() is not None:
            self._viewer.window.remove_dock_widget(self)
            self.deleteLater()


class ClassifyFieldOpener(PageOpener):
    """The entry *Classify field*."""

    display_name = "Classify field"


class AnnotateTilesOpener(PageOpener):
    """The entry *Annotate tiles*."""

    display_name = "Annotate tiles"


class TrainOpener(PageOpener):
    """The entry *Train*."""

    display_name = "Train"
