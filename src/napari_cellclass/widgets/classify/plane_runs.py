"""Which planes of a stack a run takes, and their maps, which follow napari's sliders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.report.figures import height_in_dock
from napari_cellclass.report.planes import PLANES_INCH
from napari_cellclass.runs.classify.field import FieldResult
from napari_cellclass.viewer.common.layer_axes import read_layer_axes
from napari_cellclass.viewer.common.layers import plane_of
from napari_cellclass.viewer.common.map_view import BuiltMap, MapView
from napari_cellclass.widgets.classify import work
from napari_cellclass.widgets.common.figure_view import FigureView
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
        self.choice.setToolTip("the plane that is shown, or all of them one after the other")
        self.export_button.setToolTip("one table of the tiles of all planes, with columns t and z")
        self.results: dict[tuple[tuple[str, int], ...], work.PlaneResult] = {}
        self.job: Job | None = None
        self._request: work.ClassifyRequest | None = None
        self._layers: list[Any] = []
        self._others: list[work.Plane] = []
        self._left_out = 0
        self.counts = FigureView(viewer, lambda width: 0)
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
        if not lengths:
            self.counts.clear_figure()

    def begin(self, request: work.ClassifyRequest, layers: Sequence[Any], region: Any = None) -> None:
        """Note the planes that a run is to take beside the one that is shown.

        Of a region, a Shapes layer, each plane has the shapes that were drawn on it; planes without one are left out.

        Raises
        ------
        CellClassError
            A plane cannot be made a field.
        """
        self.cancel()
        self.job = None
        self._request, self._layers, self.results = request, list(layers), {}
        letters = _CHOICES.get(self.choice.currentText(), "") if len(request.source.plane) else ""
        planes = work.planes_of_stack(layers, letters, request.source.plane, self._viewer.dims.point, region)
        self._left_out = sum(plane is None for plane in planes)
        self._others = [plane for plane in planes if plane is not None]
        self.counts.clear_figure()
        self.export_button.setVisible(False)

    def finish(self, result: FieldResult) -> None:
        """Keep the result of the plane that is shown, and classify the others."""
        if self._request is None or not self._others or not result.complete:
            return
        self._keep(work.PlaneResult(self._request.source, result.table))
        self.job = start_long_job(
            work.run_planes, owner=self, request=self._request, planes=self._others, keep=self._keep
        )
        self.job.progressed.connect(lambda now: self.said.emit(f"{now.done + 1} of {now.total} planes …", False))
        self.job.returned.connect(lambda _: self._done())
        self.job.cancelled.connect(lambda job=self.job: self._done() if job is self.job else None)
        self.job.failed.connect(lambda error: self.said.emit(str(error), True))

    def _keep(self, found: work.PlaneResult) -> None:
        if self._request is not None and any(
            found.source is one for one in (self._request.source, *(plane.source for plane in self._others))
        ):
            self.results[_key(found.source)] = found

    def _done(self) -> None:
        self.export_button.setVisible(True)
        tiles = sum(len(found.table) for found in self.results.values())
        planes = counted(len(self.results), "plane")
        left_out = (
            f" {counted(self._left_out, 'plane')} without a shape of the region left out." if self._left_out else ""
        )
        if len(self.results) <= len(self._others):
            planes += f" of {len(self._others) + 1}, which were finished before the run was stopped"
        self.said.emit(f"{counted(tiles, 'tile')} on {planes}; the sliders show each.{left_out}", False)
        self._plot()

    def _plot(self) -> None:
        """Plot the counts over time and depth, as the command line does."""
        found = tuple(self.results.values())
        axes = sum(len({one.source.plane.get(axis) for one in found}) > 1 for axis in "TZ")
        if axes:
            self.counts.height_of = lambda width: height_in_dock(axes * PLANES_INCH)
            self.counts.show_figure(partial(work.draw_counts, found))

    def cancel(self) -> None:
        """Stop after the plane that is running; what is finished stays."""
        if self.job is not None and self.job.running:
            self.job.cancel()

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
        self.counts.close_down()
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
