"""The panel *Where in the tile* of the page *Map*: maps of the tiles in view, and tiles by probability."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Progress
from napari_cellclass.core.params.explain import ExplainMethod
from napari_cellclass.report.tile_sheets import COLORMAP
from napari_cellclass.runs.common.engine_cache import EngineCache
from napari_cellclass.runs.live.live_model import LiveModel
from napari_cellclass.viewer.common.map_view import MapView
from napari_cellclass.viewer.features.evidence_layer import EvidenceLayer, corners_of_view
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.classify.evidence_work import (
    MOST_TILES,
    Evidence,
    LiveRequest,
    map_evidence,
    map_live_evidence,
    save_spectrum,
)
from napari_cellclass.widgets.classify.work import ClassifyRequest
from napari_cellclass.widgets.common.images import image_of
from napari_cellclass.widgets.common.jobs import Job, start_job, start_long_job
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel

_PICTURE_PX = 140


class EvidencePanel(QWidget):
    """Maps where in the tiles in view the evidence for their predicted classes lies.

    Parameters
    ----------
    workspace, map_view
        The work in the viewer, and the map in it.
    engines
        The open network.
    request
        Gives what a run of the page would be given.
    """

    def __init__(
        self,
        workspace: Workspace,
        map_view: MapView,
        engines: EngineCache,
        request: Callable[[], ClassifyRequest],
    ) -> None:
        super().__init__()
        self._workspace, self._map, self._engines, self._request = workspace, map_view, engines, request
        self.layer = EvidenceLayer(workspace.viewer)
        self.job: Job | None = None
        self._found: Evidence | None = None
        self._request_now: ClassifyRequest | LiveRequest | None = None
        self._live_model: Callable[[], LiveModel | None] = lambda: None
        self.button, self.cancel_button = QPushButton("Where in the tile"), QPushButton("Cancel")
        self.button.setToolTip(
            f"map which parts of the tiles in view the model's prediction rests on, at most {MOST_TILES} tiles"
        )
        self.method = QComboBox()
        self.method.addItems(list(get_args(ExplainMethod)))
        self.method.setToolTip(
            "occlusion: what hiding a part changes, for any model; grad-cam: of convolutional networks, faster"
        )
        self.spectrum_button = QPushButton("Tiles by probability …")
        self.spectrum_button.setToolTip("write a sheet of tiles from the least to the most probable of a class")
        self.picture, self.text = QLabel(), WrappedLabel(selectable=False)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row_of(self.button, self.method, self.cancel_button))
        column.addWidget(self.text)
        column.addWidget(self.picture)
        column.addWidget(self.spectrum_button)
        self.button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self.spectrum_button.clicked.connect(self._ask_and_save)
        workspace.tile_changed.connect(self._show_current)
        self.cancel_button.setVisible(False)
        self.text.setVisible(False)
        self._show_current()

    def follow_live(self, live_model: Callable[[], LiveModel | None]) -> None:
        """Map the tiles of a live map by what gives the model of the labels; None where fewer than two classes are."""
        self._live_model = live_model

    def _live_request(self) -> LiveRequest | None:
        """Give what is mapped where the map that is shown is the live one; None where it is not.

        Raises
        ------
        CellClassError
            Only one class is labelled.
        """
        work, shown = self._workspace, self._map.current
        if shown is None or not self._map.is_in_viewer() or not shown.table.is_live:
            return None
        model = self._live_model()
        if model is None or work.source is None or work.annotation is None:
            raise CellClassError("The live map knows one class only; label tiles of another one, too")
        return LiveRequest(work.source, work.annotation.grid, shown.field_layer, model)

    def run(self) -> None:
        """Map the tiles in view; the window stays responsive."""
        if self.job is not None and self.job.running:
            return
        try:
            request = self._live_request() or self._request()
        except CellClassError as error:
            self._say(str(error), True)
            return
        self._request_now = request
        self._busy(True)
        self._say("Mapping …")
        view = corners_of_view(self._workspace.viewer, request.field_layer)
        how = {"view": view, "current": self._current_centre(), "method": self.method.currentText()}
        if isinstance(request, LiveRequest):
            self.job = job = start_long_job(map_live_evidence, owner=self, request=request, **how)
        else:
            self.job = job = start_long_job(map_evidence, owner=self, request=request, engines=self._engines, **how)
        job.progressed.connect(self._progressed)
        job.returned.connect(self._show)
        job.failed.connect(lambda error: self._say(str(error), True))
        job.cancelled.connect(lambda: self._say("Cancelled, or no tile is in view; nothing was mapped."))
        job.finished.connect(lambda: self._busy(False))

    def cancel(self) -> None:
        """Stop after the batch that is running; finished tiles are shown."""
        if self.job is not None and self.job.running:
            self.job.cancel()

    def close_down(self) -> None:
        """Leave no job running; the layer stays."""
        if self.job is not None and self.job.running:
            self.job.mute()
            self.job.cancel()
            self.job.wait(5)

    def _say(self, text: str, warn: bool = False) -> None:
        self.text.setVisible(True)  # which takes no space before there is something to say
        self.text.show_text(text, warn)

    def _busy(self, busy: bool) -> None:
        self.button.setEnabled(not busy)
        self.cancel_button.setVisible(busy)

    def _progressed(self, update: Progress) -> None:
        if update.total:
            self._say(f"Mapping: {update.done} of {update.total} tiles")

    def _current_centre(self) -> tuple[float, float] | None:
        annotation, tile = self._workspace.annotation, self._workspace.current_tile
        if annotation is None or tile is None:
            return None
        y0, x0, y1, x1 = annotation.grid.boxes[tile].tolist()
        return (y0 + y1) / 2, (x0 + x1) / 2

    def _show(self, found: Evidence) -> None:
        assert self._request_now is not None
        self._found = found
        self.layer.show(found.pixels, found.corner, self._request_now.field_layer, COLORMAP)
        self._show_current()

    def _show_current(self) -> None:
        """Show the map of the current tile, where it was mapped."""
        found, centre = self._found, self._current_centre()
        self.picture.clear()
        self.picture.setVisible(False)
        if found is None:
            return
        by = " by the live map" if isinstance(self._request_now, LiveRequest) else ""
        of_all = f"{len(found.maps)} of {found.wanted} tiles in view mapped{by}"
        for one, pixels in zip(found.maps, found.pictures, strict=True):
            y0, x0, y1, x1 = one.box
            if centre is None or not (y0 <= centre[0] < y1 and x0 <= centre[1] < x1):
                continue
            image = image_of(pixels)
            self.picture.setPixmap(
                QPixmap.fromImage(image).scaled(_PICTURE_PX, _PICTURE_PX, Qt.AspectRatioMode.KeepAspectRatio)
            )
            self.picture.setVisible(True)
            said = f"{found.names[one.class_index]} {one.prob[one.class_index]:.0%}"
            nothing = "" if one.values.max() > 0 else "; no part of the tile stands out"
            self._say(f"{of_all}. The current tile: {said}{nothing}.")
            return
        self._say(f"{of_all}; the current tile is not among them.")

    def _ask_and_save(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the sheet of tiles by probability")
        if folder:
            self.save_spectrum(Path(folder))

    def save_spectrum(self, folder: Path) -> Job | None:
        """Write the sheet of tiles by the probability of the last class, or of the current tile's predicted one."""
        table, source = self._map.table, self._workspace.source
        if table is None or source is None:
            self._say("There is no map of this field yet; press Run first.", True)
            return None
        row = -1
        if (centre := self._current_centre()) is not None:
            row = int(table.grid.tile_at(*(np.array(centre) - 0.5)))
        chosen = int(table.class_index[row]) if row >= 0 and table.class_index[row] >= 0 else len(table.scheme) - 1
        job = start_job(
            save_spectrum, owner=self, table=table, source=source, class_index=chosen, out=folder,
        )  # fmt: skip
        name = table.scheme.names[chosen]
        job.returned.connect(lambda out: self._say(f"Wrote tiles by the probability of {name} to {out}."))
        job.failed.connect(lambda error: self._say(str(error), True))
        return job
