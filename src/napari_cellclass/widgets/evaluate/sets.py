"""The list of test sets, each with a name that can be edited."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.common.errors import CellClassError, ParamsError
from napari_cellclass.runs.evaluate.named_sets import NamedTestSet, name_test_sets
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import plain_tip

_NAME, _PATH = 0, 1
_ROW_PX, _MAX_ROWS = 24, 5


class SetList(QWidget):
    """Test sets: folders with a sub-folder per class, lists of tiles, or projects.

    ``changed`` is sent with their paths when one is added or removed.
    """

    changed = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        self.table = QTableWidget(0, 2)
        self.table.setHorizontalHeaderLabels(["test set", "where"])
        self.table.verticalHeader().setVisible(False)
        self.table.verticalHeader().setDefaultSectionSize(_ROW_PX)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setTextElideMode(Qt.TextElideMode.ElideLeft)
        self.table.setWordWrap(False)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Interactive)
        header.setSectionResizeMode(_PATH, QHeaderView.ResizeMode.Stretch)
        self.table.setToolTip("double-click a name to change it")
        self.folder_button, self.csv_button = QPushButton("Add folder …"), QPushButton("Add list or project …")
        self.remove_button = QPushButton("Remove")
        self.folder_button.setToolTip("a folder with one sub-folder of tiles or fields per class")
        self.csv_button.setToolTip(
            "a TILES.csv with path, y0, x0, y1, x1, class_name and optionally group; or a project, whose labelled "
            "tiles are used that the model was not trained on"
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addLayout(row_of(self.folder_button, self.csv_button, self.remove_button))
        self.folder_button.clicked.connect(self._ask_folder)
        self.csv_button.clicked.connect(self._ask_csv)
        self.remove_button.clicked.connect(self.remove_selected)
        self._fit()

    def add(self, path: Path) -> None:
        """Add a test set under a unique name; one that is listed already is not added twice."""
        rows = [self.table.item(i, _PATH).text() for i in range(self.table.rowCount())]
        if str(path) in rows:
            self.table.selectRow(rows.index(str(path)))
            return
        try:
            name = name_test_sets([NamedTestSet("", Path(text)) for text in (*rows, str(path))])[-1].name
        except CellClassError:
            name = path.stem  # Run reports that two have the same name
        row = self.table.rowCount()
        self.table.insertRow(row)
        self.table.setItem(row, _NAME, QTableWidgetItem(name))
        where = QTableWidgetItem(str(path))
        where.setFlags(where.flags() & ~Qt.ItemFlag.ItemIsEditable)
        where.setToolTip(plain_tip(str(path)))
        self.table.setItem(row, _PATH, where)
        self._fit()

    def remove_selected(self) -> None:
        """Remove the selected test sets."""
        for row in sorted({index.row() for index in self.table.selectedIndexes()}, reverse=True):
            self.table.removeRow(row)
        self._fit()

    def chosen(self) -> tuple[NamedTestSet, ...]:
        """Give the test sets.

        Raises
        ------
        ParamsError
            There is none, or two have the same name.
        """
        rows = range(self.table.rowCount())
        found = [
            NamedTestSet(self.table.item(i, _NAME).text().strip(), Path(self.table.item(i, _PATH).text())) for i in rows
        ]
        if not found:
            raise ParamsError("no test set is chosen; add a folder with one sub-folder of tiles per class")
        return name_test_sets(found)

    def _fit(self) -> None:
        rows = max(2, min(_MAX_ROWS, self.table.rowCount()))
        self.table.setFixedHeight(self.table.horizontalHeader().sizeHint().height() + _ROW_PX * rows + 6)
        self.remove_button.setEnabled(self.table.rowCount() > 0)
        self.changed.emit([Path(self.table.item(i, _PATH).text()) for i in range(self.table.rowCount())])

    def _ask_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "A test set: a folder with one sub-folder per class")
        if name:
            self.add(Path(name))

    def _ask_csv(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "A test set: a list of tiles, or a project", "", "Lists of tiles, projects (*.csv *.cellproject)"
        )
        if name:
            self.add(Path(name))
