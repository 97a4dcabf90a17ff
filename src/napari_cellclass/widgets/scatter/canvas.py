"""The canvas of the scatter plot: points, the line of a lasso, and what the mouse does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QVBoxLayout, QWidget
from vispy.scene import PanZoomCamera, SceneCanvas

from napari_cellclass.core.selection.lasso import nearest_point, points_inside
from napari_cellclass.viewer.features.selected_tiles import SELECTED_COLOUR
from napari_cellclass.widgets.scatter.highlights import Highlights
from napari_cellclass.widgets.scatter.point_cloud import PointCloud

_POINT_PX, _SELECTED_PX = 5.0, 7.0
_CLICK_PX = 4.0  # smaller movements during a click are no lasso
_REACH_PX = 10.0  # from a click to the point that is meant
_STEP_PX = 2.0  # between two corners of a lasso
_MARGIN = 0.05  # around all points, as a fraction of their extent


class _LassoLine(QWidget):
    """The line that is being drawn, over the canvas: the points behind it need not be drawn again for each movement."""

    def __init__(self, over: QWidget) -> None:
        super().__init__(over)
        self._corners: list[tuple[float, float]] = []
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def show_line(self, corners: list[tuple[float, float]]) -> None:
        """Draw a line through corners in px, and back to the first."""
        self._corners = corners
        self.setGeometry(self.parentWidget().rect())
        self.setVisible(len(corners) > 1)
        self.update()

    def paintEvent(self, event: Any) -> None:
        """Draw it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for colour, width in (("black", 4), (SELECTED_COLOUR, 2)):
            painter.setPen(QPen(QColor(colour), width))
            painter.drawPolygon(QPolygonF([QPointF(*corner) for corner in self._corners]))
        painter.end()


class ScatterCanvas(QWidget):
    """Points that can be chosen by a line drawn around them, or by a click.

    A drag draws the line, and with Shift adds to what is chosen; the right or the middle button moves the plot, the
    wheel zooms, a double click shows all.

    ``lassoed`` is sent with the indices of the points inside and whether they are added; ``clicked`` with the index of
    a point, or -1 for a click beside all.
    """

    lassoed = Signal(object, bool)
    clicked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._canvas = SceneCanvas(keys=None, parent=self, size=(380, 380), create_native=True)
        self._view = self._canvas.central_widget.add_view()
        self._view.camera = PanZoomCamera()
        self._view.camera.interactive = False  # the mouse is ours
        self._all = PointCloud(parent=self._view.scene)
        self._highlights, self._lasso = Highlights(self.native), _LassoLine(self.native)
        self._current: int | None = None
        self.xy: NDArray[np.float32] = np.zeros((0, 2), np.float32)
        self._rgba: NDArray[np.float32] = np.zeros((0, 4), np.float32)
        self.chosen: NDArray[np.int64] = np.zeros(0, np.int64)
        self._path: list[tuple[float, float]] = []
        self._pressed: Any = None
        self.native.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.native)
        for name, action in (
            ("mouse_press", self._on_press), ("mouse_move", self._on_move), ("mouse_release", self._on_release),
            ("mouse_wheel", self._on_wheel), ("mouse_double_click", self._on_double_click),
        ):  # fmt: skip
            getattr(self._canvas.events, name).connect(action)
        self._view.scene.transform.changed.connect(self._view_changed)

    @property
    def native(self) -> Any:
        """The widget of Qt that is drawn on."""
        return self._canvas.native

    # -- what is shown -----------------------------------------------------------------------------

    def set_points(self, xy: NDArray[np.float32], rgba: NDArray[np.float32], keep_view: bool = False) -> None:
        """Show points at these positions and in these colours; nothing is chosen any more."""
        self.xy, self._rgba = xy, rgba
        self._all.set_points(xy, rgba, _point_px(len(xy)))
        self.choose(np.zeros(0, np.int64))
        self.mark(None)
        if not keep_view:
            self.show_most()

    def set_colours(self, rgba: NDArray[np.float32]) -> None:
        """Colour the points anew."""
        self._rgba = rgba
        self._all.set_colours(rgba)
        self._show_chosen()

    def set_background(self, colour: str) -> None:
        """Draw on another colour, as the theme asks for."""
        self._canvas.bgcolor = colour
        self._highlights.background = QColor(colour)
        self._highlights.update()

    def choose(self, points: NDArray[np.int64]) -> None:
        """Light these points up, and dim all others; none for no choice."""
        self.chosen = points
        self._show_chosen()

    def _show_chosen(self) -> None:
        larger = _point_px(len(self.xy)) + _SELECTED_PX - _POINT_PX
        self._highlights.show_points(self.screen_points(self.xy[self.chosen]), self._rgba[self.chosen], larger)

    def mark(self, point: int | None) -> None:
        """Put a ring around the point of the current tile."""
        self._current = point
        self._highlights.show_ring(None if point is None else self.screen_points(self.xy[[point]])[0])

    def _view_changed(self, event: Any = None) -> None:
        """Let what lies over the points move with them."""
        if len(self.chosen):
            self._show_chosen()
        if self._current is not None:
            self.mark(self._current)

    def show_all(self) -> None:
        """Let all points fit into the plot."""
        if not len(self.xy):
            return
        self._fit(self.xy.min(axis=0).astype(float), self.xy.max(axis=0).astype(float))

    def show_most(self) -> None:
        """Let the points fit into the plot but for those far from all others, which would squeeze them."""
        if len(self.xy):
            self._fit(*usual_range(self.xy))

    @property
    def outside(self) -> int:
        """How many points are far from all others, and so outside the view that the plot begins with."""
        if not len(self.xy):
            return 0
        low, high = usual_range(self.xy)
        return int(((self.xy < low) | (self.xy > high)).any(axis=1).sum())

    def _fit(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        extent = np.where(high > low, high - low, 1.0)
        low, extent = low - _MARGIN * extent, extent * (1 + 2 * _MARGIN)
        self._view.camera.rect = (*low, *extent)

    def screen_points(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Return points of the plot as points of the canvas, float64 (n, 2), in px."""
        return np.asarray(self._view.scene.transform.map(np.asarray(points, float).reshape(-1, 2)))[:, :2]

    def plot_points(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Return points of the canvas, in px, as points of the plot, float64 (n, 2)."""
        return np.asarray(self._view.scene.transform.imap(np.asarray(pixels, float)))[:, :2]

    # -- the mouse ---------------------------------------------------------------------------------

    def _on_press(self, event: Any) -> None:
        self.native.setFocus()
        self._pressed = (event.button, tuple(event.pos))
        self._path = [tuple(event.pos)]

    def _on_move(self, event: Any) -> None:
        if self._pressed is None:
            return
        position, before = tuple(event.pos), self._path[-1]
        if self._pressed[0] != 1:
            one, other = self.plot_points(np.array([before, position]))
            self._view.camera.pan(one - other)
            self._path = [position]
        elif np.abs(np.subtract(position, before)).max() >= _STEP_PX:
            self._path.append(position)
            self._lasso.show_line(self._path)

    def _on_release(self, event: Any) -> None:
        if self._pressed is None:
            return
        (button, pressed), self._pressed = self._pressed, None
        self._lasso.show_line([])
        if button != 1:
            return
        path = np.array([*self._path, tuple(event.pos)], float)
        adding = any(key.name == "Shift" for key in event.modifiers)
        if np.abs(path - pressed).max() <= _CLICK_PX:
            self.clicked.emit(self._point_at(pressed))
        else:
            self.lassoed.emit(points_inside(self.xy, self.plot_points(path)), adding)

    def _point_at(self, position: tuple[float, float]) -> int:
        here, there = self.plot_points(np.array([position, np.add(position, _REACH_PX)]))
        found = nearest_point(self.xy, (float(here[0]), float(here[1])), tuple(np.abs(there - here)))
        return -1 if found is None else found

    def _on_wheel(self, event: Any) -> None:
        centre = self.plot_points(np.array([event.pos]))[0]
        self._view.camera.zoom(1.2 ** -event.delta[1], centre)

    def _on_double_click(self, event: Any) -> None:
        self._pressed = None
        self.show_all()

    def close_down(self) -> None:
        """Let go of OpenGL."""
        self._canvas.close()


def usual_range(xy: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners of the box that holds the points but for those far outside the middle 90 % on an axis.

    Far is farther than half the width of these; without such points it is the box around all.

    Parameters
    ----------
    xy
        Shape (N, 2), N > 0.
    """
    low, high = np.percentile(xy.astype(np.float64), (5, 95), axis=0)
    beyond = 0.5 * (high - low)
    inside = ((xy >= low - beyond) & (xy <= high + beyond)).all(axis=1)
    kept = xy[inside] if inside.any() else xy
    return kept.min(axis=0).astype(np.float64), kept.max(axis=0).astype(np.float64)


def _point_px(n: int) -> float:
    """Give the size of points: smaller where there are many."""
    return float(np.clip(_POINT_PX * (20_000 / max(n, 1)) ** 0.25, 3.0, 8.0))
