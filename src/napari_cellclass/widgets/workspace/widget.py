"""The dock *Cell Class*: label, train, map and check, under one header. It opens before its contents are imported."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtCore import QEvent, Qt, QTimer, Signal
from qtpy.QtWidgets import QLabel, QTabWidget, QVBoxLayout, QWidget

from napari_cellclass.core.common.task import Task
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.docks import open_cell_class
from napari_cellclass.widgets.common.jobs import Job, spare_older_objects, start_job
from napari_cellclass.widgets.common.layer_removal import fix_layer_removal

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cellclass.viewer.workspace.workspace import Workspace
    from napari_cellclass.widgets.annotate.live_predictions import LivePredictions
    from napari_cellclass.widgets.annotate.widget import LabelPage
    from napari_cellclass.widgets.classify.widget import MapPage
    from napari_cellclass.widgets.common.help.button import HelpButton
    from napari_cellclass.widgets.train.widget import TrainPage
    from napari_cellclass.widgets.workspace.check_page import CheckPage
    from napari_cellclass.widgets.workspace.contents import DockContents
    from napari_cellclass.widgets.workspace.header import Header
    from napari_cellclass.widgets.workspace.tour import Tour

_IMPORTED = ("workspace.contents", "common.help.whats_this", "common.first_use")
_importing = threading.Lock()


def _import(task: Task | None = None) -> None:
    """Import what the dock is made of, and read napari's settings, which takes a second the first time."""
    with _importing:  # in one thread: two that import the same libraries may find them half made
        for name in _IMPORTED:
            import_module(f"napari_cellclass.widgets.{name}")
        import_module("pint")  # imports Dask, if that is there
        from napari_cellclass.viewer.common.preferences import limit_cache

        limit_cache()


class CellClassWidget(DockedWidget):
    """The one dock for a field: a header that says what is worked on, and pages that are views on it.

    They are imported in a thread, and then made in steps, while the window goes on. Who asks for one of them earlier
    waits until all are made.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    display_name = "Cell Class"
    closing = Signal()

    def __init__(self, napari_viewer: Viewer) -> None:
        self.filled = False
        super().__init__()
        self.viewer = unwrap(napari_viewer)
        fix_layer_removal(self, napari_viewer)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        self._opening = QLabel("Opening …")
        self._opening.setAlignment(Qt.AlignmentFlag.AlignCenter)
        column.addWidget(self._opening, 1)
        self.setMinimumWidth(400)
        self._shown_first = ""
        self._contents: DockContents | None = None
        self._steps = self._fill()
        self._job: Job = start_job(_import, owner=self)
        spare_older_objects(self._job)
        self._job.returned.connect(lambda _: self._job.show_in_steps(self._steps))
        # Nobody may ever learn that importing failed, but by doing it here.
        self._job.failed.connect(lambda _: self.fill_now())

    # -- filling it --------------------------------------------------------------------------------

    def _fill(self) -> Generator[None]:
        from napari_cellclass.widgets.workspace.contents import DockContents

        column: Any = self.layout()
        self._contents = DockContents(self, self.viewer, column)
        for _ in self._contents.make_in_steps():
            self._opening.hide()
            yield
        column.removeWidget(self._opening)
        self._opening.deleteLater()
        self.filled = True
        self.explain()
        if self._shown_first:
            self.show_page(self._shown_first)
        if self.isVisible():
            self.prepare_window()

    def fill_now(self) -> None:
        """Make at once what is not made yet."""
        if not self.filled:
            _import()
            for _ in self._steps:
                pass

    @property
    def contents(self) -> DockContents:
        """The header and the pages; made at once where that was to come."""
        if inspect.getgeneratorstate(self._steps) != inspect.GEN_RUNNING:  # a part may ask for another
            self.fill_now()
        assert self._contents is not None
        return self._contents

    @property
    def workspace(self) -> Workspace:
        """What is worked on."""
        return self.contents.workspace

    @property
    def header(self) -> Header:
        """What is above the pages."""
        return self.contents.header

    @property
    def pages(self) -> QTabWidget:
        """What holds the pages."""
        return self.contents.pages

    @property
    def label(self) -> LabelPage:
        """The page *Label*."""
        return self.contents.label

    @property
    def train(self) -> TrainPage:
        """The page *Train*."""
        return self.contents.train

    @property
    def map(self) -> MapPage:
        """The page *Map*."""
        return self.contents.map

    @property
    def check(self) -> CheckPage:
        """The page *Check*."""
        return self.contents.check

    @property
    def help(self) -> HelpButton:
        """The help button of the page that is shown."""
        return self.contents.help

    @property
    def tour(self) -> Tour:
        """The tour of the dock."""
        return self.contents.tour

    @property
    def live(self) -> LivePredictions:
        """The live predictions, with the features that they are made from."""
        return self.label.live.predictions

    # -- what others ask for -----------------------------------------------------------------------

    def open_project(self, path: Path) -> None:
        """Open a project as it was left."""
        self.header.project.open(path)

    def show_tile(self, field_key: str, tile_index: int) -> None:
        """Make a tile of any open field the current one; its field is opened first."""
        self.contents.show_tile(field_key, tile_index)

    def page_named(self, display_name: str) -> DockedWidget:
        """Give the page that has a name in napari's menus."""
        return next(one for one in self.contents.all_pages() if one.display_name == display_name)

    def show_page(self, display_name: str) -> QWidget:
        """Show the page that has a name in napari's menus, and give it."""
        page = self.page_named(display_name)
        self.pages.setCurrentWidget(page)
        return page

    def show_page_once_filled(self, display_name: str) -> None:
        """Show a page as soon as it is there."""
        self._shown_first = display_name
        if self.filled:
            self.show_page(display_name)

    def running_work(self) -> str:
        """Name what is running on any page."""
        pages = self.contents.all_pages() if self.filled else []
        return next((work for page in pages if (work := page.running_work())), "")

    def lasting_work(self) -> str:
        """Name the training that is running."""
        return (self.train.lasting_work() or self.label.lasting_work()) if self.filled else ""

    def stop_work(self, keep: bool) -> None:
        """Stop what is running on the pages."""
        for page in self.contents.all_pages() if self.filled else []:
            page.stop_work(keep)

    def close_down(self, window_stays: bool) -> None:
        """Leave no job running and no key bound; labels are on disk, their layers and maps stay."""
        self.closing.emit()
        self._job.mute()
        self._job.cancel()
        if self._contents is not None:
            self.contents.close_down(window_stays)


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
        self._dock = open_cell_class(self._viewer)
        self._dock.show_page_once_filled(self.display_name)

    @property
    def page(self) -> QWidget:
        """The page; the dock is filled at once where that was to come."""
        return self._dock.page_named(self.display_name)

    def __getattr__(self, name: str) -> Any:
        # Not there yet; or what napari asks every widget for, which no page has, and which would fill the dock at once.
        if name in ("page", "_dock", "native", "reset_choices"):
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
