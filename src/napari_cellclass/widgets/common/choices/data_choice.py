"""The source of tiles for training: class folders, or annotated layers of the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import FileEdit
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QListWidget,
    QListWidgetItem,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.runs.train.annotated_fields import AnnotatedField
from napari_cellclass.viewer.common.layers import KEY
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.widgets.common.choices.group_choice import GroupChoice
from napari_cellclass.widgets.common.choices.settings_form import TrainForm
from napari_cellclass.widgets.common.layout import row_of

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

_MAX_ROWS = 6


def annotated_layers(viewer: Viewer) -> list[Layer]:
    """Layers that carry labels of tiles, one per annotation."""
    found: dict[int, Layer] = {}
    for layer in map(unwrap, viewer.layers):
        record = layer.metadata.get(KEY)
        if isinstance(record, dict) and record.get("kind") == "annotation":
            found.setdefault(id(record["annotation"]), layer)  # a copy of a layer carries the same labels
    return list(found.values())


class AnnotationChoice(QListWidget):
    """The annotated layers with a tick each; new ones are ticked."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._layers: list[Any] = []
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setToolTip("tick the annotated fields to train on")
        self.refresh()

    def refresh(self) -> None:
        """Follow the viewer's layer list; ticks stay."""
        unticked = {id(layer) for layer in self._layers} - {id(layer) for layer in self.chosen()}
        self._layers = annotated_layers(self._viewer)
        self.clear()
        for layer in self._layers:
            labelled = int((layer.metadata[KEY]["annotation"].labels >= 0).sum())
            item = QListWidgetItem(f"{layer.name} ({labelled:,} labelled)")
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Unchecked if id(layer) in unticked else Qt.CheckState.Checked)
            self.addItem(item)
        row = max(18, self.sizeHintForRow(0))
        self.setFixedHeight(row * min(_MAX_ROWS, max(1, self.count())) + 10)

    def sizeHint(self) -> QSize:
        """Be no wider than the dock."""
        return QSize(120, self.height())

    def chosen(self) -> list[Layer]:
        """Give the ticked layers."""
        ticked = [self.item(i).checkState() == Qt.CheckState.Checked for i in range(self.count())]
        return [layer for layer, yes in zip(self._layers, ticked, strict=True) if yes]


class DataChoice(QWidget):
    """Class folders, annotated layers, or the labelled fields of the project that is open.

    ``changed`` is sent when other tiles are chosen. ``first_row`` has room at its right.
    """

    changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.from_folders, self.from_layers = QRadioButton("class folders"), QRadioButton("annotated layers")
        self.from_project = QRadioButton("all labelled fields of the project")
        self.from_folders.setToolTip("images sorted into one sub-folder per class")
        self.from_layers.setToolTip("tiles that are labelled in this window")
        self.from_project.setToolTip("all labels of the project that is open, also of fields that are not shown")
        self.from_project.setVisible(False)
        self._project: Path | None = None
        self._preferred: str | None = None
        self.folder = FileEdit(mode="d", tooltip="a folder with one sub-folder of images per class")
        self.cutting = TrainForm(["tile_px"])
        self.layers = AnnotationChoice(viewer)
        self.grouping = TrainForm(["group_by"])
        buttons = QButtonGroup(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.from_folders, self.from_layers, self.from_project):
            buttons.addButton(widget)
        self.first_row = row_of(self.from_folders)
        column.addLayout(self.first_row)
        for widget in (
            self.folder.native, self.cutting, self.from_layers, self.layers, self.from_project, self.grouping,
        ):  # fmt: skip
            column.addWidget(widget)
        (self.from_layers if self.layers.count() else self.from_folders).setChecked(True)
        for button in (self.from_folders, self.from_project):
            button.toggled.connect(self._chosen)
        self.folder.changed.connect(lambda _: self.changed.emit())
        self.layers.itemChanged.connect(lambda _: self.changed.emit())
        self.changed.connect(self._offer_groups)
        self._chosen()

    def is_empty(self) -> bool:
        """Whether no tile is chosen for certain: no folder is named, or no tile of the ticked layers is labelled."""
        if self.from_project.isChecked():
            return False
        if self.from_folders.isChecked():
            return self._folder_name() in ("", ".")
        return not any((layer.metadata[KEY]["annotation"].labels >= 0).any() for layer in self.layers.chosen())

    def prefer_groups(self, pattern: str | None) -> None:
        """Choose how open images are grouped, unless a user has chosen otherwise; in a project its rule counts."""
        self._preferred = pattern
        self._offer_groups()

    def _offer_groups(self) -> None:
        """Propose groups for the images that are chosen now."""
        groups: GroupChoice = self.grouping.fields["group_by"]
        if self.from_project.isChecked():
            return  # its rule says them
        if self.from_layers.isChecked():
            images = [layer.metadata[KEY]["annotation"].image for layer in self.layers.chosen()]
            groups.offer_names([Path(image.path).name if image.path else f"{image.name}.tif" for image in images])
            groups.prefer(self._preferred)
        elif self._folder_name() not in ("", "."):
            groups.offer_data(Path(self._folder_name()))

    def _chosen(self) -> None:
        folders = self.from_folders.isChecked()
        self.folder.native.setVisible(folders)
        self.cutting.setVisible(folders)
        self.layers.setVisible(self.from_layers.isChecked())
        self.grouping.setVisible(not self.from_project.isChecked())
        self.changed.emit()

    def refresh(self) -> None:
        """Follow the viewer's layer list."""
        had = self.layers.count()
        self.layers.blockSignals(True)
        self.layers.refresh()
        self.layers.blockSignals(False)
        chosen = self.from_project.isChecked() or self._folder_name()
        if self.layers.count() and not had and not chosen:
            self.from_layers.setChecked(True)
        elif self.layers.count() != had:
            self.changed.emit()

    def set_project(self, path: Path | None) -> None:
        """Offer the labelled fields of a project, and choose them; None where no project is open any more."""
        self._project = path
        self.from_project.setVisible(path is not None)
        if path is not None:
            self.from_project.setChecked(True)
        elif self.from_project.isChecked():
            self.from_layers.setChecked(True)

    def choose_folder(self, folder: Path, tile_px: int | None, group_by: str | None) -> None:
        """Choose class folders, and how they are cut and grouped."""
        self.from_folders.setChecked(True)
        self.cutting.fields["tile_px"].value = tile_px
        self.grouping.fields["group_by"].value = group_by or ""
        self.folder.value = folder

    def copy_from(self, other: DataChoice) -> None:
        """Make the same choice as another such widget."""
        self.cutting.fields["tile_px"].value = other.cutting.fields["tile_px"].value
        self.grouping.fields["group_by"].value = other.grouping.fields["group_by"].value
        self.layers.refresh()
        for i in range(min(self.layers.count(), other.layers.count())):
            self.layers.item(i).setCheckState(other.layers.item(i).checkState())
        self.set_project(other._project if other.from_project.isChecked() else None)
        if not other.from_project.isChecked():
            (self.from_folders if other.from_folders.isChecked() else self.from_layers).setChecked(True)
        self.folder.line_edit.value = other.folder.line_edit.value
        self.changed.emit()

    def _folder_name(self) -> str:
        return str(self.folder.line_edit.value).strip()

    def values(self) -> dict[str, Any]:
        """Give ``data``, ``group_by`` and ``tile_px`` for :class:`TrainParams`.

        Raises
        ------
        ParamsError
            No folder or layer is chosen.
        """
        if self.from_project.isChecked() and self._project is not None:
            return {"data": self._project}
        values = self.grouping.values()
        if self.from_layers.isChecked():
            if not self.layers.chosen():
                raise ParamsError("no annotated layer is ticked; label tiles with Annotate tiles, or use class folders")
            return values | {"data": Path("tiles.csv")}
        if self._folder_name() in ("", "."):
            raise ParamsError("no folder is chosen; choose a folder that holds one sub-folder of images per class")
        return values | {"data": Path(self._folder_name())} | self.cutting.values()

    def fields(self) -> tuple[AnnotatedField, ...]:
        """Copy the labels of the ticked layers as they are now; empty for class folders."""
        if not self.from_layers.isChecked():
            return ()
        records = [layer.metadata[KEY] for layer in self.layers.chosen()]
        return tuple(AnnotatedField.of(one["source"], one["annotation"]) for one in records)

    def suggestion(self) -> str:
        """Give a name for the model."""
        if self.from_project.isChecked() and self._project is not None:
            return self._project.stem
        if self.from_layers.isChecked():
            chosen = self.layers.chosen()
            return chosen[0].metadata[KEY]["annotation"].image.name if chosen else ""
        return Path(self._folder_name()).name

    def folder_above(self) -> Path:
        """Give a folder for the model: beside the tiles, or the home folder."""
        if self.from_folders.isChecked():
            return Path(self._folder_name()).absolute().parent if self._folder_name() not in ("", ".") else Path.home()
        paths = [layer.metadata[KEY]["annotation"].image.path for layer in self.layers.chosen()]
        return Path(paths[0]).parent if paths and paths[0] else Path.home()
