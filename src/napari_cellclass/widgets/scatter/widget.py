"""The widget *Scatter*: all tiles of the open fields as points, linked with the map and its labels."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QVBoxLayout

from napari_cellclass.core.common.findings import counted
from napari_cellclass.runs.features import umap
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.viewer.features.tile_points import ColourBy, TilePoints, colour_points
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.docks import CellClassDock, open_cell_class
from napari_cellclass.widgets.common.help.button import HelpButton
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel
from napari_cellclass.widgets.scatter.canvas import ScatterCanvas
from napari_cellclass.widgets.scatter.fields import point_states, selected_points, split_selection
from napari_cellclass.widgets.scatter.keys import key_name
from napari_cellclass.widgets.scatter.plotter import Plotter
from napari_cellclass.widgets.scatter.work import Method

if TYPE_CHECKING:
    from napari.viewer import Viewer

_COLOURS_AFTER_MS = 60  # several changes of labels at once are one
_HINT = (
    "Drag around points: a class's key labels them. Shift adds, right drag moves, wheel zooms, double click shows all."
)


class ScatterWidget(DockedWidget):
    """Plots the tiles of all open fields; a line drawn around points selects their tiles on the map too.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    display_name = "Scatter"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = unwrap(napari_viewer)
        self.plotter = Plotter(self)
        self._cell_class: CellClassDock | None = None
        self._colours_shown: tuple[tuple[str, str], ...] = ()
        self._build()
        self._connect()
        self._attach(open_cell_class(self.viewer))

    def _build(self) -> None:
        self.method, self.colour = QComboBox(), QComboBox()
        self.method.addItems(get_args(Method))
        self.method.setToolTip(
            "PCA: the two directions in which tiles differ most, at once; UMAP: neighbours stay neighbours, in minutes"
        )
        self.colour.addItems(get_args(ColourBy))
        self.colour.setToolTip("what points are coloured by; a plate is the folder that its images are in")
        self.cancel_button, self.attach_button = QPushButton("Cancel"), QPushButton("Open Cell Class")
        self.cancel_button.setVisible(False)
        self.attach_button.setVisible(False)
        self.canvas = ScatterCanvas()
        self.legend = QLabel()
        self.legend.setWordWrap(True)
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.status, self.hint = WrappedLabel(selectable=False), WrappedLabel(_HINT, selectable=False)
        self.help = HelpButton(self.display_name)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.addLayout(row_of(self.method, self.cancel_button, QLabel("colour"), self.colour, self.help))
        column.addWidget(self.canvas, 1)
        for widget in (self.legend, self.status, self.attach_button, self.hint):
            column.addWidget(widget)
        self.setMinimumWidth(400)
        # A plot that moves with each text could not be drawn on.
        self.status.reserve_lines(2)
        self.legend.setMinimumHeight(2 * self.legend.fontMetrics().lineSpacing() + 2)
        for label in (self.status, self.legend):
            label.setAlignment(Qt.AlignmentFlag.AlignTop)

    def _connect(self) -> None:
        self._colours_timer = QTimer(self)
        self._colours_timer.setSingleShot(True)
        self._colours_timer.setInterval(_COLOURS_AFTER_MS)
        self._colours_timer.timeout.connect(self._recolour)
        self.plotter.plotted.connect(self._show_plot)
        self.plotter.emptied.connect(self._show_nothing)
        self.plotter.predicted.connect(self._colour_soon)
        self.plotter.failed.connect(self._plot_failed)
        self.plotter.busy.connect(self._show_busy)
        self.method.currentTextChanged.connect(self._method_chosen)
        self.colour.currentTextChanged.connect(lambda _: self._recolour())
        self.cancel_button.clicked.connect(lambda: self.method.setCurrentText("PCA"))
        self.attach_button.clicked.connect(lambda: self._attach(open_cell_class(self.viewer)))
        self.canvas.lassoed.connect(self._lassoed)
        self.canvas.clicked.connect(self._clicked)
        self.canvas.native.installEventFilter(self)
        self.viewer.events.theme.connect(self._follow_theme)
        self._follow_theme()

    # -- the dock Cell Class -----------------------------------------------------------------------

    def _attach(self, dock: CellClassDock) -> None:
        """Follow the work of a dock Cell Class, until it is closed."""
        if self._cell_class is not None:
            return
        self._cell_class, work = dock, dock.workspace
        self.attach_button.setVisible(False)
        work.tile_changed.connect(self._tile_changed)
        work.labels_changed.connect(self._colour_soon)
        work.classes_changed.connect(self._colour_soon)
        work.selection.changed.connect(self._selection_changed)
        work.message.connect(self._show_message)
        dock.live.predicted.connect(self._colour_soon)
        dock.closing.connect(self._detach)
        self.plotter.follow(dock)

    def _detach(self) -> None:
        """Follow nothing any more."""
        dock, self._cell_class = self._cell_class, None
        if dock is None:
            return
        work = dock.workspace
        work.tile_changed.disconnect(self._tile_changed)
        work.labels_changed.disconnect(self._colour_soon)
        work.classes_changed.disconnect(self._colour_soon)
        work.selection.changed.disconnect(self._selection_changed)
        work.message.disconnect(self._show_message)
        dock.live.predicted.disconnect(self._colour_soon)
        dock.closing.disconnect(self._detach)
        self.plotter.leave()
        self._show_nothing("The dock Cell Class was closed, whose tiles these were.")
        self.attach_button.setVisible(True)

    @property
    def _workspace(self) -> Workspace | None:
        """The work, where a field is open."""
        dock = self._cell_class
        return dock.workspace if dock is not None and dock.workspace.annotation is not None else None

    @property
    def points(self) -> TilePoints | None:
        """The tiles that are plotted."""
        return None if self.plotter.plot is None else self.plotter.plot.points

    def _show_message(self, text: str, warn: bool = False) -> None:
        self.status.show_text(text, warn)

    def _show_nothing(self, reason: str) -> None:
        self.canvas.set_points(np.zeros((0, 2), np.float32), np.zeros((0, 4), np.float32))
        self.legend.clear()
        self.status.show_text(reason)

    # -- the plot ----------------------------------------------------------------------------------

    def _method_chosen(self, text: str) -> None:
        if text == "UMAP" and not umap.is_installed():
            self._plot_failed(umap.MISSING)
        else:
            self.plotter.set_method(cast("Method", text))

    def _plot_failed(self, text: str) -> None:
        self.method.blockSignals(True)
        self.method.setCurrentText("PCA")
        self.method.blockSignals(False)
        self.status.show_text(text, True)

    def _show_busy(self, busy: bool) -> None:
        self.cancel_button.setVisible(busy)
        if busy:
            self.status.show_text("UMAP is being computed; PCA is shown until then …")

    def _show_plot(self, same_positions: bool) -> None:
        plot = self.plotter.plot
        assert plot is not None
        self.canvas.set_points(plot.points.xy, np.ones((len(plot.points), 4), np.float32), same_positions)
        self._recolour()
        self._selection_changed()
        self._tile_changed()
        text = f"{counted(len(plot.points), 'tile')} of {counted(len(plot.points.fields), 'field')}; {plot.points.axes}"
        if self.canvas.outside:
            text += f"; {self.canvas.outside:,} far outside (double click)"
        self.status.show_text(text + ("." if plot.complete else " …"))

    # -- colours -----------------------------------------------------------------------------------

    def _colour_soon(self, change: object = None) -> None:
        if self.isVisible() and not self._colours_timer.isActive():
            self._colours_timer.start()

    def _recolour(self) -> None:
        work, points = self._workspace, self.points
        if work is None or points is None:
            return
        states = point_states(work, points, self.plotter.labelled, self.plotter.probabilities())
        table = work.predictions()
        by = cast("ColourBy", self.colour.currentText())
        found = colour_points(by, points, states, work.scheme, table is None or table.has_percentages)
        self.canvas.set_colours(found.rgba)
        self._colours_shown = found.legend
        self._show_legend()

    def _show_legend(self) -> None:
        """Say what the colours mean, and what is bright."""
        words = [f'<span style="color:{colour}">⬤</span> {html.escape(text)}' for text, colour in self._colours_shown]
        words += ["◯&nbsp;current&nbsp;tile", *["full&nbsp;colour:&nbsp;selected"] * bool(len(self.canvas.chosen))]
        self.legend.setText("&nbsp;&nbsp; ".join(words))

    def showEvent(self, event: Any) -> None:
        """Catch up with what has changed while the plot was hidden."""
        super().showEvent(event)
        self.plotter.replot()
        self._colour_soon()

    def _follow_theme(self, event: Any = None) -> None:
        from napari.utils.theme import get_theme

        self.canvas.set_background(get_theme(self.viewer.theme).canvas.as_hex())

    # -- what is selected --------------------------------------------------------------------------

    def _lassoed(self, inside: NDArray[np.int64], adding: bool) -> None:
        work, points = self._workspace, self.points
        if work is None or points is None:
            return
        if adding:
            inside = np.union1d(inside, self.canvas.chosen)
        tiles, elsewhere, others = split_selection(work, points, inside, self.plotter.labelled)
        work.select(tiles, elsewhere)
        if others:
            text = (
                f"{counted(others, 'tile')} of other fields left out: only fields of one project are labelled together."
            )
            self.status.show_text(text, True)
        elif not len(work.selection):
            self.status.show_text("No point is inside the line.")

    def _clicked(self, point: int) -> None:
        dock, work, points = self._cell_class, self._workspace, self.points
        if dock is None or work is None or points is None:
            return
        if point < 0:
            work.select(np.zeros(0, np.int64))
            return
        dock.show_tile(points.fields[points.field[point]].key, int(points.tile[point]))

    def _selection_changed(self) -> None:
        work, points = self._workspace, self.points
        if work is not None and points is not None:
            self.canvas.choose(selected_points(work, points, self.plotter.labelled))
            self._show_legend()

    def _tile_changed(self) -> None:
        work, points = self._workspace, self.points
        if work is None or points is None or work.current_tile is None:
            return
        found = points.points_of(work.field_key, np.array([work.current_tile]))
        self.canvas.mark(int(found[0]) if len(found) else None)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Let keys do on the plot what they do on the map; Escape selects nothing."""
        work = self._workspace
        if event is None or event.type() != QEvent.Type.KeyPress or work is None:
            return False
        key: Any = event
        if key.key() == Qt.Key.Key_Escape:
            work.select(np.zeros(0, np.int64))
            return True
        action = work.keys().get(key_name(key))
        if action is None:
            return False
        action()
        return True

    # -- its end -----------------------------------------------------------------------------------

    def close_down(self, window_stays: bool) -> None:
        """Leave no job running and nothing connected."""
        self._colours_timer.stop()
        self.canvas.native.removeEventFilter(self)
        self.viewer.events.theme.disconnect(self._follow_theme)
        self._detach()
        self.canvas.close_down()
