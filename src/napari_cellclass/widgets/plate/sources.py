"""The images of a plate: folders, images and lists, or all image layers of the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QFileDialog,
    QListWidget,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.viewer.common.channels import propose_fields
from napari_cellclass.viewer.common.layer_axes import UnclearChannelsError
from napari_cellclass.viewer.common.layers import image_from_layers, is_user_layer
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import plain_tip

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

_ROW_PX, _MAX_ROWS = 22, 5


class PlateSources(QWidget):
    """Folders, images and lists of images; or every image layer. Its ``first_row`` has room at its right.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.from_files, self.from_layers = QRadioButton("folders, images and lists"), QRadioButton("all image layers")
        self.from_files.setToolTip("images on the disk, also whole folders and OME-Zarr plates")
        self.from_layers.setToolTip("layers that are in no file are written to the folder of results first")
        self.files = QListWidget()
        self.files.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.files.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.files.setTextElideMode(Qt.TextElideMode.ElideLeft)
        self.files.setToolTip("a list is a .txt or .csv file with the path of an image in each line")
        self.folder_button, self.file_button = QPushButton("Add folder …"), QPushButton("Add files …")
        self.remove_button = QPushButton("Remove")
        self._buttons = QWidget()
        row = row_of(self.folder_button, self.file_button, self.remove_button)
        row.setContentsMargins(0, 0, 0, 0)
        self._buttons.setLayout(row)
        group = QButtonGroup(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.first_row = row_of(self.from_files)
        column.addLayout(self.first_row)
        for widget in (self.files, self._buttons, self.from_layers):
            column.addWidget(widget)
        for radio in (self.from_files, self.from_layers):
            group.addButton(radio)
        self.from_files.setChecked(True)
        self.from_files.toggled.connect(self._chosen)
        self.folder_button.clicked.connect(self._ask_folder)
        self.file_button.clicked.connect(self._ask_files)
        self.remove_button.clicked.connect(self.remove_selected)
        self._fit()

    def add(self, path: Path) -> None:
        """Add a folder, an image or a list; one that is listed already is not added twice."""
        self.from_files.setChecked(True)
        if not self.files.findItems(str(path), Qt.MatchFlag.MatchExactly):
            self.files.addItem(str(path))
            self.files.item(self.files.count() - 1).setToolTip(plain_tip(str(path)))
        self._fit()

    def remove_selected(self) -> None:
        """Remove the selected entries, or all where none is selected."""
        rows = [self.files.row(item) for item in self.files.selectedItems()] or range(self.files.count())
        for row in sorted(rows, reverse=True):
            self.files.takeItem(row)
        self._fit()

    def chosen(self) -> tuple[list[Path], list[SourceImage]]:
        """Give the chosen files, and the layers that are in no file.

        Raises
        ------
        ParamsError
            Nothing is chosen, or an axis of a layer may be channels or planes.
        """
        if self.from_files.isChecked():
            files = [Path(self.files.item(i).text()) for i in range(self.files.count())]
            if not files:
                raise ParamsError("no images are chosen; add a folder, images, or a list of images")
            return files, []
        layers = [unwrap(layer) for layer in self._viewer.layers if _is_image(layer)]
        if not layers:
            raise ParamsError("there is no image layer; open images, or choose a folder")
        # Several layers of one file are its channels.
        files = [Path(path) for path in dict.fromkeys(layer.source.path for layer in layers if layer.source.path)]
        loose = [layer for layer in layers if not layer.source.path]
        fields = propose_fields(loose)
        try:
            return files, [image_from_layers(field.layers, self._viewer.dims.point) for field in fields]
        except UnclearChannelsError as error:
            raise ParamsError(f"{error}, in Classify field") from error

    def _chosen(self) -> None:
        for widget in (self.files, self._buttons):
            widget.setVisible(self.from_files.isChecked())

    def _fit(self) -> None:
        self.files.setFixedHeight(_ROW_PX * min(_MAX_ROWS, max(2, self.files.count())) + 8)
        self.remove_button.setEnabled(self.files.count() > 0)

    def _ask_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "A folder of images, or an OME-Zarr plate")
        if name:
            self.add(Path(name))

    def _ask_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Images, or lists of images")
        for name in names:
            self.add(Path(name))


def _is_image(layer: Layer) -> bool:
    return type(unwrap(layer)).__name__ == "Image" and is_user_layer(layer)
