"""The progress of a training: bar, message, curves, and the buttons that end it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.task import Progress
from napari_cellclass.report.curves import best_epoch, draw_curves, draw_label_curve
from napari_cellclass.widgets.common.figure_view import FigureView
from napari_cellclass.widgets.common.job_panel import ProgressBar
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel

if TYPE_CHECKING:
    from napari.viewer import Viewer

_CURVES_PX = 270
EPOCHS = frozenset({"training"})
"""Phase whose reports are the points of the curves: none may be left out."""


class TrainProgress(QWidget):
    """Shows a training while it runs, and its curves after it.

    ``stopped`` is an event that is set once the user wants to stop and keep the best epoch.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.stopped = threading.Event()
        self.history: list[dict[str, float]] = []
        self._held_out = 0
        self.stop_button, self.cancel_button = QPushButton("Stop and keep best"), QPushButton("Cancel")
        self.stop_button.setToolTip("end after this epoch, and keep the one that was best on the held-out tiles")
        self.cancel_button.setToolTip("end at once; nothing is written")
        self.bar, self.message = ProgressBar(), WrappedLabel()
        self.curves = FigureView(viewer, lambda width: _CURVES_PX)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row_of(self.stop_button, self.cancel_button))
        for widget in (self.bar, self.message, self.curves):
            column.addWidget(widget)
        self.stop_button.clicked.connect(self._stop)
        self.finish()

    def begin(self, training: bool, held_out: int = 0) -> None:
        """Show that a job has started; a training has curves, can be stopped, and is tested on held-out tiles."""
        if training:
            self._held_out = held_out
            self.stopped = threading.Event()
            self.history = []
            self.curves.clear_figure()
        self.cancel_button.setVisible(True)
        self.stop_button.setVisible(training)
        self.stop_button.setEnabled(False)
        self.bar.setVisible(True)
        self.bar.setFormat("")
        self.bar.setRange(0, 0)
        self.show_message("Starting the training …" if training else "Reading the tiles …")

    @property
    def has_epochs(self) -> bool:
        """Whether there is a best epoch yet."""
        return bool(self.history)

    def show_label_curve(
        self, points: Sequence[tuple[int, float]], chance: float, interval: tuple[float, float] | None
    ) -> None:
        """Show accuracy against tiles, for a model that was not trained in epochs; see :func:`draw_label_curve`."""
        self.curves.show_figure(partial(draw_label_curve, tuple(points), chance=chance, interval=interval))

    def show_kept(self, epochs: int, kept: int) -> None:
        """Mark in the curves the epoch that is in the model, where there were epochs."""
        if self.history:
            self.curves.show_figure(partial(draw_curves, tuple(self.history), epochs, kept=kept))

    def finish(self) -> None:
        """Hide what belongs to a running job."""
        for widget in (self.stop_button, self.cancel_button, self.bar):
            widget.setVisible(False)

    def show_progress(self, update: Progress) -> None:
        """Show a progress report."""
        metrics = update.metrics
        if update.phase == "training":
            self.history.append({"epoch": update.done, **metrics})
            self.curves.show_figure(partial(draw_curves, tuple(self.history), update.total))
            self._show_epoch(update.done, update.total, update.done)
        elif update.phase == "epoch":
            epoch, epochs = int(metrics["epoch"]), int(metrics["epochs"])
            self._show_epoch(epoch, epochs, epoch - 1 + update.done / update.total)
        else:
            self.bar.setRange(0, update.total)
            self.bar.setValue(update.done)
            self.bar.setFormat(f"{update.phase}: %v of %m")
            if update.phase == "reading tiles" and update.done == update.total and self.stop_button.isVisible():
                self.show_message("Starting TensorFlow …")

    def _show_epoch(self, epoch: int, epochs: int, done: float) -> None:
        self.stop_button.setEnabled(not self.stopped.is_set())
        self.bar.setRange(0, 100 * epochs)
        self.bar.setValue(round(100 * done))
        left = f", {clock(self.history[-1]['seconds_left'])} left" if self.history else ""
        self.bar.setFormat(f"epoch {epoch} of {epochs}{left}")
        if not self.stopped.is_set():
            self.show_message(epoch_text(self.history, self._held_out))

    def _stop(self) -> None:
        self.stopped.set()
        self.stop_button.setEnabled(False)
        self.show_message("Stopping after this epoch …")

    def show_message(self, text: str, warn: bool = False) -> None:
        """Show a message, in colour where it is a warning."""
        self.message.show_text(text, warn)
        self.message.setToolTip("")


def clock(seconds: float) -> str:
    """Write a time in minutes and seconds."""
    whole = round(seconds)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"{hours}{whole // 60 % 60:02d}:{whole % 60:02d}"


def epoch_text(history: Sequence[Mapping[str, float]], held_out: int) -> str:
    """Describe the state of a training, in one line, with the number of tiles that it is tested on."""
    if not history:
        return "Training; the first epoch takes longest …"
    last = history[-1]
    return (
        f"Training: accuracy {last['accuracy']:.3f}, on {held_out:,} held-out tiles {last['val_accuracy']:.3f}; "
        f"Stop now would keep epoch {best_epoch(history)}, of the lowest loss."
    )
