"""The page *Check*: what the labels are like, how good the newest model was, and where to look closer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.workspace.records import ModelVersion
from napari_cellclass.viewer.workspace.label_summary import summarise_labels
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.results.window import ResultsWindow
from napari_cellclass.widgets.common.text import WrappedLabel
from napari_cellclass.widgets.workspace.check_results import CheckResults, check_headline
from napari_cellclass.widgets.workspace.label_table import LabelTable

if TYPE_CHECKING:
    from napari.viewer import Viewer

_OTHERS = {
    "Evaluate": "a model on tiles that it was not trained on: scores, confusion matrix, wrong tiles",
    "Experiment": "repeated trainings: whether the network has learned or memorised",
    "Blinded reading": "read tiles without knowing their class, and compare with the network",
}
_NO_FIELD = "No field is open: open an image, and label its tiles."
_NO_LABELS = "No tile is labelled yet: press the key of a class over a tile; the page Label shows the keys."
_SETTLES_MS = 200


class CheckPage(DockedWidget):
    """Counts labels, says how good the model was, and opens the widgets that check both, in tabs beside this dock.

    Parameters
    ----------
    viewer, workspace
        The viewer, and the work in it.
    model
        Gives the model that is chosen for maps, or None.
    """

    display_name = "Check"

    def __init__(self, viewer: Viewer, workspace: Workspace, model: Callable[[], ModelBundle | None]) -> None:
        super().__init__()
        self._viewer, self._workspace, self._model = viewer, workspace, model
        self._version: tuple[str, ModelVersion] | None = None
        self.labels, self.trained, self.score = WrappedLabel(), WrappedLabel(), WrappedLabel()
        self.table = LabelTable()
        self.results = CheckResults()
        self.window_of_results = ResultsWindow(self, self.display_name, self.results)
        self.open_button = QPushButton("Open results")
        self.open_button.setToolTip("all labels, and pictures of tiles whose label and map differ, in a window")
        self.buttons = {name: QPushButton(f"{name} …") for name in _OTHERS}
        page = QWidget()
        column = QVBoxLayout(page)
        for widget in (self.score, self.trained, self.labels, self.table, self.open_button):
            column.addWidget(widget)
        self.open_button.clicked.connect(self._open_results)
        self.results.opened.connect(self._go_to)
        for name, button in self.buttons.items():
            button.clicked.connect(lambda _=False, name=name: self._open(name))
            text = WrappedLabel(f"{_OTHERS[name][0].upper()}{_OTHERS[name][1:]}.", selectable=False)
            column.addWidget(button)
            column.addWidget(text)
        column.addStretch(1)
        self.fill(page)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLES_MS)
        self._timer.timeout.connect(self.refresh)
        workspace.labels_changed.connect(self._changed)
        for signal in (workspace.classes_changed, workspace.field_changed, workspace.session.changed):
            signal.connect(self._changed)
        self.refresh()

    def _open(self, name: str) -> None:
        _, widget = self._viewer.window.add_plugin_dock_widget("napari-cellclass", name, tabify=True)
        found = self._newest()
        project = self._workspace.session.project
        if name == "Evaluate" and found is not None:
            widget.set_model(found.path)
            if project is not None:
                widget.sets.add(project.path)

    def _open_results(self) -> None:
        self.window_of_results.open_results(activate=True)
        self.refresh()

    def _go_to(self, tile_index: int) -> None:
        self._workspace.go_to(tile_index)
        self.window_of_results.show_napari()

    def showEvent(self, event: Any) -> None:
        """Be up to date when it is looked at."""
        super().showEvent(event)
        self.refresh()

    def _changed(self, change: object = None) -> None:
        if self.isVisible() or self.window_of_results.isVisible():
            self._timer.start()

    def _newest(self) -> ModelVersion | None:
        """Give the newest model of the project, or else the one that is chosen for maps."""
        project, model = self._workspace.session.project, self._model()
        if project is not None and project.newest_model is not None:
            return project.newest_model
        if model is None:
            return None
        if self._version is None or self._version[0] != model.model_id:
            try:
                self._version = (model.model_id, ModelVersion.of(model, 1))
            except CellClassError:
                return None
        return self._version[1]

    def refresh(self) -> None:
        """Count again."""
        newest = self._newest()
        fields = summarise_labels(self._workspace, () if newest is None else newest.images)
        scheme = self._workspace.annotation.scheme if self._workspace.annotation is not None else None
        classes = () if scheme is None else scheme.names
        self.table.setVisible(bool(fields))
        self.table.show_labels(fields, classes)
        if self.window_of_results.isVisible():
            self.window_of_results.set_headline(check_headline(newest, fields))
            self.results.show_labels(self._workspace, fields, classes)
        self.score.setText(describe_model(newest))
        n = sum(one.trained_on for one in fields)
        self.trained.setVisible(newest is not None and bool(fields))
        self.trained.setText(
            f"It was trained on tiles of {n} of {counted(len(fields), 'field')} (marked *): figures and maps of these "
            "look better than those of new fields."
            if n
            else "It was trained on tiles of none of these fields."
        )
        total = sum(sum(one.counts.values()) for one in fields)
        hidden = sum(one.hidden for one in fields)
        text = f"{counted(total, 'tile')} of {counted(len(fields), 'field')} {'is' if total == 1 else 'are'} labelled."
        if hidden:
            text += f" {counted(hidden, 'label')} of tiles of another size {'is' if hidden == 1 else 'are'} hidden."
        is_open = self._workspace.annotation is not None
        self.labels.setText(text if total or (fields and hidden) else _NO_LABELS if is_open else _NO_FIELD)

    def close_down(self, window_stays: bool) -> None:
        """Stop following, and close the window."""
        self._timer.stop()
        self.results.close_down()
        self.window_of_results.close()


def describe_model(model: ModelVersion | None) -> str:
    """Say in a sentence how good a model was on tiles that it was not trained on."""
    if model is None:
        return "There is no model yet; train one on the page Train, or choose one on the page Map."
    name, score = Path(model.path).name, model.score
    if score is None:
        return f"{name} carries no held-out accuracy; Evaluate measures it on a test set."
    of = f"on {counted(score.n, 'held-out tile')} of {counted(score.groups, 'group')}"
    if score.lo is None or score.hi is None:
        return f"{name}: balanced accuracy {score.value:.2f} {of}, too few groups for a confidence interval."
    interval = f"95 % confidence interval {score.lo:.2f} to {score.hi:.2f}"
    return f"{name}: balanced accuracy {score.value:.2f} ({interval}), {of}."
