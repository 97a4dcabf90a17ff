"""Asks what the classes of a model stand for, where the labels have none of that name."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QComboBox, QFormLayout, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.viewer.workspace.class_matching import match_class, unmatched_classes
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.text import WrappedLabel


class ModelClasses(QWidget):
    """A row for each class of a model that is none of the labels': a class of its own, or one of those.

    Classes are matched by name, never by their order. It is shown only where something does not match.

    Parameters
    ----------
    workspace
        Holds the classes of the labels, and gets the answers.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self.question = WrappedLabel()
        self.choices: dict[str, QComboBox] = {}
        self.button = QPushButton("Use these classes")
        self._form = QFormLayout()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.question)
        column.addLayout(self._form)
        column.addWidget(self.button)
        self.button.clicked.connect(self._answer)
        self.setVisible(False)

    def compare(self, names: Sequence[str]) -> None:
        """Ask for the classes of a model that the labels do not have."""
        unmatched = unmatched_classes(self._workspace, names)
        if list(self.choices) != unmatched:
            while self._form.rowCount():
                self._form.removeRow(0)
            self.choices = {}
            for name in unmatched:
                choice = self.choices[name] = QComboBox()
                self._form.addRow(name, choice)
        ours = () if self._workspace.annotation is None else self._workspace.annotation.scheme.names
        for choice in self.choices.values():
            chosen = choice.currentText()
            choice.clear()
            choice.addItems(["a class of its own", *(name for name in ours if name not in names)])
            choice.setCurrentText(chosen)
        self.question.setText("The labels have no class of this name. What does the model's class stand for?")
        self.setVisible(bool(unmatched))

    def _answer(self) -> None:
        chosen = {name: box.currentText() if box.currentIndex() > 0 else None for name, box in self.choices.items()}
        for name, ours in chosen.items():  # each may change the rows that are left
            match_class(self._workspace, name, ours)
        self.setVisible(False)
