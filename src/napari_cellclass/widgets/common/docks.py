"""The plugin's other widgets, found in the window or opened by their name in the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from qtpy.QtWidgets import QDockWidget, QWidget

from napari_cellclass.viewer.common.layers import unwrap
from napari_cellclass.widgets.common.dock_widget import DockedWidget, main_window

if TYPE_CHECKING:
    from pathlib import Path

    from napari.viewer import Viewer

    from napari_cellclass.core.common.journal import Journal
    from napari_cellclass.core.images.source import SourceImage
    from napari_cellclass.core.labels.annotation import Annotation
    from napari_cellclass.viewer.common.map_view import FieldLayer
    from napari_cellclass.widgets.common.data_choice import DataChoice
    from napari_cellclass.widgets.common.settings_form import TrainForm


class ClassifyDock(Protocol):
    """What other widgets use of *Classify field*."""

    def chosen_model(self) -> Path | None:
        """Give the file of the model that is chosen and open, or None."""

    def set_model(self, path: Path) -> None:
        """Choose a model."""

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


class LabelSession(Protocol):
    """The labels that *Annotate tiles* shows, for other widgets to add to."""

    journal: Journal
    annotation: Annotation | None

    def open(self, annotation: Annotation, source: SourceImage, field_layer: FieldLayer) -> None:
        """Show an annotation in the viewer."""

    def label_as(self, tile_index: int, name: str, colour: str) -> bool:
        """Give a tile a class by its name; False where that could not be written to disk."""


class AnnotateDock(Protocol):
    """What other widgets use of *Annotate tiles*."""

    session: LabelSession


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


CLASSIFY: Dock[ClassifyDock] = Dock("Classify field")
TRAIN: Dock[TrainDock] = Dock("Train")
EXPERIMENT: Dock[ExperimentDock] = Dock("Experiment")
ANNOTATE: Dock[AnnotateDock] = Dock("Annotate tiles")


def bring_forward(widget: QWidget) -> None:
    """Raise the dock of a widget above the others in the same group of tabs."""
    parent: Any = widget.parent()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parent()
    if parent is not None:
        parent.raise_()
