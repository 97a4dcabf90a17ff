"""What the labels so far predict, in words: how good it is, typical tiles, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.display import read_tile_rgb
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.core.models.paths import free_model_path
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.runs.live.session import LivePrediction
from napari_cellclass.viewer.common import preferences
from napari_cellclass.viewer.common.layers import file_of
from napari_cellclass.viewer.workspace.current_tile import AT_RANDOM
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.annotate.keep import KeepPanel
from napari_cellclass.widgets.annotate.live_predictions import LivePredictions
from napari_cellclass.widgets.annotate.refine import RefinePanel
from napari_cellclass.widgets.annotate.sparkline import Sparkline
from napari_cellclass.widgets.common.images import image_of
from napari_cellclass.widgets.common.jobs import start_job
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel

SAMPLE = 20
"""Number of random tiles that a check asks for."""
_ICON_PX, _SHOWN = 44, 7
_INDEX_ROLE = Qt.ItemDataRole.UserRole


def _crops(source: SourceImage, boxes: NDArray[Any], task: Task) -> list[NDArray[np.uint8]]:
    return [read_tile_rgb(source, box) for box in boxes]


def _strip() -> QListWidget:
    """Make a row of small pictures."""
    strip = QListWidget()
    strip.setViewMode(QListWidget.ViewMode.IconMode)
    strip.setFlow(QListWidget.Flow.LeftToRight)
    strip.setWrapping(False)
    strip.setMovement(QListWidget.Movement.Static)
    strip.setIconSize(QSize(_ICON_PX, _ICON_PX))
    strip.setFixedHeight(_ICON_PX + 12)
    strip.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    strip.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    strip.setToolTip("typical tiles of this field: click one, and press the key of its class")
    return strip


class LivePanel(QWidget):
    """Shows what :class:`LivePredictions` finds, and typical tiles to begin with.

    ``kept`` is sent with the path of a model that was made of the labels, ``show_wanted`` when the live map is wanted
    in the place of a model's. The check box ``on`` is for the page to lay out.

    Parameters
    ----------
    workspace
        The work.
    """

    kept = Signal(object)
    show_wanted = Signal()

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._found: LivePrediction | None = None
        self._check_to = 0  # random tiles at which the check that was begun is complete; 0 where none was
        self.predictions = LivePredictions(workspace, self)
        self.on = QCheckBox("live")
        self.on.setChecked(preferences.predict_live())
        self.predictions.enabled = self.on.isChecked()
        self.on.setToolTip("predict all tiles of the field anew at every label")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(4)
        self.text, self.figure = WrappedLabel(selectable=False), WrappedLabel(selectable=False)
        self.curve = Sparkline()
        for label in (self.text, self.figure):
            label.keep_whole()
        self.check_button = QPushButton(f"Check {SAMPLE} random tiles")
        self.check_button.setToolTip(
            "label tiles that are drawn at random, without their predictions: only these say how often predictions are "
            "right on the tiles that you do not label"
        )
        self.show_button = QPushButton("Show the live map")
        self.show_button.setToolTip("in the place of the model's map that is shown now")
        self.show_button.setVisible(False)
        self.typical, self.caption = _strip(), QLabel("Typical tiles; a click goes there:")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        self.refine = RefinePanel(workspace, self.predictions, self._model_path)
        self.keep = KeepPanel(workspace, self.predictions, self._model_path)
        column.addLayout(row_of(self.check_button, self.keep.button, self.refine.button))
        column.addWidget(self.bar)
        column.addWidget(self.keep)
        beside = QHBoxLayout()
        beside.addWidget(self.text, 1)
        beside.addWidget(self.curve, alignment=Qt.AlignmentFlag.AlignTop)
        column.addLayout(beside)
        for widget in (self.figure, self.refine, self.show_button, self.caption, self.typical):
            column.addWidget(widget)
        self.on.toggled.connect(self.predictions.set_enabled)
        self.check_button.clicked.connect(self._check)
        self.keep.kept.connect(self.kept)
        self.show_button.clicked.connect(self.show_wanted)
        self.typical.itemClicked.connect(lambda item: workspace.go_to(int(item.data(_INDEX_ROLE))))
        self.predictions.predicted.connect(self._show)
        self.predictions.progressed.connect(self._show_progress)
        self.predictions.failed.connect(lambda text: self.text.show_text(f"No live map: {text}", True))
        self.predictions.typical_chosen.connect(self._show_typical)
        workspace.labels_changed.connect(self._labelled)
        workspace.field_changed.connect(self._field_changed)
        workspace.policy_changed.connect(self._policy_changed)
        self._show(None)
        self._offer_typical(False)
        self.bar.setVisible(False)

    def set_covered(self, covered: bool) -> None:
        """Offer the live map where a model's map is shown in its place."""
        self.show_button.setVisible(covered and self.on.isChecked())

    def _field_changed(self) -> None:
        self.typical.clear()
        self._offer_typical(False)

    def _show_progress(self, done: int, total: int) -> None:
        self.bar.setVisible(done < total)
        self.bar.setRange(0, total)
        self.bar.setValue(done)

    # -- typical tiles -----------------------------------------------------------------------------

    def _show_typical(self) -> None:
        live, annotation, source = self._workspace.live_here(), self._workspace.annotation, self._workspace.source
        if live is None or annotation is None or source is None:
            return
        tiles = live.typical[np.asarray(annotation.labels)[live.typical] == -1][:_SHOWN]
        job = start_job(_crops, owner=self, source=source, boxes=annotation.grid.boxes[tiles])
        job.returned.connect(lambda crops: self._fill(live.key, tiles, crops))

    def _fill(self, key: str, tiles: NDArray[np.int64], crops: list[NDArray[np.uint8]]) -> None:
        annotation = self._workspace.annotation
        if key != self._workspace.field_key or annotation is None:
            return
        self.typical.clear()
        for tile, pixels in zip(tiles.tolist(), crops, strict=True):
            image = image_of(pixels)
            item = QListWidgetItem()
            item.setIcon(QIcon(QPixmap.fromImage(image).scaled(_ICON_PX, _ICON_PX)))
            item.setData(_INDEX_ROLE, tile)
            self.typical.addItem(item)
        self._labelled(None)

    def _labelled(self, change: object) -> None:
        """Mark the typical tiles that are labelled, and go without them once all are."""
        annotation = self._workspace.annotation
        if annotation is None or not self.typical.count():
            return
        left = False
        for row in range(self.typical.count()):
            item = self.typical.item(row)
            assert item is not None
            label = int(annotation.labels[int(item.data(_INDEX_ROLE))])
            left |= label == -1
            if label >= 0:
                pixmap = item.icon().pixmap(_ICON_PX, _ICON_PX)
                painter = QPainter(pixmap)
                painter.fillRect(0, 0, pixmap.width(), 6, QColor(annotation.scheme.colours[label]))
                painter.end()
                item.setIcon(QIcon(pixmap))
        self._offer_typical(left)

    def _offer_typical(self, offered: bool) -> None:
        for widget in (self.caption, self.typical):
            widget.setVisible(offered)

    # -- a model -----------------------------------------------------------------------------------

    def _model_path(self) -> Path:
        project, annotation = self._workspace.session.project, self._workspace.annotation
        if project is not None and not project.read_only:
            return project.next_model_path()
        assert annotation is not None
        file = annotation.image.path or file_of(self._workspace.image_layers())
        folder = Path.home() if file is None else Path(file).parent
        return free_model_path(folder, Path(annotation.image.name).stem or "model")

    # -- figures -----------------------------------------------------------------------------------

    def _check(self) -> None:
        self._check_to = SAMPLE + (0 if self._found is None else self._found.accuracy.n)
        self._workspace.policy = AT_RANDOM
        self._workspace.policy_changed.emit()
        self._workspace.go_to_next()
        self._show(self._found)

    def _policy_changed(self) -> None:
        """Forget a check that was begun where another order of tiles was chosen."""
        if self._workspace.policy != AT_RANDOM and self._check_to:
            self._check_to = 0
            self._show(self._found)

    def _follow_check(self, found: LivePrediction) -> None:
        """Go back to suggested tiles, with their predictions, once a check is complete or no tile is left."""
        annotation = self._workspace.annotation
        left = annotation is not None and bool((np.asarray(annotation.labels) == UNLABELLED).any())
        if self._check_to and (found.accuracy.n >= self._check_to or not left):
            self._check_to = 0
            self._workspace.policy = "suggested"
            self._workspace.policy_changed.emit()
            self._workspace.go_to_next()
            self._workspace.message.emit("The check is complete: predictions are shown again.", False)

    def _show(self, found: LivePrediction | None) -> None:
        self._found = found
        fitted = found is not None and found.fit is not None
        self.check_button.setVisible(fitted)
        self.keep.button.setVisible(fitted or self.keep.running)
        self.refine.button.setVisible(fitted or self.refine.running)
        self.figure.setVisible(fitted)
        self.curve.show_curve(() if found is None else found.curve)
        if found is None:
            on = "Label a tile of each class: the whole field is predicted at once." if self.on.isChecked() else ""
            self.text.show_text(on)
            return
        n = sum(found.n_labels)
        if found.fit is None:
            self.text.show_text(f"{counted(n, 'label')} of one class: the map shows what is like it.")
            return
        self.text.show_text(f"Live map of {counted(n, 'label')}{describe_change(found)}.")
        self._follow_check(found)
        k = SAMPLE - self._check_to + found.accuracy.n
        now = f"{k} of {SAMPLE} random tiles are labelled; predictions are hidden meanwhile. " if self._check_to else ""
        text = describe_accuracy(found, self._workspace) + describe_fractions(found, self._workspace)
        self.figure.show_text(now + text)


def describe_change(found: LivePrediction) -> str:
    """Say whether more labels still change the map; '' where that is not known."""
    if found.changed is None:
        return ""
    if found.labels_help_little:
        return "; the last 20 changed hardly a tile nor its accuracy: more of the same kind help little"
    return f"; the last 20 changed {found.changed:.0%} of the tiles"


def describe_accuracy(found: LivePrediction, workspace: Workspace) -> str:
    """Say how good the predictions are, or why that is not known yet."""
    accuracy = found.accuracy
    if accuracy.estimate is None:
        if not accuracy.n:
            return "How often is it right? Not known: no tile has been drawn at random yet."
        names = [workspace.scheme.names[k] for k in accuracy.missing]
        return f"{counted(accuracy.n, 'random tile')}: too few of {', '.join(names)} to say how often it is right."
    text = (
        f"Live map: balanced accuracy {_in_words(accuracy.estimate)} on the other tiles, from {accuracy.n} random tiles"
    )
    if not accuracy.above_chance:
        text += "; no better than chance as far as these tell"
    if found.by_group is not None:
        return f"{text}; on a group that was left out whole {_in_words(found.by_group)}, {found.n_groups} groups."
    if found.n_groups == 2:
        return f"{text}; two groups only: on others not known yet."
    if found.n_groups > 1:
        return f"{text}; on other groups not known yet: that needs random tiles of three."
    return f"{text}; on other fields not known yet."


def describe_fractions(found: LivePrediction, workspace: Workspace) -> str:
    """Say what fraction of the field's tiles each class has; '' where no tile of it was drawn at random."""
    named = zip(workspace.scheme.names, found.fractions, strict=False)
    parts = [f"{name} {100 * one.value:.0f} % ({100 * one.lo:.0f} to {100 * one.hi:.0f})" for name, one in named
             if one.lo is not None and one.hi is not None]  # fmt: skip
    return f" Fractions of the tiles: {', '.join(parts)}." if parts else ""


def _in_words(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.lo:.2f} to {estimate.hi:.2f})" if estimate.lo is not None else "unknown"
