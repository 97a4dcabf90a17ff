"""The header of the dock: which field, tiles of which size, and the classes."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from math import prod
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.tile_size import USUAL_PX
from napari_cellclass.viewer.common.layers import file_of, image_from_layers, plane_of, proposal_of
from napari_cellclass.viewer.common.map_view import FieldLayer, warm_up
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.viewer.workspace.opening import HIDDEN, OpenedField, first_scheme, open_field
from napari_cellclass.viewer.workspace.project_session import ProjectImage
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.choices.channel_line import ChannelLine
from napari_cellclass.widgets.common.choices.layer_choice import ImageChoice
from napari_cellclass.widgets.common.jobs import Job, start_job
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel
from napari_cellclass.widgets.workspace.chips import ClassChips
from napari_cellclass.widgets.workspace.group_line import GroupLine
from napari_cellclass.widgets.workspace.project_bar import ProjectBar

if TYPE_CHECKING:
    from napari.viewer import Viewer

_MOST_READ_UNASKED = 1 << 28  # pixel values: every one is read to identify a field
_NOTE_MS = 12_000  # a note is read, and leaves its place to the page below
_SETTLES_MS = 250  # a number that is being typed, a slider that is being moved


def _open(task: Task, **kwargs: Any) -> OpenedField:
    """Open a field, and have napari ready for its layers; in a thread."""
    warm_up()
    return open_field(task=task, **kwargs)


class Header(QWidget):
    """Opens the field that is chosen: its grid is shown at once, and follows the tile size.

    ``opened`` is sent with the :class:`OpenedField` once it is in the viewer, ``failed`` with the reason why a field
    could not be opened, ``field_shown`` with the :class:`ProjectImage` of a project that is being opened.

    Parameters
    ----------
    viewer, workspace
        The viewer, and the work in it.
    """

    opened = Signal(object)
    failed = Signal(str)
    field_shown = Signal(object)

    def __init__(self, viewer: Viewer, workspace: Workspace) -> None:
        super().__init__()
        self.viewer, self.workspace = viewer, workspace
        self._job: Job | None = None
        self._steps: Generator[None] | None = None
        self._request: tuple[Any, ...] = ()
        self._size_chosen = False
        self._usual_px: int | None = None
        self.project = ProjectBar(workspace)
        self.images = ImageChoice(viewer)
        self.channels = ChannelLine(self.images)
        self.tile_px, self.overlap = QSpinBox(), QDoubleSpinBox()
        self.tile_px.setRange(1, 65536)
        self.tile_px.setValue(USUAL_PX)
        self.tile_px.setSuffix(" px")
        self.tile_px.setToolTip("side of a tile; the grid over the image follows it")
        self.overlap.setRange(0, 0.95)
        self.overlap.setSingleStep(0.05)
        self.overlap.setToolTip("fraction of a tile that is shared with its neighbour")
        for box in (self.tile_px, self.overlap):
            box.setKeyboardTracking(False)
        self.groups = GroupLine(workspace, self.images)
        self.chips = ClassChips(workspace)
        self.note, self.message = WrappedLabel(selectable=False), WrappedLabel(selectable=False)
        self.show_labels, self.start_button = QPushButton("Show labels"), QPushButton("Start labelling")
        self.start_button.setToolTip("read the whole field once, to identify it, and lay the grid over it")
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 0)
        column.setSpacing(3)
        column.addWidget(self.project)
        column.addLayout(row_of(QLabel("field"), self.images, self.channels.brief))
        column.addWidget(self.channels)
        column.addLayout(row_of(QLabel("tiles"), self.tile_px, QLabel("overlap"), self.overlap))
        for widget in (self.note, self.groups, self.chips, self.message, self.show_labels, self.start_button):
            column.addWidget(widget)
        self.show_labels.setVisible(False)
        self.start_button.setVisible(False)
        self.message.reserve_lines(2)  # the tabs below must not jump
        self._note_timer = QTimer(self)
        self._note_timer.setSingleShot(True)
        self._note_timer.setInterval(_NOTE_MS)
        self._note_timer.timeout.connect(self.note.hide)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.open_chosen)
        self._begun = False
        self._connect()

    def begin(self) -> None:
        """Open what is chosen, from now on: whoever wants to know of opened fields is connected by now."""
        self._begun = True
        self._open_soon(0)

    def _connect(self) -> None:
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._layers_changed)
        self.viewer.dims.events.current_step.connect(self._plane_changed)
        self.images.itemChanged.connect(lambda _: self._open_soon())
        self.channels.answered.connect(self._open_soon)
        self.tile_px.valueChanged.connect(self._size_changed)
        self.overlap.valueChanged.connect(lambda _: self._open_soon())
        self.show_labels.clicked.connect(self._show_labels)
        self.start_button.clicked.connect(lambda: self.open_chosen(asked=True))
        self.workspace.message.connect(self.show_message)
        self.project.opened.connect(self._project_opened)
        self.project.field_read.connect(self._show_field)

    def disconnect_viewer(self) -> None:
        """Listen to the viewer no more."""
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.disconnect(self._layers_changed)
        self.viewer.dims.events.current_step.disconnect(self._plane_changed)
        self._stop_opening()
        self.project.close_down()
        self._timer.stop()
        self._note_timer.stop()

    def show_message(self, text: str, warn: bool = False) -> None:
        """Show a text to the user."""
        self.message.show_text(text, warn)

    # -- what is chosen ----------------------------------------------------------------------------

    def suggest_tiles(self, tile_px: int, overlap: float) -> None:
        """Take the size and overlap of a model's tiles, unless a user has chosen a size."""
        self._usual_px = tile_px
        if not self._size_chosen:
            self._set_side(tile_px)
            self.overlap.setValue(overlap)
            self._forget_request()
            self._open_soon()

    def _size_changed(self, value: int) -> None:
        self._size_chosen = True
        self._forget_request()
        self._open_soon()

    def _layers_changed(self, event: Any = None) -> None:
        self.images.refresh()
        layers = self.workspace.layers
        self.show_labels.setVisible(layers is not None and not layers.is_in_viewer() and not self._is_job_running())
        self._open_soon(0)

    def _plane_changed(self, event: Any = None) -> None:
        chosen = self.images.chosen()
        source = self.workspace.source
        if source is not None and plane_of(chosen[:1], self.viewer.dims.point) != dict(source.plane):
            self._open_soon()

    def _show_labels(self) -> None:
        self.workspace.show_labels()
        self.show_labels.setVisible(False)

    # -- opening -----------------------------------------------------------------------------------

    @property
    def opening(self) -> bool:
        """Whether a field is about to be opened."""
        return self._timer.isActive() or self._is_job_running()

    def _is_job_running(self) -> bool:
        return self._job is not None and self._job.running

    def _open_soon(self, wait_ms: int = _SETTLES_MS) -> None:
        """Open what is chosen once nothing else has been for some time."""
        if self._begun:
            self._timer.start(wait_ms)

    def _forget_request(self) -> None:
        """Let what is being opened not be shown: its tiles would take the place of the size that was chosen since."""
        self._request = ()
        self._stop_opening()

    def _stop_opening(self) -> None:
        if self._job is not None:
            self._job.cancel()
        if self._steps is not None and inspect.getgeneratorstate(self._steps) != inspect.GEN_RUNNING:
            self._steps.close()
        self._job = self._steps = None

    def open_chosen(self, asked: bool = False) -> None:
        """Open the field that is chosen, unless it is open already, with its earlier labels.

        A very large one is opened only where that was asked for.
        """
        layers = self.images.chosen()
        self.start_button.setVisible(False)
        if not layers:
            self._close("Open an image, or one of File > Open Sample > Cell Class: the grid of tiles appears over it.")
            return
        try:
            source = image_from_layers(layers, self.viewer.dims.point)
        except CellClassError as error:
            self._fail(error)
            return
        request = (
            [str(layer.unique_id) for layer in layers], dict(source.plane), self.tile_px.value(), self.overlap.value(),
        )  # fmt: skip
        if request == self._request and (self.workspace.annotation is not None or self._is_job_running()):
            return
        if not asked and prod(source.shape) * source.channels > _MOST_READ_UNASKED:
            self._close(f"{source.name} is large; Run works at once, labelling reads all of it first.")
            self.start_button.setVisible(True)
            return
        self._request = request
        self._open(source, layers)

    def _open(self, source: SourceImage, layers: list[Any]) -> None:
        annotation = self.workspace.annotation
        self._stop_opening()
        self._job = job = start_job(
            _open, owner=self, source=source, journal=self.workspace.journal,
            tile_px=self.tile_px.value() if self._size_chosen else None, overlap=self.overlap.value(),
            scheme=first_scheme() if annotation is None else annotation.scheme,
            usual_px=self._usual_px, proposal=proposal_of(layers),
            path=None if self.workspace.session.project is None else file_of(layers),
        )  # fmt: skip
        self.start_button.setEnabled(False)
        job.finished.connect(lambda: self.start_button.setEnabled(True))
        job.returned.connect(lambda found: self._show(job, found, layers))
        job.failed.connect(lambda error: self._fail(error) if job is self._job else None)

    def _project_opened(self) -> None:
        """Take the tile size of the project, and make the field that is open one of it."""
        project = self.workspace.session.project
        if project is not None and project.grid.tile_px is not None:
            self._size_chosen = False
            self._set_side(project.grid.tile_px[0])
        self._forget_request()
        self._open_soon(0)

    def _show_field(self, image: ProjectImage) -> None:
        """Show a field of the project in place of the one before."""
        self._timer.blockSignals(True)
        layers = self.workspace.session.show(image)
        self.images.refresh()
        self.images.choose(layers)
        self._timer.blockSignals(False)
        self._forget_request()
        self._open_soon(0)
        self.field_shown.emit(image)

    def _set_side(self, side: int) -> None:
        self.tile_px.blockSignals(True)
        self.tile_px.setValue(side)
        self.tile_px.blockSignals(False)

    def _show(self, job: Job, found: OpenedField, layers: list[Any]) -> None:
        if job is not self._job:
            return  # another field or size was chosen since
        present = [unwrap(layer) for layer in self.viewer.layers]
        if not all(any(unwrap(layer) is one for one in present) for layer in layers):
            return
        if self.workspace.session.project is not None:
            try:
                found = self.workspace.session.take_in(found, self._size_chosen)
            except CellClassError as error:
                self._fail(error)
                return
        side = found.annotation.grid.tile_px[0]
        if self.tile_px.value() != side:
            self._set_side(side)
            self._request = (*self._request[:2], side, self._request[3])
        self._steps = self._show_in_steps(found, layers)
        job.show_in_steps(self._steps)

    def _show_in_steps(self, found: OpenedField, layers: list[Any]) -> Generator[None]:
        yield from self.workspace.open_in_steps(found.annotation, found.source, FieldLayer.of(layers[0]), layers)
        self.note.setText(" ".join(found.notes))
        self.note.setVisible(bool(found.notes))
        if not any(HIDDEN in note for note in found.notes):  # labels that are not shown are not to be forgotten
            self._note_timer.start()
        self.show_labels.setVisible(False)
        self.show_message("Press a class's key: it labels the tile in the frame and moves to the next.")
        self.opened.emit(found)

    def _fail(self, error: CellClassError) -> None:
        self._close(str(error), warn=True)
        self.failed.emit(str(error))

    def _close(self, text: str, warn: bool = False) -> None:
        """Show nothing of the field before: its labels and counts would look like those of this one."""
        self._request = ()
        self._stop_opening()
        if self.workspace.annotation is not None:
            self.workspace.close_field()
        self.note.setText("")
        self.note.hide()
        self.show_message(text, warn)
