"""Labels that are probably wrong: found with every prediction, shown beside similar tiles, and settled one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QSize, Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.display import read_tile_rgb
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.label_reviews import LabelReviews
from napari_cellclass.core.selection.label_errors import FieldLabelErrors
from napari_cellclass.runs.live.session import PERCENTAGES_FROM, LiveSession
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.annotate.live_predictions import LivePredictions
from napari_cellclass.widgets.annotate.tile_icons import tile_icon
from napari_cellclass.widgets.common.jobs import Job, start_job
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel

NEIGHBOURS = 5
"""Number of similar labelled tiles that are shown beside a label."""
_ICON_PX = 54


def _neighbours(
    session: LiveSession,
    key: str,
    labels: NDArray[np.int16],
    tile: int,
    source: SourceImage,
    boxes: NDArray[Any],
    task: Task,
) -> tuple[NDArray[np.int64], list[NDArray[np.uint8]]]:
    """Find the labelled tiles that are most similar to a tile, and read them."""
    tiles = session.nearest_labelled(key, labels, np.array([tile]), NEIGHBOURS)[0]
    return tiles, [read_tile_rgb(source, boxes[one]) for one in tiles.tolist() if not task.cancelled()]


def _find(session: LiveSession, key: str, labels: dict[str, NDArray[np.int16]], task: Task) -> FieldLabelErrors:
    return session.label_errors(labels, key)


class LabelErrorFinder(QObject):
    """Finds the labels of the open field that are probably wrong, while somebody wants to know, after each prediction.

    Without those that were reviewed, they are part of what the workspace knows of the field without any model, so that
    the order of tiles to label can follow them. ``changed`` is sent when they were found anew.

    Parameters
    ----------
    workspace, predictions
        The work, and the predictions that follow its labels.
    """

    changed = Signal()

    def __init__(self, workspace: Workspace, predictions: LivePredictions) -> None:
        super().__init__(predictions)
        self.in_gallery = False
        self._job: Job | None = None
        self._again = False
        self._errors: tuple[str, FieldLabelErrors] | None = None
        self._workspace, self.predictions = workspace, predictions
        self._problem = ""
        self._reviews: tuple[Path, LabelReviews] | None = None
        predictions.predicted.connect(lambda _: self.follow())
        predictions.typical_chosen.connect(self.follow)
        predictions.failed.connect(self._failed)
        workspace.field_changed.connect(self._field_changed)

    def _failed(self, text: str) -> None:
        self._problem = text

    def _field_changed(self) -> None:
        self._problem, self._errors = "", None

    @property
    def looking(self) -> bool:
        """Whether label errors are being looked for, and none are known yet."""
        return self._job is not None and (self._errors is None or self._errors[0] != self._workspace.field_key)

    def follow(self) -> None:
        """Find the label errors anew, where somebody wants to know; in a thread; until then those of before count."""
        found, session = self.predictions.current, self.predictions.session
        known = found is not None and found.percentages and self.predictions.enabled
        if not known:
            self._errors = None
        self._rank()
        wanted = self.in_gallery or self._workspace.policy == "label errors"
        if not wanted or not known or found is None or session is None:
            return
        if self._job is not None:
            self._again = True
            return
        key, labels = found.key, self.predictions.all_labels()
        self._job = job = start_job(_find, owner=self, session=session, key=key, labels=labels)
        job.returned.connect(lambda errors: self._take(key, errors))
        job.failed.connect(lambda error: self._failed(str(error)))
        job.finished.connect(self._found)

    def _take(self, key: str, errors: FieldLabelErrors) -> None:
        self._errors = key, errors
        self._rank()
        self.changed.emit()

    def _found(self) -> None:
        self._job = None
        if self._again:
            self._again = False
            self.follow()

    def _rank(self) -> None:
        live = self._workspace.live_here()
        if live is not None:
            self._workspace.live = replace(live, errors=self.found())

    def found(self) -> FieldLabelErrors | None:
        """Give the labels of the field that are probably wrong, the most likely first; None where unknown."""
        annotation = self._workspace.annotation
        if self._errors is None or self._errors[0] != self._workspace.field_key or annotation is None:
            return None
        found = self._errors[1]
        tiles = found.tiles
        labels = np.asarray(annotation.labels)[tiles]  # they may have changed since the prediction
        names = [annotation.scheme.names[label] if label >= 0 else "" for label in labels]
        right = self._reviewed().accepted(self._workspace.field_key, annotation.grid.tile_id[tiles].tolist(), names)
        return found.take((labels >= 0) & (labels != found.suggested) & ~right)

    def why_none(self) -> str:
        """Say why :meth:`found` gives None."""
        if not self.predictions.enabled:
            return "live predictions are off"
        return self._problem or f"that takes {PERCENTAGES_FROM} labels of each class, and features of their tiles"

    def accept(self, tile: int) -> None:
        """Note that the label of a tile is right: it is not shown as an error any more.

        Raises
        ------
        OutputError
            It cannot be written; then it counts until the window is closed.
        """
        annotation = self._workspace.annotation
        assert annotation is not None
        label = int(annotation.labels[tile])
        try:
            if label >= 0:
                tile_id, name = int(annotation.grid.tile_id[tile]), annotation.scheme.names[label]
                self._reviewed().accept(self._workspace.field_key, tile_id, name)
        finally:
            self._rank()

    def _reviewed(self) -> LabelReviews:
        annotation = self._workspace.annotation
        assert annotation is not None
        if self._reviews is None or self._reviews[0] != annotation.journal.folder:
            self._reviews = annotation.journal.folder, LabelReviews(annotation.journal)
        return self._reviews[1]


class LabelErrorPanel(QWidget):
    """Similar labelled tiles beside a label that is probably wrong, and what to do with it.

    ``settled`` is sent with the index of a tile that needs not be shown any more.

    Parameters
    ----------
    workspace, finder
        The work, and what finds its label errors.
    """

    settled = Signal(int)

    def __init__(self, workspace: Workspace, finder: LabelErrorFinder) -> None:
        super().__init__()
        self._workspace, self._finder = workspace, finder
        self._tile: int | None = None
        self._suggested = -1
        self._job: Job | None = None
        self.text = WrappedLabel(selectable=False)
        self.neighbours = QListWidget()
        self.neighbours.setViewMode(QListWidget.ViewMode.IconMode)
        self.neighbours.setFlow(QListWidget.Flow.LeftToRight)
        self.neighbours.setWrapping(False)
        self.neighbours.setMovement(QListWidget.Movement.Static)
        self.neighbours.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.neighbours.setIconSize(QSize(_ICON_PX, _ICON_PX))
        self.neighbours.setFixedHeight(_ICON_PX + 30)
        self.neighbours.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.neighbours.setToolTip("the labelled tiles of this field that are most similar, the most similar first")
        self.accept_button, self.correct_button = QPushButton("Label is right"), QPushButton("Correct")
        self.skip_button = QPushButton("Skip")
        self.accept_button.setToolTip("keep the label, and do not show it here again")
        self.correct_button.setToolTip("give the tile the suggested class; the key of a class gives it that one")
        self.skip_button.setToolTip("leave the label as it is, and show it again the next time")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.text)
        column.addWidget(self.neighbours)
        column.addLayout(row_of(self.accept_button, self.correct_button, self.skip_button))
        self.accept_button.clicked.connect(self._accept)
        self.correct_button.clicked.connect(self._correct)
        self.skip_button.clicked.connect(self._skip)
        self.show_tile(None)

    def show_tile(self, tile: int | None, suggested: int = -1) -> None:
        """Show what is known of a label; None for none.

        Parameters
        ----------
        tile
            Index of the tile.
        suggested
            The class that it probably is of.
        """
        self._tile, self._suggested = tile, suggested
        self.neighbours.clear()
        for button in (self.accept_button, self.correct_button, self.skip_button):
            button.setEnabled(tile is not None)
        annotation, source = self._workspace.annotation, self._workspace.source
        self.correct_button.setVisible(suggested >= 0)
        if tile is None or annotation is None or source is None:
            self.text.setText("")
            self.correct_button.setText("Correct")
            return
        label, names = int(annotation.labels[tile]), annotation.scheme.names
        text = f"Labelled {names[label]}" if label >= 0 else "Not labelled"
        if suggested >= 0:
            self.correct_button.setText(f"Correct to {names[suggested]}")
            text += f", predicted {names[suggested]}"
        self.text.setText(f"{text}. Most similar labelled tiles:")
        self._read_neighbours(tile)

    def _read_neighbours(self, tile: int) -> None:
        if self._job is not None:
            self._job.cancel()
            self._job = None
        annotation, source = self._workspace.annotation, self._workspace.source
        session = self._finder.predictions.session
        if annotation is None or source is None or session is None or self._workspace.field_key not in session.fields:
            return
        labels = np.asarray(annotation.labels).copy()
        self._job = start_job(
            _neighbours, owner=self, session=session, key=self._workspace.field_key, labels=labels, tile=tile,
            source=source, boxes=annotation.grid.boxes,
        )  # fmt: skip
        self._job.returned.connect(lambda found: self._fill(tile, *found))
        self._job.failed.connect(lambda error: self.text.show_text(str(error), True))

    def _fill(self, tile: int, tiles: NDArray[np.int64], crops: list[NDArray[np.uint8]]) -> None:
        annotation = self._workspace.annotation
        if annotation is None or tile != self._tile or len(crops) != len(tiles):
            return
        for one, pixels in zip(tiles.tolist(), crops, strict=True):
            label = int(annotation.labels[one])
            colour = annotation.scheme.colours[label] if label >= 0 else None
            name = annotation.scheme.names[label] if label >= 0 else ""
            self.neighbours.addItem(QListWidgetItem(tile_icon(pixels, _ICON_PX, colour), name))

    def _accept(self) -> None:
        if self._tile is None:
            return
        tile = self._tile
        try:
            self._finder.accept(tile)
        except CellClassError as error:
            self._workspace.message.emit(str(error), True)
        self.settled.emit(tile)

    def _correct(self) -> None:
        if self._tile is not None and self._suggested >= 0:
            tile = self._tile
            if self._workspace.label(np.array([tile]), self._suggested):
                self.settled.emit(tile)

    def _skip(self) -> None:
        if self._tile is not None:
            self.settled.emit(self._tile)
