"""Labels from other layers and files; annotations as files: save, open, compare, merge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

from napari_cellclass.core.common.csv_tables import read_header
from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.interchange.geojson import FileCoordinates, read_geojson
from napari_cellclass.core.interchange.label_files import read_napari_shapes
from napari_cellclass.core.labels.annotation import Annotation, open_annotation
from napari_cellclass.core.labels.annotator_agreement import compare_annotators, merge_annotations
from napari_cellclass.core.labels.class_translation import add_missing_classes
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.points_and_boxes import CsvBoxes, CsvPoints, read_boxes_csv, read_points_csv
from napari_cellclass.core.labels.regions import Regions, labels_from_regions
from napari_cellclass.core.labels.tile_labels import grid_around_points, labels_from_csv, labels_from_points
from napari_cellclass.viewer.features.label_sources import labels_from_layer, layers_with_labels, points_of_layer
from napari_cellclass.viewer.workspace.label_import import accept_predictions, add_labels
from napari_cellclass.viewer.workspace.planes import is_other_plane_shown, shown_position
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.choices.layer_choice import LayerRef
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel

_PATTERNS = {"Annotation": "*.tiles.json", "Regions": "*.geojson *.json *.geojson.gz *.json.gz"}
_MAX_LISTED = 20  # tiles that differ, or skipped regions


class FilesPanel(QWidget):
    """Buttons that import labels, and save, open, compare and merge annotations.

    Parameters
    ----------
    workspace
        Holds the annotation.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self.layer = QComboBox()
        self.layer.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.layer.setToolTip("Shapes or Points with a class in their features, or a painted Labels layer")
        self.cover = QSlider(Qt.Orientation.Horizontal)
        self.cover.setToolTip("how much of a tile a drawn or painted region has to cover, to give it its class")
        self.cover.setRange(5, 100)
        self.cover.setValue(50)
        self.cover_text = QLabel("50 %")
        self.centred = QCheckBox("a tile around each point or box")
        self.centred.setToolTip("centre a tile on each point, instead of the grid; the grid's labels stay on disk")
        self.layer_button = QPushButton("Labels from layer")
        self.map_button = QPushButton("Labels from map")
        self.points_button, self.boxes_button = QPushButton("Points from CSV"), QPushButton("Boxes from CSV")
        self.regions_button, self.in_um = QPushButton("Regions from GeoJSON"), QCheckBox("in µm")
        self.regions_button.setToolTip("annotations as QuPath exports them: polygons with holes, and points")
        self.in_um.setToolTip("coordinates in the file are µm, not px as in QuPath; the image needs a pixel size")
        self.save_button, self.open_button = QPushButton("Save"), QPushButton("Open")
        self.compare_button, self.merge_button = QPushButton("Compare"), QPushButton("Merge")
        self.map_button.setToolTip("give every unlabelled tile the class that the map of these tiles predicts")
        self.compare_button.setToolTip("agreement and Cohen's kappa with another annotator's file of this image")
        column = QVBoxLayout(self)
        column.addWidget(self.layer)
        column.addLayout(row_of(QLabel("coverage at least"), self.cover, self.cover_text))
        column.addWidget(self.centred)
        for widgets in (
            (self.layer_button, self.map_button),
            (self.points_button, self.boxes_button),
            (self.regions_button, self.in_um),
            (self.save_button, self.open_button),
            (self.compare_button, self.merge_button),
        ):
            column.addLayout(row_of(*widgets))
        self.report = WrappedLabel()
        column.addWidget(self.report)
        column.addStretch(1)
        self.cover.valueChanged.connect(lambda value: self.cover_text.setText(f"{value} %"))
        for button, action in (
            (self.layer_button, self.import_layer),
            (self.map_button, lambda: accept_predictions(workspace, None)),
            (self.points_button, lambda: self._ask("Points", self.import_points)),
            (self.boxes_button, lambda: self._ask("Boxes", self.import_boxes)),
            (self.regions_button, lambda: self._ask("Regions", self.import_regions)),
            (self.save_button, self._ask_save),
            (self.open_button, lambda: self._ask("Annotation", self.open)),
            (self.compare_button, lambda: self._ask("Annotation", self.compare)),
            (self.merge_button, lambda: self._ask("Annotation", self.merge)),
        ):
            button.clicked.connect(lambda _=False, action=action: self._try(action))

    def refresh(self) -> None:
        """Follow the viewer's layer list."""
        chosen = self.layer.currentText()
        self.layer.clear()
        for layer in layers_with_labels(self._workspace.viewer):
            self.layer.addItem(layer.name, LayerRef(layer))
        self.layer.setCurrentText(chosen)

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except CellClassError as error:
            self.report.setText(str(error))

    def _ask(self, what: str, action: Callable[[Path], None]) -> None:
        pattern = _PATTERNS.get(what, "*.csv")
        name, _ = QFileDialog.getOpenFileName(self, f"{what} file", "", f"{what} ({pattern})")
        if name:
            action(Path(name))

    def _ask_save(self) -> None:
        annotation = self._workspace.annotation
        assert annotation is not None
        name, _ = QFileDialog.getSaveFileName(
            self, "Save annotation", f"{Path(annotation.image.name).stem}.tiles.json", "Annotation (*.tiles.json)"
        )
        if name:
            path = Path(name)
            annotation.save(path)
            self.report.setText(f"Wrote {path}.")

    def import_layer(self) -> None:
        """Import labels from the chosen layer; missing classes are added."""
        workspace = self._workspace
        assert workspace.annotation is not None
        assert workspace.layers is not None
        if self.layer.currentData() is None:
            self.report.setText("There is no Shapes, Points or Labels layer with classes.")
            return
        layer = self.layer.currentData().layer
        if is_other_plane_shown(workspace):
            self.report.setText("Another plane is shown than the one that these labels belong to; open it first.")
            return
        if self.centred.isChecked() and type(layer).__name__ == "Points":
            points, labels, names = points_of_layer(layer, workspace.layers.field_layer, shown_position(workspace))
            self._open_centred(points, labels, names)
            return
        found, names = labels_from_layer(
            layer, workspace.annotation.grid, workspace.layers.field_layer, self.cover.value() / 100,
            shown_position(workspace),
        )  # fmt: skip
        self._add_labels(found, names)

    def import_points(self, path: Path) -> None:
        """Import labels from the points of a CSV file."""
        workspace = self._workspace
        assert workspace.annotation is not None
        found = read_points_csv(path, self._image_name()).on_plane(self._plane())
        self._import_csv(found, found.points)

    def import_boxes(self, path: Path) -> None:
        """Import labels from the boxes of a CSV file."""
        workspace = self._workspace
        assert workspace.annotation is not None
        if "vertex-index" in map(str.lower, read_header(path)):  # shapes that napari saved
            self._import_regions(read_napari_shapes(path))
            return
        found = read_boxes_csv(path, self._image_name())
        self._import_csv(found, found.centres())

    def import_regions(self, path: Path) -> None:
        """Import labels from the annotations of a GeoJSON file, as QuPath exports them."""
        workspace = self._workspace
        assert workspace.annotation is not None
        assert workspace.source is not None
        size = workspace.source.pixel_size_um if self.in_um.isChecked() else (1.0, 1.0)
        if size is None:
            self.report.setText(f"{workspace.source.name} has no pixel size, so µm have no meaning in it.")
            return
        self._import_regions(read_geojson(path, FileCoordinates(size)))

    def _image_name(self) -> str:
        annotation = self._workspace.annotation
        assert annotation is not None
        return str(annotation.image.path or annotation.image.name)

    def _plane(self) -> Mapping[str, int]:
        return {} if self._workspace.source is None else self._workspace.source.plane

    def _import_regions(self, regions: Regions) -> None:
        workspace = self._workspace
        assert workspace.annotation is not None
        found = regions.on_plane(self._plane())
        self._add_labels(
            *labels_from_regions(workspace.annotation.grid, found, self.cover.value() / 100), found.colours()
        )
        ignored = counted(found.unclassified, "region without a class was", "regions without a class were")
        notes = [f"{ignored} ignored."] if found.unclassified else []
        self.report.setText("\n".join([self.report.text(), *notes, *found.skipped[:_MAX_LISTED]]))

    def _import_csv(self, found: CsvPoints | CsvBoxes, centres: NDArray[np.float64]) -> None:
        annotation = self._workspace.annotation
        assert annotation is not None
        if self.centred.isChecked():
            names = tuple(sorted(set(found.names)))
            self._open_centred(centres, np.array([names.index(name) for name in found.names]), names)
        else:
            self._add_labels(*labels_from_csv(found, annotation.grid, self.cover.value() / 100))
        if found.skipped:
            self.report.setText("\n".join([self.report.text(), *found.skipped[:_MAX_LISTED]]))

    def _open_centred(self, points: NDArray[np.float64], classes: NDArray[np.int64], names: tuple[str, ...]) -> None:
        """Start an annotation whose tiles are centred on points, labelled with the points' classes."""
        workspace = self._workspace
        assert workspace.annotation is not None
        assert workspace.layers is not None
        assert workspace.source is not None
        before = workspace.annotation
        grid = grid_around_points(before.grid.image_shape, points, before.grid.tile_px)
        scheme = ClassScheme(names) if len(names) > 1 else before.scheme
        workspace.open(
            Annotation(before.image, grid, scheme, workspace.journal), workspace.source, workspace.layers.field_layer
        )
        self._add_labels(labels_from_points(grid, points, classes), names)

    def _add_labels(self, found: Any, names: tuple[str, ...], colours: Mapping[str, str] | None = None) -> None:
        tile_indices = np.flatnonzero(found.labels != -1)
        labels = found.labels[tile_indices]
        add_labels(self._workspace, tile_indices, labels, names, colours)
        conflicts = (
            f"; {len(found.conflicts)} are claimed by two classes and stay unlabelled" if found.conflicts else ""
        )
        self.report.setText(f"{counted(int((labels >= 0).sum()), 'tile was', 'tiles were')} labelled{conflicts}.")

    def open(self, path: Path) -> None:
        """Open an annotation file of this image."""
        workspace = self._workspace
        opened = open_annotation(path, workspace.journal)
        if workspace.annotation is None or opened.image.image_id != workspace.annotation.image.image_id:
            self.report.setText(f"{path.name} belongs to the image {opened.image.name}, not to the one shown.")
            return
        assert workspace.source is not None
        assert workspace.layers is not None
        workspace.open(opened, workspace.source, workspace.layers.field_layer)
        self.report.setText(f"Opened {path.name}.")

    def merge(self, path: Path) -> None:
        """Merge the labels of another annotator's file; where both differ, the tile is in conflict."""
        annotation = self._workspace.annotation
        assert annotation is not None
        other = open_annotation(path, self._workspace.journal)
        add_missing_classes(annotation, other.scheme.names)
        labels, conflicts = merge_annotations(annotation, other)
        tile_indices = np.flatnonzero(labels != annotation.labels)
        self._workspace.apply(lambda a: a.label(tile_indices, labels[tile_indices]))
        self._workspace.announce_classes()
        self.report.setText(
            f"{counted(len(tile_indices), 'tile')} changed, {counted(len(conflicts), 'is', 'are')} in conflict."
        )

    def compare(self, path: Path) -> None:
        """Compare with another annotator's file of the same image."""
        workspace = self._workspace
        assert workspace.annotation is not None
        other = open_annotation(path, workspace.journal)
        result = compare_annotators(workspace.annotation, other)
        ours, grid = workspace.annotation, workspace.annotation.grid
        theirs = other.labels_of(grid.tile_id)
        lines = [
            f"r{grid.row[i]} c{grid.col[i]}: {ours.scheme.names[ours.labels[i]]} / {other.scheme.names[theirs[i]]}"
            for i in result.differing[:_MAX_LISTED]
        ]
        lines += ["..."] * (len(result.differing) > _MAX_LISTED)
        self.report.setText(
            f"{counted(result.n, 'tile is', 'tiles are')} labelled in both: agreement {result.agreement:.1%}, "
            f"Cohen's kappa {result.kappa:.2f}, {len(result.differing)} differ.\n" + "\n".join(lines)
        )
