"""What the page *Check* shows in a window: labels of all fields, and tiles that the map classifies differently."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.display import read_tile_rgb
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.stats.headlines import estimate_text, headline, sample_caveats, sample_text
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.core.workspace.records import ModelVersion
from napari_cellclass.viewer.workspace.label_summary import Disagreement, FieldLabels, find_disagreements
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.results.columns import Columns
from napari_cellclass.widgets.common.results.sheet import Read, SheetTile, TileSheet
from napari_cellclass.widgets.common.text import WrappedLabel
from napari_cellclass.widgets.workspace.label_table import LabelTable


def check_headline(model: ModelVersion | None, fields: Sequence[FieldLabels]) -> str:
    """Describe labels and model in one sentence, with its worst caveat."""
    total = sum(sum(one.counts.values()) for one in fields)
    labelled = f"{counted(total, 'tile')} of {counted(len(fields), 'field')} {'is' if total == 1 else 'are'} labelled"
    if model is None:
        return headline(labelled, ["there is no model yet"])
    name, score = Path(model.path).name, model.score
    if score is None:
        return headline(labelled, [f"{name} carries no held-out accuracy"])
    value = estimate_text(Estimate(score.value, score.lo, score.hi), sample_text(score.n, score.groups, "held-out"))
    caveats = [*sample_caveats((), score.groups)]
    if trained := sum(one.trained_on for one in fields):
        caveats.append(
            f"it was trained on tiles of {trained} of {counted(len(fields), 'field')}, whose maps look better than "
            "those of new fields"
        )
    return headline(f"balanced accuracy of {name}: {value}", caveats)


class CheckResults(QWidget):
    """Labels by field, and tiles whose label and prediction differ; ``opened`` is sent with a double-clicked tile."""

    opened = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.table, self.title, self.sheet = LabelTable(), WrappedLabel(), TileSheet()
        self.title.setStyleSheet("font-weight: bold;")
        self._shown: tuple[str, list[Disagreement]] | None = None
        pictures = QWidget()
        inner = QVBoxLayout(pictures)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self.title)
        inner.addWidget(self.sheet)
        columns = Columns()
        columns.add("Labels by field; * marks fields that the model was trained on", self.table, span=3)
        columns.add_bare(pictures, span=3)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(columns)
        self.sheet.opened.connect(self.opened)

    def show_labels(self, workspace: Workspace, fields: list[FieldLabels], classes: tuple[str, ...]) -> None:
        """Show the labels of all fields, and of the open one those that the map contradicts."""
        self.table.setVisible(bool(fields))
        self.table.show_labels(fields, classes)
        annotation, source = workspace.annotation, workspace.source
        if annotation is None or source is None:
            self.title.setText("No field is open.")
            self._show_tiles("", [], lambda tiles, task: [])
            return
        predictions = workspace.predictions()
        found = find_disagreements(annotation, predictions)
        name = annotation.image.name
        if predictions is None:
            text = f"{name} has no map to compare its labels with."
        elif not found:
            text = f"The map agrees with all labels of {name}."
        else:
            text = f"{counted(len(found), 'labelled tile')} of {name} that the map classifies differently"
            text += "; double-click one to go there"
        self.title.setText(text)
        self._show_tiles(workspace.field_key, found, partial(_read_tiles, source, annotation.grid.boxes))

    def _show_tiles(self, field_key: str, found: list[Disagreement], read: Read) -> None:
        if (field_key, found) == self._shown:
            return
        self._shown = field_key, found
        self.sheet.setVisible(bool(found))
        said = [(one, f"map: {one.predicted} {one.confidence:.0%}") for one in found]
        self.sheet.show_tiles([SheetTile(one.tile_index, (f"label: {one.label}", text)) for one, text in said], read)

    def close_down(self) -> None:
        """Stop reading pictures."""
        self.sheet.close_down()


def _read_tiles(source: SourceImage, boxes: NDArray[Any], tiles: Sequence[int], task: Task) -> list[NDArray[np.uint8]]:
    pictures = []
    for tile in tiles:
        task.check("other tiles are shown")
        pictures.append(read_tile_rgb(source, boxes[tile]))
    return pictures
