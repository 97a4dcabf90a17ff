"""Predictions that follow the labels, shown as the map of the field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_cellclass.runs.live.from_labels import live_table
from napari_cellclass.runs.live.session import LivePrediction
from napari_cellclass.viewer.common.map_view import BuiltMap, FieldLayer, MapView, build_map, field_key
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.classify.map_state import MapState
from napari_cellclass.widgets.classify.results import ResultsPanel
from napari_cellclass.widgets.common.choices.layer_choice import ImageChoice

if TYPE_CHECKING:
    from napari_cellclass.core.images.source import SourceImage

_BETWEEN_STEPS_MS = 5  # for the window to draw
_RESTS_MS = 200
_DONE = object()


class LivePredictionMap(QObject):
    """Shows live predictions in the place of the map, unless a model's map of the same field is shown.

    ``covered`` is sent with whether that is so, ``changed`` after other predictions were shown.

    Parameters
    ----------
    workspace, map_view, images
        The work, the map in the viewer, and the image layers that are ticked.
    results, state
        What is said of the map.
    running_work
        Names what is running on the page, '' for nothing; a map that is being made is left alone.
    """

    covered = Signal(bool)
    changed = Signal()

    def __init__(
        self,
        workspace: Workspace,
        map_view: MapView,
        images: ImageChoice,
        results: ResultsPanel,
        state: MapState,
        running_work: Callable[[], str],
    ) -> None:
        super().__init__(results)
        self._workspace, self._map, self._images = workspace, map_view, images
        self._results, self._state, self._running_work = results, state, running_work
        self._steps: Iterator[None] | None = None
        self._newest: LivePrediction | None = None
        self._instead = False
        self._step_timer = self._timer(_BETWEEN_STEPS_MS, self._next_step)
        self._rest_timer = self._timer(_RESTS_MS, self._refresh)

    def _timer(self, interval_ms: int, action: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(interval_ms)
        timer.timeout.connect(action)
        return timer

    @property
    def is_shown(self) -> bool:
        """Whether the map in the viewer is one of live predictions."""
        return self._map.is_in_viewer() and self._map.table is not None and self._map.table.is_live

    @property
    def is_building(self) -> bool:
        """Whether the layers are being put into the viewer, one after the other."""
        return self._steps is not None

    def show(self, found: LivePrediction | None) -> None:
        """Show predictions of the field that is open; None takes them away."""
        self._newest = found
        if self._running_work() or self._steps is not None:
            return  # the newest are shown when the layers are there
        source, annotation, layers = self._workspace.source, self._workspace.annotation, self._images.chosen()
        if found is None or source is None or annotation is None or not layers:
            self._remove()
            return
        current = self._map.current
        other = self._map.is_in_viewer() and not self.is_shown and current is not None
        if other and current is not None and current.field == field_key(source) and not self._instead:
            self.covered.emit(True)
            return
        self._instead = False
        self.covered.emit(False)
        table = live_table(found, annotation.grid, annotation.scheme, source)
        same = (
            self.is_shown and current is not None and current.field == field_key(source)
            and current.table.grid is table.grid and current.table.scheme == table.scheme
        )  # fmt: skip
        if same:
            self._map.update_predictions(table, with_texts=False)
            self._results.show_counts()
            self._rest_timer.start()
            self.changed.emit()
            return
        self._steps = self._first_show(build_map(table, source, FieldLayer.of(layers[0]), self._map.style), source)
        self._next_step()

    def show_instead(self) -> None:
        """Show the live predictions in the place of a model's map."""
        self._instead = True
        self.show(self._newest)

    def _first_show(self, built: BuiltMap, source: SourceImage) -> Iterator[None]:
        selection = self._workspace.viewer.layers.selection
        selected = selection.active
        if self.is_shown:
            self._map.remove()
            yield
        for _ in self._map.show_in_steps(built):
            if selected in self._workspace.viewer.layers:
                selection.active = selected  # napari selects each new layer, which would take the keys of labelling
            yield
        self._state.show_origin(None)
        self._workspace.watch_map(self._map.clickable_layers())
        yield
        self._results.show_map(source)
        self.changed.emit()

    def _next_step(self) -> None:
        if self._steps is None:
            return
        if next(self._steps, _DONE) is not _DONE:
            self._step_timer.start()
            return
        self._steps = None
        self.show(self._newest)

    def _refresh(self) -> None:
        """Follow with what takes longer, once no key comes for a moment."""
        self._map.refresh_view()
        self._state.follow()

    def _remove(self) -> None:
        if self.is_shown:
            self._map.remove()
            self._results.setVisible(False)

    def stop(self) -> None:
        """Show nothing more; layers stay."""
        self._steps = None
        self._step_timer.stop()
        self._rest_timer.stop()
