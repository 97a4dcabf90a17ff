"""The panel below a map: its classes with counts, the confidence threshold, and the exports."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.interchange.anndata_tables import SUFFIX as ANNDATA_SUFFIX
from napari_cellclass.core.interchange.anndata_tables import check_anndata_installed
from napari_cellclass.core.labels.classes import UNLIKE_NAME
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.stats.calibration import ERROR_RATES, Calibration
from napari_cellclass.core.stats.novelty import NOVELTY_RATE, NOVELTY_RATES
from napari_cellclass.viewer.common.map_view import MapView
from napari_cellclass.viewer.common.overlay import OverlayStyle
from napari_cellclass.viewer.features.live import LiveMap
from napari_cellclass.widgets.classify import work
from napari_cellclass.widgets.classify.class_list import ClassList
from napari_cellclass.widgets.common.jobs import Job, start_job, start_long_job
from napari_cellclass.widgets.common.layout import row_of

_EXPORTS = {
    "CSV": "*.csv", "GeoJSON": "*.geojson", "PNG": "*.png", "COCO": "*.coco.json", "WSInfer": "*.wsinfer.csv",
    "AnnData": f"*{ANNDATA_SUFFIX}",
}  # fmt: skip
_ANNDATA = "AnnData"
_MAX_COUNTED = 100_000  # counting more tiles would block the window for too long
_ROW = 3  # buttons beside each other


class ResultsPanel(QWidget):
    """Shows the counts of a map and sets its appearance.

    Parameters
    ----------
    map_view
        The map in the viewer.
    show_message
        Shows a text to the user; its second argument says whether it is a warning.
    """

    def __init__(self, map_view: MapView, show_message: Callable[[str, bool], None]) -> None:
        super().__init__()
        self._map = map_view
        self._show_message = show_message
        self._source: SourceImage | None = None
        self._calibration: Calibration | None = None
        self._live: LiveMap | None = None
        self.classes = ClassList()
        self.threshold = QSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(0, 100)
        self.threshold.setToolTip("tiles of lower confidence become grey")
        self._threshold_text = QLabel("0 %")
        self.error_rate = QComboBox()
        self.error_rate.setToolTip(
            "mark tiles as unsure where several classes, or none, are possible at this error rate"
        )
        self.error_rate.addItem("not marked", None)
        for rate in reversed(ERROR_RATES):
            self.error_rate.addItem(f"at an error rate of {rate:.0%}", rate)
        self.novelty = QComboBox()
        self.novelty.setToolTip(
            "mark tiles that are farther from all training tiles than this fraction of known tiles of other groups"
        )
        self.novelty.addItem("not marked", None)
        for rate in reversed(NOVELTY_RATES):
            self.novelty.addItem(f"farther than {1 - rate:.0%} of known tiles", rate)
        self.novelty.setCurrentIndex(self.novelty.findData(NOVELTY_RATE))
        self.exports = {name: QPushButton(name) for name in _EXPORTS}
        self._long: Job | None = None
        self.exports[_ANNDATA].setToolTip("the tiles with their features as .h5ad, for scanpy and squidpy")
        self.scatter_button = QPushButton("Scatter …")
        self.scatter_button.setToolTip("all tiles as points, those that look alike near each other")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.classes)
        column.addLayout(row_of(QLabel("confidence at least"), self.threshold, self._threshold_text))
        column.addLayout(row_of(QLabel("unsure tiles"), self.error_rate, self.scatter_button))
        column.addLayout(row_of(QLabel("unlike training"), self.novelty))
        buttons = list(self.exports.values())
        column.addLayout(row_of(QLabel("export"), *buttons[:_ROW]))
        column.addLayout(row_of(QLabel("for others"), *buttons[_ROW:]))
        self.slide_button, self.background = QPushButton("Export for slides …"), QComboBox()
        self.slide_button.setToolTip("image beside map, with scale bar and counts, as PNG or SVG of 16:9")
        self.background.addItems(["white", "dark"])
        self.background.setToolTip("background of the picture for slides")
        column.addLayout(row_of(self.slide_button, self.background))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.classes.visibility_changed.connect(lambda _: self._restyle())
        self.threshold.valueChanged.connect(lambda _: self._threshold_moved())
        self.error_rate.currentIndexChanged.connect(lambda _: self._update_unsure())
        self.novelty.currentIndexChanged.connect(lambda _: self._update_unsure())
        for name, button in self.exports.items():
            button.clicked.connect(lambda _=False, name=name: self._ask_and_export(name))
        self.slide_button.clicked.connect(self._ask_and_export_slide)

    def show_map(self, source: SourceImage, calibration: Calibration | None = None) -> None:
        """Show the counts of the map that has just been put into the viewer.

        Parameters
        ----------
        source, calibration
            The field; the model's calibration on held-out tiles.
        """
        self._source, self._calibration = source, calibration
        self.error_rate.setEnabled(calibration is not None)
        self.setVisible(True)
        if calibration is None:
            self.error_rate.setCurrentIndex(0)
        self._update_unsure()

    def _update_unsure(self) -> None:
        table, rate, novelty = self._map.table, self.error_rate.currentData(), self.novelty.currentData()
        if table is not None:
            self.novelty.setEnabled(table.novelty is not None)
            novelty = novelty if table.novelty is not None else None
            if (rate, novelty) != (table.error_rate, table.novelty_rate):
                marked = table.with_error_rate(rate, self._calibration).with_novelty_rate(novelty)
                self._map.update_predictions(marked)
        self.show_counts()

    def show_counts(self) -> None:
        """Show the counts of the map, or of the tiles of one that is being painted."""
        table, style = self._map.table, self._map.style
        if self._live is not None:
            counted = self._live.counts(style.min_confidence)
            if counted is not None:
                self.classes.show_counts(*counted, style.for_scheme(counted[0]).visible)
        elif table is not None:
            counts = with_unlike_training(table, table.counts(style.min_confidence))
            self.classes.show_counts(table.scheme, counts, style.visible)

    def show_progress(self, live: LiveMap | None, first: bool = False) -> None:
        """Show the classes of a map while it is painted, and counts of up to ``_MAX_COUNTED`` tiles; None ends it."""
        self._live = live
        for box in (self.error_rate, self.novelty, self.slide_button, *self.exports.values()):
            box.setEnabled(live is None)
        if live is not None and (first or live.done <= _MAX_COUNTED):
            self.show_counts()
            self.setVisible(True)

    def _restyle(self) -> None:
        self._map.restyle(OverlayStyle(self.classes.visible_classes(), self.threshold.value() / 100))
        if self._live is not None:
            self._live.restyle()

    def _threshold_moved(self) -> None:
        self._threshold_text.setText(f"{self.threshold.value()} %")
        self._restyle()
        self.show_counts()

    def _ask_and_export(self, kind: str) -> None:
        assert self._source is not None
        pattern = _EXPORTS[kind]
        if kind == _ANNDATA and not self._may_export_anndata():
            return
        start = Path(self._source.path or self._source.name).stem + pattern[1:]
        name, _ = QFileDialog.getSaveFileName(self, f"Export {kind}", start, f"{kind} ({pattern})")
        if name:
            suffixed = name.lower().endswith(pattern[1:])
            self.export(Path(name if suffixed else name + pattern[1:]))

    def _may_export_anndata(self) -> bool:
        """Whether a file is to be chosen: not where AnnData is missing, or an export was running and is cancelled."""
        if self._long is not None and self._long.running:
            self._long.cancel()
            return False
        try:
            check_anndata_installed(_ANNDATA)
        except CellClassError as error:
            self._show_message(str(error), True)
            return False
        return True

    def _follow_anndata(self, job: Job) -> None:
        """Show how far the features are that go with the tiles; meanwhile the button cancels."""
        self._long, button = job, self.exports[_ANNDATA]
        button.setText("Cancel")
        job.progressed.connect(lambda update: self._show_message(f"AnnData: {update.in_words()} …", False))
        job.cancelled.connect(lambda: self._show_message("Cancelled; nothing was written.", False))
        job.finished.connect(lambda: button.setText(_ANNDATA))

    def _ask_and_export_slide(self) -> None:
        assert self._source is not None
        start = f"{Path(self._source.path or self._source.name).stem}_slide.png"
        name, _ = QFileDialog.getSaveFileName(self, "Export for slides", start, "Pictures (*.png *.svg)")
        if name:
            self.export_slide(Path(name if Path(name).suffix.lower() in (".png", ".svg") else f"{name}.png"))

    def export_slide(self, path: Path) -> Job | None:
        """Write image and map as a picture for a slide; the suffix chooses PNG or SVG."""
        return self._start(work.export_slide, path, background=self.background.currentText())

    def export(self, path: Path) -> Job | None:
        """Write the map; the suffix chooses CSV, GeoJSON, COCO, WSInfer's CSV, AnnData or a picture."""
        return self._start(work.export, path)

    def close_down(self) -> None:
        """Leave no export running that computes features."""
        if self._long is not None and self._long.running:
            self._long.mute()
            self._long.cancel()
            self._long.wait(5)

    def _start(self, write: Callable[..., Path], path: Path, **options: Any) -> Job | None:
        if self._map.table is None or self._source is None:
            self._show_message("There is no map yet; press Run first.", True)
            return None
        style = self._map.style
        with_features = path.suffix.lower() == ANNDATA_SUFFIX  # which take as long as a run
        job = (start_long_job if with_features else start_job)(
            write,
            owner=self,
            table=self._map.table,
            source=self._source,
            path=path,
            visible=style.visible,
            min_confidence=style.min_confidence,
            **options,
        )
        job.returned.connect(lambda written: self._show_message(f"Wrote {written}.", False))
        job.failed.connect(lambda error: self._show_message(str(error), True))
        if with_features:
            self._follow_anndata(job)
        return job


def with_unlike_training(table: TileTable, counts: pd.DataFrame) -> pd.DataFrame:
    """Add a row of the tiles that are unlike training, which are counted in their classes, too."""
    if table.novelty_rate is None:
        return counts
    unlike = table.unlike_training
    area = float(table.grid.exclusive_area()[unlike].sum())
    pixel = math.nan if table.pixel_size_um is None else table.pixel_size_um[0] * table.pixel_size_um[1]
    count = int(unlike.sum())
    row = pd.DataFrame({
        "class_name": [UNLIKE_NAME], "tiles": [count], "fraction": [count / max(1, len(table))],
        "area_px": [area], "area_um2": [area * pixel], "mean_confidence": [math.nan],
    })  # fmt: skip
    return pd.concat([counts.iloc[:-1], row, counts.iloc[-1:]], ignore_index=True)
