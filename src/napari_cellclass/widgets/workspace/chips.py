"""The classes as coloured chips: key, name and number of tiles; a click makes a class the active one."""

from __future__ import annotations

from functools import partial

import numpy as np
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QInputDialog, QMenu, QSizePolicy, QToolButton, QWidget

from napari_cellclass.core.labels.classes import palette
from napari_cellclass.core.labels.label_store import UNSURE
from napari_cellclass.viewer.common.preferences import class_palette
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.flow_layout import FlowLayout
from napari_cellclass.widgets.common.text import plain_tip

_COUNTS_AFTER_MS = 100
_MAX_NAME = 24  # a longer name is cut in its chip, and whole in its tooltip


class ClassChips(QWidget):
    """One chip per class of a workspace, with a menu to edit it, and one that adds a class.

    Nothing is edited in place, so that no key can change a name.

    Parameters
    ----------
    workspace
        Holds the classes and the active one.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self.chips: list[QToolButton] = []
        self.unsure, self.add = QToolButton(), QToolButton()
        self.add.setText("+ class")
        self.add.setToolTip("add a class")
        self.add.clicked.connect(self._add)
        self.unsure.clicked.connect(lambda: self._choose(UNSURE))
        self.unsure.setToolTip("tiles whose class is unclear, which are not trained on; key U")
        self._flow = FlowLayout(self)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_COUNTS_AFTER_MS)
        self._timer.timeout.connect(self._show_counts)
        workspace.classes_changed.connect(self._rebuild)
        workspace.active_changed.connect(self._show_counts)
        workspace.labels_changed.connect(self._labels_changed)
        self._rebuild()

    def _rebuild(self) -> None:
        for chip in self.chips:
            chip.hide()  # Qt deletes it later
            chip.deleteLater()
        while self._flow.count():
            self._flow.takeAt(0)
        annotation = self._workspace.annotation
        self.chips = [self._chip(i) for i in range(0 if annotation is None else len(annotation.scheme))]
        for widget in (*self.chips, self.unsure, self.add):
            self._flow.addWidget(widget)
        self.setVisible(annotation is not None)
        self._show_counts()

    def _chip(self, index: int) -> QToolButton:
        chip = QToolButton(self)
        chip.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys go on labelling after a click
        chip.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        chip.clicked.connect(partial(self._choose, index))
        chip.customContextMenuRequested.connect(partial(self._show_menu, index))
        chip.show()
        return chip

    def _labels_changed(self, change: object) -> None:
        self._timer.start()

    def _show_counts(self) -> None:
        annotation = self._workspace.annotation
        if annotation is None or len(self.chips) != len(annotation.scheme):
            return
        scheme, labels = annotation.scheme, np.asarray(annotation.labels)
        counts = np.bincount(labels[labels >= 0], minlength=len(scheme))
        for i, chip in enumerate(self.chips):
            name, key = scheme.names[i], scheme.keys[i].strip()
            short = name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
            chip.setText(f"{key} {short} · {counts[i]:,}".strip().replace("&", "&&"))
            tip = f"{name}; key {key}" if key else f"{name}; it has no key"
            chip.setToolTip(plain_tip(f"{tip}. A click makes it the active class, a right click changes it"))
            chip.setStyleSheet(_style(scheme.colours[i], self._workspace.active == i))
        unsure = int((labels == UNSURE).sum())
        self.unsure.setText(f"u unsure · {unsure:,}" if unsure else "u unsure")
        self.unsure.setStyleSheet(_style("#999999", self._workspace.active == UNSURE))
        self.updateGeometry()

    def _choose(self, index: int, checked: bool = False) -> None:
        self._workspace.set_active(index)

    # -- editing -----------------------------------------------------------------------------------

    def menu(self, index: int) -> QMenu:
        """Give the menu of a class."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for text, action in (
            ("Rename …", self.rename), ("Colour …", self.recolour), ("Key …", self.change_key),
            ("Merge into …", self.merge), ("Remove", self.remove),
        ):  # fmt: skip
            menu.addAction(text, partial(action, index))
        return menu

    def _show_menu(self, index: int, point: QPoint) -> None:
        self.menu(index).popup(self.chips[index].mapToGlobal(point))

    def _add(self) -> None:
        name, done = QInputDialog.getText(self, "Add a class", "name of the class")
        if done and name.strip():
            assert self._workspace.annotation is not None
            taken = self._workspace.annotation.scheme.colours
            free = next(one for one in palette(len(taken) + 1, class_palette()) if one not in taken)
            self._workspace.edit_classes(lambda annotation: annotation.add_class(name.strip(), free))

    def rename(self, index: int) -> None:
        """Ask for another name of a class."""
        name, done = QInputDialog.getText(self, "Rename a class", "name", text=self._names()[index])
        if done and name.strip():
            self._workspace.edit_classes(lambda annotation: annotation.change_class(index, name=name.strip()))

    def change_key(self, index: int) -> None:
        """Ask for another key of a class."""
        assert self._workspace.annotation is not None
        key = self._workspace.annotation.scheme.keys[index].strip()
        text, done = QInputDialog.getText(self, "Key of a class", f"key of {self._names()[index]!r}", text=key)
        if done:
            self._workspace.edit_classes(lambda annotation: annotation.change_class(index, key=text.strip()))

    def recolour(self, index: int) -> None:
        """Ask for another colour of a class."""
        assert self._workspace.annotation is not None
        colour = QColorDialog.getColor(QColor(self._workspace.annotation.scheme.colours[index]), self)
        if colour.isValid():
            text = colour.name().upper()
            self._workspace.edit_classes(lambda annotation: annotation.change_class(index, colour=text))

    def merge(self, index: int) -> None:
        """Ask which class the tiles of a class become."""
        others = [name for i, name in enumerate(self._names()) if i != index]
        title = f"tiles of {self._names()[index]!r} become"
        name, done = QInputDialog.getItem(self, "Merge classes", title, others, 0, False)
        if done:
            self._workspace.edit_classes(
                lambda annotation: annotation.merge_class(index, annotation.scheme.index(name))
            )

    def remove(self, index: int) -> None:
        """Remove a class; its tiles become unlabelled, which undo takes back."""
        self._workspace.edit_classes(lambda annotation: annotation.remove_class(index))
        self._workspace.message.emit("The class was removed, its tiles are not labelled; Ctrl+Z takes it back.", False)

    def _names(self) -> tuple[str, ...]:
        return () if self._workspace.annotation is None else self._workspace.annotation.scheme.names


def _style(colour: str, active: bool) -> str:
    """Fill the chip of the active class, and give the others a bar in their colour."""
    if not active:
        return f"QToolButton {{ border: 1px solid {colour}; border-left: 8px solid {colour}; padding: 2px 4px; }}"
    text = "#000000" if QColor(colour).lightnessF() > 0.5 else "#FFFFFF"
    return (
        f"QToolButton {{ border: 1px solid {text}; border-left: 8px solid {colour}; background: {colour}; "
        f"color: {text}; font-weight: bold; padding: 2px 4px; }}"
    )
