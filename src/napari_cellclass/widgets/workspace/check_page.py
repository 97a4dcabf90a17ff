"""The page *Check*: what the labels are like, how good the newest model was, and where to look closer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.text import WrappedLabel

if TYPE_CHECKING:
    from napari.viewer import Viewer

_OTHERS = {
    "Evaluate": "a model on tiles that it was not trained on: scores, confusion matrix, wrong tiles",
    "Experiment": "repeated trainings: has the network learned or memorised?",
    "Blinded reading": "read tiles without knowing their class, and compare with the network",
}


class CheckPage(DockedWidget):
    """Opens the widgets that check labels and models, each in a tab beside this dock.

    Parameters
    ----------
    viewer, workspace
        The viewer, and the work in it.
    """

    display_name = "Check"

    def __init__(self, viewer: Viewer, workspace: Workspace) -> None:
        super().__init__()
        self._viewer, self._workspace = viewer, workspace
        self.summary = WrappedLabel()
        self.buttons = {name: QPushButton(f"{name} …") for name in _OTHERS}
        page = QWidget()
        column = QVBoxLayout(page)
        column.addWidget(self.summary)
        for name, button in self.buttons.items():
            button.setToolTip(_OTHERS[name])
            button.clicked.connect(lambda _=False, name=name: self._open(name))
            column.addWidget(WrappedLabel(_OTHERS[name][0].upper() + _OTHERS[name][1:] + ".", selectable=False))
            column.addWidget(button)
        column.addStretch(1)
        self.fill(page)
        workspace.labels_changed.connect(self._labels_changed)
        workspace.classes_changed.connect(self._show_summary)
        self._show_summary()

    def _open(self, name: str) -> None:
        self._viewer.window.add_plugin_dock_widget("napari-cellclass", name, tabify=True)

    def _labels_changed(self, change: object) -> None:
        self._show_summary()

    def _show_summary(self) -> None:
        annotation = self._workspace.annotation
        if annotation is None:
            self.summary.setText("No field is open.")
            return
        counts = annotation.counts()
        rows = [f"{row.class_name}: {row.tiles:,}" for row in counts.itertuples()]
        self.summary.setText("Tiles of this field. " + "; ".join(rows) + ".")

    def close_down(self, window_stays: bool) -> None:
        """Nothing runs here."""
