"""A tour of the dock in five steps, which go on by themselves as they are done; shown once to each user."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from napari_cellclass.viewer.common.tour_state import remember_tour
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.text import WrappedLabel

STEPS = (
    "Open an image: drop it on the window, or File > Open Sample > Cell Class.",
    "Choose the size of a tile above: about as large as what you want to tell apart.",
    "Press 1 or 2 for the class of the tile in the frame; the next tile follows. A right click names a class.",
    "Label some tiles of each class: from the second class on, the live map predicts the rest of the field.",
    "Keep as model makes a model of your labels; on the page Map, Run classifies whole images with it.",
)


class Tour(QFrame):
    """A box in the dock, which covers nothing; Next goes on, Close ends it for good.

    Parameters
    ----------
    workspace
        What is done in it takes the tour to its next step.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self.step = -1
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.number, self.text = QLabel(), WrappedLabel(selectable=False)
        self.next_button, self.close_button = QPushButton("Next"), QPushButton("Close")
        self.close_button.setToolTip("end the tour; the button ? shows it again")
        for button in (self.next_button, self.close_button):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys of classes go on
        row = QHBoxLayout()
        row.addWidget(self.number, 1)
        row.addWidget(self.next_button)
        row.addWidget(self.close_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 3, 6, 3)
        column.setSpacing(2)
        column.addWidget(self.text)
        column.addLayout(row)
        self.next_button.clicked.connect(lambda: self._go_to(self.step + 1))
        self.close_button.clicked.connect(self.end)
        workspace.field_changed.connect(self._field_changed)
        workspace.labels_changed.connect(self._labelled)
        self.setVisible(False)

    def start(self) -> None:
        """Show the first step that is not done yet."""
        self._go_to(0 if self._workspace.annotation is None else 1)

    def end(self) -> None:
        """Go, and do not come back unasked."""
        self.step = -1
        self.setVisible(False)
        remember_tour()

    def size_chosen(self) -> None:
        """Go on from the size of a tile, which a user has chosen."""
        self._done(1)

    def predicted(self, found: object) -> None:
        """Go on from the live map, unless ``found`` is None: nothing is predicted."""
        if found is not None:
            self._done(3)

    def model_made(self) -> None:
        """End the tour: a model was made of the labels."""
        self._done(4)

    def _field_changed(self) -> None:
        if self._workspace.annotation is not None:
            self._done(0)

    def _labelled(self, change: Any) -> None:
        if change is not None:
            self._done(1)
            self._done(2)

    def _done(self, step: int) -> None:
        """Go on where this is the step that is shown."""
        if self.step == step:
            self._go_to(step + 1)

    def _go_to(self, step: int) -> None:
        if step >= len(STEPS):
            self.end()
            return
        self.step = step
        self.number.setText(f"<b>Tour</b>, {step + 1} of {len(STEPS)}")
        self.text.setText(STEPS[step])
        self.next_button.setText("Done" if step == len(STEPS) - 1 else "Next")
        self.setVisible(True)
