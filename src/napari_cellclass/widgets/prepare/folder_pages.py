"""The pages *Names and copies* and *Check* of the Prepare widget, for folders of tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from magicgui.widgets import FileEdit
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLineEdit, QPushButton, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError, ParamsError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.datasets.renaming import Renaming
from napari_cellclass.core.params.prepare import CheckParams, SliceParams
from napari_cellclass.core.quality.dataset_check import DataReport
from napari_cellclass.runs.prepare.checking import check_data
from napari_cellclass.runs.prepare.slicing import SliceReport, slice_images
from napari_cellclass.widgets.common.choices.settings_form import TrainForm
from napari_cellclass.widgets.common.job_panel import JobPanel
from napari_cellclass.widgets.common.layout import labelled, row_of
from napari_cellclass.widgets.common.text import WrappedLabel, plain_tip
from napari_cellclass.widgets.prepare import work

_TITLES = {"error": "cannot be trained on", "warning": "warnings", "note": "notes"}
_MAX_FILES = 100


class _FolderPage(QWidget):
    """A page about one folder."""

    def __init__(self, tooltip: str) -> None:
        super().__init__()
        self.folder = FileEdit(mode="d", tooltip=tooltip)
        self.folder.line_edit.value = ""

    def set_folder(self, folder: Path) -> None:
        """Choose the folder."""
        self.folder.line_edit.value = str(folder)

    def chosen(self) -> Path:
        """Give the folder.

        Raises
        ------
        ParamsError
            None is chosen.
        """
        text = str(self.folder.line_edit.value).strip()
        if text in ("", "."):
            raise ParamsError("no folder is chosen; choose a folder of tiles, or one with a sub-folder per class")
        return Path(text)


class NamesPage(_FolderPage):
    """Number the images of a folder, and write rotated copies beside them.

    ``written`` is sent with the folder when something there has changed.
    """

    written = Signal(object)

    def __init__(self) -> None:
        super().__init__("a folder of images, or one with a sub-folder per class")
        self.prefix, self.degrees = QLineEdit(), QLineEdit("-5:5")
        self.prefix.setPlaceholderText("the class, or the folder's name")
        self.prefix.setToolTip("how the new names begin; empty for the class, or the folder's name")
        self.degrees.setToolTip("whole degrees LO:HI; a copy for each, but 0, with corners filled by reflection")
        self.rename_button, self.undo_button = QPushButton("Rename"), QPushButton("Undo")
        self.rename_button.setToolTip("number the images in natural order: PREFIX_0001.tif, PREFIX_0002.tif …")
        self.undo_button.setToolTip("restore the names that the images had before the last renaming")
        self.rotate_button = QPushButton("Write rotated copies")
        self.panel = JobPanel([self.rename_button, self.undo_button, self.rotate_button])
        column = QVBoxLayout(self)
        column.addLayout(labelled(("folder", self.folder.native), ("name prefix", self.prefix)))
        column.addLayout(row_of(self.rename_button, self.undo_button))
        column.addLayout(labelled(("degrees", self.degrees)))
        column.addWidget(self.rotate_button)
        column.addWidget(self.panel)
        column.addStretch(1)
        self.panel.show_message("Choose a folder of tiles: Rename numbers them, and copies are written beside them.")
        self.rename_button.clicked.connect(self.rename)
        self.undo_button.clicked.connect(self.undo)
        self.rotate_button.clicked.connect(self.rotate)

    def rename(self) -> None:
        """Rename the images by number, in place."""
        try:
            params = SliceParams.checked(images=[self.chosen()], rename=True, prefix=self.prefix.text().strip() or None)
        except CellClassError as error:
            self.panel.failed(error)
            return
        self.panel.run(work.rename, self._renamed, folder=params.images[0], prefix=params.prefix)

    def _renamed(self, done: Renaming) -> None:
        moved = counted(len(done.moves), "image")
        self.panel.show_message(
            f"{moved} renamed; Undo restores the old names." if done.moves else "All names are correct already."
        )
        self.written.emit(done.folder)

    def undo(self) -> None:
        """Undo the last renaming."""
        try:
            folder = self.chosen()
        except CellClassError as error:
            self.panel.failed(error)
            return
        self.panel.run(work.undo, self._undone, folder=folder)

    def _undone(self, done: Renaming) -> None:
        self.panel.show_message(f"The old names of {counted(len(done.moves), 'image')} are restored.")
        self.written.emit(done.folder)

    def rotate(self) -> None:
        """Write rotated copies beside the tiles."""
        try:
            folder = self.chosen()
            params = SliceParams.checked(images=[folder], out=folder, rotate=self.degrees.text().strip())
        except CellClassError as error:
            self.panel.failed(error)
            return
        self.panel.run(slice_images, self._rotated, params=params)

    def _rotated(self, report: SliceReport) -> None:
        text = ("Cancelled: " if report.cancelled else "") + report.summary()
        failed = [outcome.error for outcome in report.failed]
        self.panel.show_message("\n".join([f"{text[:1].upper()}{text[1:]}.", *failed]), warn=bool(failed))
        self.written.emit(report.out)


class CheckPage(_FolderPage):
    """List what is wrong with a data set before it is trained on.

    ``open_image`` is sent with a file to open, ``show_tiles`` with the folder, ``train`` with
    the folder and the values of the form.
    """

    open_image, show_tiles, train = Signal(object), Signal(object), Signal(object, object)

    def __init__(self) -> None:
        super().__init__("a folder with one sub-folder of images per class, or a list of tiles")
        self.form = TrainForm(["tile_px", "group_by"], CheckParams)
        self.check_button = QPushButton("Check")
        self.show_button, self.train_button = QPushButton("Show the tiles"), QPushButton("Train on them")
        self.panel = JobPanel([self.check_button, self.show_button, self.train_button])
        self.findings = QTreeWidget()
        self.findings.setHeaderHidden(True)
        self.findings.setWordWrap(True)
        self.findings.setToolTip("open a line to see its files; double-click a file to open it")
        self.findings.setVisible(False)
        column = QVBoxLayout(self)
        column.addLayout(labelled(("folder", self.folder.native)))
        column.addWidget(self.form)
        column.addWidget(self.check_button)
        column.addWidget(self.panel)
        column.addWidget(self.findings, 1)
        column.addLayout(row_of(self.show_button, self.train_button))
        column.addStretch(0)
        self.panel.show_message("Choose a folder with a sub-folder of tiles per class, and press Check.")
        self.check_button.clicked.connect(self.check)
        self.folder.changed.connect(lambda path: self.form.fields["group_by"].offer_data(Path(path)))
        self.show_button.clicked.connect(lambda: self._with_folder(self.show_tiles.emit))
        self.train_button.clicked.connect(lambda: self._with_folder(lambda f: self.train.emit(f, self.form.values())))
        self.findings.itemDoubleClicked.connect(self._double_clicked)

    def _with_folder(self, action: Callable[[Path], None]) -> None:
        try:
            folder = self.chosen()
        except CellClassError as error:
            self.panel.failed(error)
        else:
            action(folder)

    def check(self) -> None:
        """Check every image and tile of the folder."""
        try:
            params = CheckParams.checked(data=self.chosen(), **self.form.values())
        except CellClassError as error:
            self.panel.failed(error)
            return
        self.findings.clear()
        self.panel.run(check_data, self._checked, params=params)

    def _checked(self, report: DataReport) -> None:
        for severity, title in _TITLES.items():
            found = [finding for finding in report.findings if finding.severity == severity]
            if not found:
                continue
            head = QTreeWidgetItem([f"{title} ({len(found)})"])
            self.findings.addTopLevelItem(head)
            for finding in found:
                line = QTreeWidgetItem(head)
                self._wrap(line, finding.text)
                for path in finding.files[:_MAX_FILES]:
                    file = QTreeWidgetItem(line, [path.name])
                    file.setData(0, Qt.ItemDataRole.UserRole, str(path))
                    file.setToolTip(0, plain_tip(str(path)))
                if len(finding.files) > _MAX_FILES:
                    QTreeWidgetItem(line, [f"and {len(finding.files) - _MAX_FILES:,} more"])
            head.setExpanded(True)
        self.findings.setVisible(bool(report.findings))
        if report.data is None:
            self.panel.show_message("This cannot be trained on as it is.", warn=True)
            return
        tiles, images = counted(len(report.data), "tile"), counted(len(report.data.paths), "image")
        clean = "" if report.findings else " Nothing is wrong with it."
        self.panel.show_message(f"This can be trained on: {tiles} of {images}.{clean}")

    def _wrap(self, item: QTreeWidgetItem, text: str) -> None:
        """Show a text over several lines, which an item's own text would not be."""
        label = WrappedLabel(text, selectable=False)
        item.setToolTip(0, plain_tip(text))
        self.findings.setItemWidget(item, 0, label)

    def _double_clicked(self, item: QTreeWidgetItem, column: int) -> None:
        path = item.data(0, Qt.ItemDataRole.UserRole)
        if path:
            self.open_image.emit(Path(path))
