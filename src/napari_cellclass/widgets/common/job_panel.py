"""A progress bar, a message and a Cancel button for the long jobs that the buttons of a page start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Progress
from napari_cellclass.widgets.common.jobs import Job, start_long_job
from napari_cellclass.widgets.common.text import WrappedLabel


class ProgressBar(QProgressBar):
    """A progress bar that is painted with the window's next frame.

    Qt's own paints itself, and with it the canvas below its window, within each call that changes it.
    """

    def setRange(self, minimum: int, maximum: int) -> None:
        """Set both ends."""
        self.setUpdatesEnabled(False)
        super().setRange(minimum, maximum)
        self.setUpdatesEnabled(True)

    def setMaximum(self, maximum: int) -> None:
        """Set the upper end."""
        self.setRange(self.minimum(), maximum)

    def setValue(self, value: int) -> None:
        """Set the value."""
        self.setUpdatesEnabled(False)
        super().setValue(value)
        self.setUpdatesEnabled(True)


class JobPanel(QWidget):
    """Runs one job at a time; its buttons are disabled while it runs.

    Parameters
    ----------
    buttons
        Disabled while a job runs.
    """

    def __init__(self, buttons: Sequence[QPushButton]) -> None:
        super().__init__()
        self._buttons = buttons
        self.job: Job | None = None
        self.bar, self.message, self.cancel_button = ProgressBar(), WrappedLabel(), QPushButton("Cancel")
        row = QHBoxLayout()
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.message)
        self.cancel_button.clicked.connect(self.cancel)
        self._busy(False)

    @property
    def running(self) -> bool:
        """Whether a job is running."""
        return self.job is not None and self.job.running

    def run(self, function: Callable[..., Any], returned: Callable[[Any], None], **kwargs: Any) -> None:
        """Run ``function(**kwargs, task=…)`` and call ``returned`` with its result.

        An error is shown as the message; nothing happens while another job runs.
        """
        if self.running:
            return
        self._busy(True)
        self.show_message("")
        self.job = job = start_long_job(function, owner=self, **kwargs)
        job.progressed.connect(self._progressed)
        job.returned.connect(lambda value: returned(value) if job is self.job else None)
        job.failed.connect(self.failed)
        job.cancelled.connect(lambda: self.show_message("Cancelled."))
        job.finished.connect(lambda: self._busy(False))

    def failed(self, error: CellClassError) -> None:
        """Show what went wrong."""
        self.show_message(str(error), warn=True)

    def cancel(self) -> None:
        """Ask the job to end; finished results are kept."""
        if self.job is not None and self.job.running:
            self.show_message("Cancelling …")
            self.job.cancel()

    def close_down(self, seconds: float = 5.0) -> None:
        """End the job, as a window does that is being closed; its result is dropped."""
        job, self.job = self.job, None
        if job is not None and job.running:
            job.cancel()
            job.wait(seconds)

    def show_message(self, text: str, warn: bool = False) -> None:
        """Show a message, in colour where it is a warning."""
        self.message.show_text(text, warn)

    def _progressed(self, update: Progress) -> None:
        self.bar.setRange(0, update.total)
        self.bar.setValue(update.done)
        self.bar.setFormat(f"{update.phase}: %v of %m")

    def _busy(self, busy: bool) -> None:
        for button in self._buttons:
            button.setEnabled(not busy)
        self.bar.setVisible(busy)
        self.cancel_button.setVisible(busy)
        if busy:
            self.bar.setFormat("")
            self.bar.setRange(0, 0)
