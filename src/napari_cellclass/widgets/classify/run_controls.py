"""The buttons that start and end a run, and its progress bar."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.task import Progress
from napari_cellclass.widgets.common.job_panel import ProgressBar
from napari_cellclass.widgets.common.layout import row_of


class RunControls(QWidget):
    """Run, Cancel, and More settings, with the settings below them; the bar is shown while a run goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.keep_map = QCheckBox("keep the map when a new model is trained")  # for the page to lay out
        self.keep_map.setToolTip("else the new model classifies the field at once")
        self.run, self.cancel, self.more = QPushButton("Run"), QPushButton("Cancel"), QPushButton("More settings")
        self.more.setCheckable(True)
        self.settings, self.bar = QWidget(), ProgressBar()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row_of(self.run, self.cancel, self.more))
        column.addWidget(self.settings)
        column.addWidget(self.bar)
        self.settings.setVisible(False)
        self.more.toggled.connect(self.settings.setVisible)

    def set_busy(self, busy: bool) -> None:
        """Follow the start or the end of a run."""
        self.run.setEnabled(not busy)
        self.cancel.setEnabled(busy)
        self.bar.setVisible(busy)
        if busy:
            self.bar.setFormat("%p%")
            self.bar.setRange(0, 0)

    def show_progress(self, update: Progress) -> str:
        """Show a report of the run, and give what is to be said of it, '' for nothing new."""
        self.bar.setMaximum(update.total)
        self.bar.setValue(update.done)
        if update.total == 0:
            return f"{update.phase[:1].upper()}{update.phase[1:]} …"
        if "tiles_per_s" not in update.metrics:
            return ""
        left = update.metrics["seconds_left"]
        self.bar.setFormat(f"%v of %m tiles, {update.metrics['tiles_per_s']:,.0f} tiles/s, {left:,.0f} s left")
        return "Classifying …"
