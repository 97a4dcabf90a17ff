"""Which planes of a stack a run takes, and their maps, which follow napari's sliders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.runs.classify.field import FieldResult
from napari_cellclass.viewer.common.layer_axes import read_layer_axes
from napari_cellclass.viewer.common.layers import image_from_layers, plane_of
from napari_cellclass.viewer.common.map_view import BuiltMap, MapView
from napari_cellclass.widgets.classify import work
from napari_cellclass.widgets.common.jobs import Job, start_job, start_long_job

if TYPE_CHECKING:
    from napari.viewer import Viewer

_CHOICES = {"this plane": "", "all Z": "Z", "all T": "T", "all planes": "TZ"}


class PlaneRuns(QWidget):
    """*Run on*: this plane, all Z, all T or all; shown where the field has planes.

    ``shown`` is sent with the field and the map of another plane that has come into view, ``said`` with a message and
    whether it is a warning.

    Parameters
    ----------
    viewer, map_view
        The viewer, and the map in it.
    """

    shown, said = Signal(object, object), Signal(str, bool)

    def __init__(self, viewer: Viewer, map_view: MapView) -> None:
        super().__init__()
        self._viewer, self._map = viewer, map_view
        self.choice, self.export_button = QComboBox(), QPushButton("Export planes …")
        self.export_button.setToolTip("one table of the tiles of all planes, with columns t and z")
        self.results: dict[tuple[tuple[str, int], ...], work.PlaneResult] = {}
        self.job: Job | None = None
        self._request: work.ClassifyRequest | None = None
        self._layers: list[Any] = []
        self._others: list[SourceImage] = []
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (QLabel("Run on"), self.choice, self.export_button):
            row.addWidget(widget)
        row.addStretch(1)
        self.export_button.setVisible(False)
        self.setVisible(False)
        self.export_button.clicked.connect(self._ask_export)
        viewer.dims.events.current_step.connect(self._follow)

    def connect(self, shown: Callable[[SourceImage, BuiltMap], None], said: Callable[[str, bool], None]) -> None:
        """Connect both signals."""
        self.shown.connect(shown)
        self.said.connect(said)

    def offer(self, layers: Sequence[Any]) -> None:
        """Offer the planes of the image layers that are chosen."""
        lengths: dict[str, int] = {}
        if layers:
            axes = read_layer_axes(layers[0])
            lengths = {a: n for a, n in zip(axes.letters, axes.lengths, strict=True) if a in "TZ" and n > 1}
        wanted = [text for text, letters in _CHOICES.items() if not letters or set(letters) <= set(lengths)]
        if [self.choice.itemText(i) for i in range(self.choice.count())] != wanted:
            self.choice.clear()
            self.choice.addItems(wanted)
        self.setVisible(bool(lengths))

    def begin(self, request: work.ClassifyRequest, layers: Sequence[Any]) -> None:
        """Note the planes that a run is to take beside the one that is shown.

        Raises
        ------
        CellClassError
            A plane cannot be made a field.
        """
        self.cancel()
        self._request, self._layers, self.results = request, list(layers), {}
        letters = _CHOICES.get(self.choice.currentText(), "") if len(request.source.plane) else ""
        axes = read_layer_axes(layers[0])
        ranges = [
            range(n) if a in letters else [request.source.plane.get(a, 0)]
            for a, n in zip(axes.letters, axes.lengths, strict=True)
        ]
        self._others = []
        for index in np.ndindex(*[len(one) for one in ranges]):
            data = [one[i] for one, i in zip(ranges, index, strict=True)]
            source = image_from_layers(layers, self._point(layers[0], data))
            if dict(source.plane) != dict(request.source.plane):
                self._others.append(source)
        self.export_button.setVisible(False)

    def finish(self, result: FieldResult) -> None:
        """Keep the result of the plane that is shown, and classify the others."""
        if self._request is None or not self._others or not result.complete:
            return
        self._keep(work.PlaneResult(self._request.source, result.table))
        self.job = start_long_job(
            work.run_planes, owner=self, request=self._request, sources=self._others, keep=self._keep
        )
        self.job.progressed.connect(lambda now: self.said.emit(f"{now.done + 1} of {now.total} planes …", False))
        self.job.returned.connect(lambda _: self._done())
        self.job.failed.connect(lambda error: self.said.emit(str(error), True))

    def _keep(self, found: work.PlaneResult) -> None:
        if self._request is not None and any(found.source is one for one in (self._request.source, *self._others)):
            self.results[_key(found.source)] = found

    def _done(self) -> None:
        self.export_button.setVisible(True)
        tiles = sum(len(found.table) for found in self.results.values())
        planes = counted(len(self.results), "plane")
        self.said.emit(f"{counted(tiles, 'tile')} on {planes}; the sliders show each.", False)

    def cancel(self) -> None:
        """Stop after the plane that is running; what is finished stays."""
        if self.job is not None and self.job.running:
            self.job.cancel()

    def _point(self, layer: Any, data: Sequence[int]) -> list[float]:
        """Return the world coordinates of a plane, by its index on each leading axis of a layer."""
        corner = np.zeros(layer.ndim)
        corner[: len(data)] = data
        world = np.array(self._viewer.dims.point, float)
        world[-layer.ndim :] = layer.data_to_world(corner)
        return [float(value) for value in world]

    def _follow(self, event: Any = None) -> None:
        """Show the map of the plane that has come into view."""
        if not self.results or not self._layers or self._request is None or not self._map.is_in_viewer():
            return
        plane = plane_of(self._layers[:1], self._viewer.dims.point)
        found = self.results.get(tuple(sorted(plane.items())))
        current = self._map.current
        if found is None or current is None or current.table is found.table:
            return
        built: BuiltMap = self._map.show_plane(found.table, found.source, self._request.field_layer)
        self.shown.emit(found.source, built)

    def _ask_export(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Tiles of all planes", "planes.tiles.csv", "CSV (*.csv)")
        if name:
            self.export(Path(name))

    def export(self, path: Path) -> None:
        """Write the tiles of all planes as one table."""
        job = start_job(work.export_planes, found=tuple(self.results.values()), path=path)
        job.returned.connect(lambda written: self.said.emit(f"Wrote {written}.", False))
        job.failed.connect(lambda error: self.said.emit(str(error), True))

    def close_down(self) -> None:
        """Leave no job running."""
        self._viewer.dims.events.current_step.disconnect(self._follow)
        if self.job is not None and self.job.running:
            self.job.mute()
            self.job.cancel()
            self.job.wait(5)


def _key(source: SourceImage) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(source.plane.items()))


def describe_result(result: FieldResult, name: str) -> str:
    """Say what a run has found, and what a user should know of it."""
    n = len(result.table)
    seconds = f"{result.seconds:.2g}" if result.seconds < 10 else f"{result.seconds:,.0f}"
    done = f"{counted(n, 'tile')} in {seconds} s ({n / max(result.seconds, 1e-9):,.0f} tiles/s)."
    if not result.complete:
        done = f"Cancelled: the {n:,} tiles that were finished are shown."
    return " ".join([f"{name}: {done}", *(f"Warning: {text}." for text in result.warnings)])
