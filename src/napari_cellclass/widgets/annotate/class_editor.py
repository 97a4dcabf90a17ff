"""The class list of an annotation: name, colour, key, tiles; add, rename, merge, remove."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QHeaderView,
    QInputDialog,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.widgets.annotate.session import AnnotateSession
from napari_cellclass.widgets.common.layout import row_of

_COLUMNS = ("", "class", "key", "tiles")


class ClassEditor(QWidget):
    """A table of classes that can be edited in place.

    Parameters
    ----------
    session
        Holds the annotation whose classes are shown and changed.
    """

    def __init__(self, session: AnnotateSession) -> None:
        super().__init__()
        self._session = session
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.verticalHeader().setVisible(False)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.table.setToolTip("double-click a name or key to change it, a colour to choose another")
        self.add, self.merge, self.remove = QPushButton("Add"), QPushButton("Merge"), QPushButton("Remove")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addLayout(row_of(self.add, self.merge, self.remove))
        self.table.itemChanged.connect(self._edited)
        self.table.cellDoubleClicked.connect(self._double_clicked)
        self.add.clicked.connect(self._add)
        self.merge.clicked.connect(self._merge)
        self.remove.clicked.connect(self._remove)
        session.classes_changed.connect(self.show_classes)

    @property
    def annotation(self) -> Annotation | None:
        """The annotation whose classes are shown."""
        return self._session.annotation

    def show_classes(self) -> None:
        """Fill the table."""
        annotation = self.annotation
        if annotation is None:
            return
        counts = annotation.counts()
        tiles = dict(zip(counts["class_name"], counts["tiles"], strict=True))
        self.table.blockSignals(True)
        self.table.setRowCount(len(counts))
        rows = zip(annotation.scheme.names, annotation.scheme.colours, annotation.scheme.keys, strict=True)
        for i, (name, colour, key) in enumerate(rows):
            self._row(i, name, colour, key.strip(), int(tiles[name]), Qt.ItemFlag.ItemIsEditable)
        for j, extra in enumerate(counts["class_name"][len(annotation.scheme) :], len(annotation.scheme)):
            key = {"(unsure)": "u", "(unlabelled)": "0"}.get(extra, "")
            self._row(j, extra, "", key, int(tiles[extra]), Qt.ItemFlag.NoItemFlags)
        self.table.blockSignals(False)
        self.table.setFixedHeight(min(320, 30 + 30 * len(counts)))

    def show_counts(self) -> None:
        """Update the numbers of tiles, and nothing else."""
        if self.annotation is not None:
            self.table.blockSignals(True)
            for i, tiles in enumerate(self.annotation.counts()["tiles"]):
                item = self.table.item(i, 3)
                if item is not None and item.text() != f"{tiles:,}":
                    item.setText(f"{tiles:,}")
            self.table.blockSignals(False)

    def _row(self, i: int, name: str, colour: str, key: str, tiles: int, edit: Qt.ItemFlag) -> None:
        usual = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        for column, text in enumerate(("", name, key, f"{tiles:,}")):
            item = QTableWidgetItem(text)
            item.setFlags(usual | edit if column in (1, 2) else usual)
            if column == 0 and colour:
                item.setBackground(QColor(colour))
            if column >= 2:
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
            self.table.setItem(i, column, item)

    def selected(self) -> int:
        """Index of the class in the selected row, or -1."""
        row = self.table.currentRow()
        return row if self.annotation is not None and 0 <= row < len(self.annotation.scheme) else -1

    def _edited(self, item: QTableWidgetItem) -> None:
        index, text = item.row(), item.text().strip()
        if item.column() == 1:
            self._session.edit_classes(lambda annotation: annotation.change_class(index, name=text))
        elif item.column() == 2:
            self._session.edit_classes(lambda annotation: annotation.change_class(index, key=text))

    def _double_clicked(self, row: int, column: int) -> None:
        if column != 0 or self.annotation is None or row >= len(self.annotation.scheme):
            return
        colour = QColorDialog.getColor(QColor(self.annotation.scheme.colours[row]), self)
        if colour.isValid():
            self._session.edit_classes(lambda annotation: annotation.change_class(row, colour=colour.name().upper()))

    def _add(self) -> None:
        name, done = QInputDialog.getText(self, "Add a class", "name of the class")
        if done and name.strip():
            self._session.edit_classes(lambda annotation: annotation.add_class(name.strip()))

    def _merge(self) -> None:
        index = self.selected()
        if self.annotation is None or index < 0:
            self._session.message.emit("Select the class to merge into another.", True)
            return
        others = [name for i, name in enumerate(self.annotation.scheme.names) if i != index]
        name = self.annotation.scheme.names[index]
        into, done = QInputDialog.getItem(self, "Merge classes", f"tiles of {name!r} become", others, 0, False)
        if done:
            self._session.edit_classes(lambda annotation: annotation.merge_class(index, annotation.scheme.index(into)))

    def _remove(self) -> None:
        index = self.selected()
        if index < 0:
            self._session.message.emit("Select the class to remove; its tiles become unlabelled.", True)
            return
        self._session.edit_classes(lambda annotation: annotation.remove_class(index))
