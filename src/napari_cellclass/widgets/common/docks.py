"""The plugin's other widgets, found in the window or opened by their name in the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from qtpy.QtWidgets import QWidget

from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.window_parts import main_window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari.viewer import Viewer

    from napari_cellclass.runs.live.field_features import FieldFeatures
    from napari_cellclass.runs.live.session import LivePrediction, LiveSession
    from napari_cellclass.viewer.workspace.live_labels import LabelledField
    from napari_cellclass.viewer.workspace.workspace import Workspace
    from napari_cellclass.widgets.common.choices.data_choice import DataChoice
    from napari_cellclass.widgets.common.choices.settings_form import TrainForm


class ClassifyDock(Protocol):
    """What other widgets use of *Classify field*."""

    def chosen_model(self) -> Path | None:
        """Give the file of the model that is chosen and open, or None."""

    def set_model(self, path: Path) -> None:
        """Choose a model."""

    def model_trained(self, path: Path) -> None:
        """Choose a model that has just been trained; the map becomes its map, unless the user keeps the one shown."""

    def run_when_ready(self, path: Path) -> None:
        """Choose a model, and classify once as soon as it is open."""


class TrainDock(Protocol):
    """What other widgets use of *Train*."""

    def last_model(self) -> Path | None:
        """Give the model that was trained last in this window, or None."""

    def preview_folder(self, folder: Path, tile_px: int | None, group_by: str | None) -> None:
        """Choose class folders, and show how they are split."""


class ExperimentDock(Protocol):
    """What other widgets use of *Experiment*."""

    def set_training(self, data: DataChoice, *forms: TrainForm) -> None:
        """Choose the tiles and settings of another widget, unless an experiment is running."""

    def start_pair(self) -> None:
        """Train by group and by tile, and nothing else."""


class LiveFields(Protocol):
    """What other widgets use of the live predictions: the features of all fields that are open.

    ``predicted`` and ``progressed`` are signals of Qt, see ``LivePredictions``.
    """

    predicted: Any
    progressed: Any
    enabled: bool
    session: LiveSession | None
    current: LivePrediction | None

    def opened_fields(self) -> Sequence[tuple[LabelledField, FieldFeatures]]:
        """Give the fields, with their features as far as they are known."""


class CellClassDock(Protocol):
    """What other widgets use of the dock *Cell Class*. Its signal ``closing`` is sent when it is closed."""

    closing: Any
    closed_down: bool
    workspace: Workspace

    @property
    def live(self) -> LiveFields:
        """The live predictions."""

    def show_tile(self, field_key: str, tile_index: int) -> None:
        """Make a tile of any open field the current one; its field is opened first."""

    def show_page(self, display_name: str) -> QWidget:
        """Show a page by its name in napari's menus, and give it."""

    def show_page_once_filled(self, display_name: str) -> None:
        """Show a page as soon as the dock has it."""

    def page_named(self, display_name: str) -> QWidget:
        """Give a page by its name in napari's menus."""

    def open_project(self, path: Path) -> None:
        """Open a project as it was left."""


D = TypeVar("D")


@dataclass(frozen=True)
class Dock(Generic[D]):
    """A widget of the plugin, by its name in the manifest.

    Parameters
    ----------
    display_name
        As in the manifest.
    """

    display_name: str

    def find(self, owner: QWidget) -> D | None:
        """Find the widget in the window that ``owner`` is docked in; None where it is not open."""
        window = main_window(owner)
        open_ones = [] if window is None else window.findChildren(DockedWidget)
        return cast("D | None", next((one for one in open_ones if one.display_name == self.display_name), None))

    def open(self, owner: QWidget, viewer: Viewer) -> D:
        """Give the widget, and open it where it is not open yet."""
        found = self.find(owner)
        if found is None:
            window = unwrap(viewer).window
            _, found = window.add_plugin_dock_widget("napari-cellclass", self.display_name, tabify=True)
        return cast("D", found)


class Page(Dock[D]):
    """A page of the dock *Cell Class*, by its name in the manifest."""

    def open(self, owner: QWidget, viewer: Viewer) -> D:
        """Give the page, and open its dock where it is not open yet."""
        return self.find(owner) or cast("D", open_cell_class(viewer).show_page(self.display_name))


def open_cell_class(viewer: Viewer) -> CellClassDock:
    """Open the dock *Cell Class*, or bring it forward."""
    dock, widget = unwrap(viewer).window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    dock.show()
    dock.raise_()
    return cast("CellClassDock", widget)


CLASSIFY: Page[ClassifyDock] = Page("Classify field")
TRAIN: Page[TrainDock] = Page("Train")
EXPERIMENT: Dock[ExperimentDock] = Dock("Experiment")
SCATTER: Dock[DockedWidget] = Dock("Scatter")
