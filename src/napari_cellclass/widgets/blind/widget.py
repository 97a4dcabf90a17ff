"""The widget *Blinded reading*: a person classifies test tiles, knowing nothing but their pixels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QDockWidget,
    QFileDialog,
    QGridLayout,
    QMainWindow,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.blind.results import BlindResult
from napari_cellclass.core.blind.session import BlindSession, Reading
from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Progress
from napari_cellclass.viewer.features.blind_view import BlindView
from napari_cellclass.widgets.blind import work
from napari_cellclass.widgets.blind.results import BlindResults
from napari_cellclass.widgets.blind.setup import BlindSetup
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.job_panel import ProgressBar
from napari_cellclass.widgets.common.jobs import Job, Steps, start_job
from napari_cellclass.widgets.common.key_list import KeyList, help_text
from napari_cellclass.widgets.common.layer_removal import fix_layer_removal
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.results.window import ResultsWindow
from napari_cellclass.widgets.common.text import WrappedLabel
from napari_cellclass.widgets.common.window_parts import main_window

if TYPE_CHECKING:
    from napari.viewer import Viewer


class BlindWidget(DockedWidget):
    """Read test tiles blinded, then compare with the ground truth, with repeats, with other readers and with a network.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    display_name = "Blinded reading"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        fix_layer_removal(self, napari_viewer)
        self.session: BlindSession | None = None
        self.reading: Reading | None = None
        self.job: Job | None = None
        self._view: BlindView | None = None
        self._coming_back: Steps | None = None
        self._docks: list[QDockWidget] = []
        self._window: QMainWindow | None = None
        self._keys: dict[str, Any] = {}
        self._shown_at = 0.0
        self._note = ""  # warnings that are shown as long as a session is read
        self._build()
        self.viewer.layers.events.removed.connect(self._layer_removed)
        self._show_message(self.setup.offer())

    def _build(self) -> None:
        self.setup = BlindSetup()
        self.start_button, self.cancel_button = QPushButton("Start"), QPushButton("Cancel")
        self.message, self.seal, self.keys = WrappedLabel(), WrappedLabel(), KeyList()
        self.bar = ProgressBar()
        self.class_box = QWidget()
        self._class_grid = QGridLayout(self.class_box)
        self._class_grid.setContentsMargins(0, 0, 0, 0)
        self.class_buttons: list[QPushButton] = []
        self.back_button, self.pause_button = QPushButton("Back"), QPushButton("Pause")
        self.back_button.setToolTip("Backspace: show the previous tile again")
        self.reveal_button = QPushButton("Reveal")
        self.results = BlindResults()
        self.window_of_results = ResultsWindow(self, self.display_name, self.results)
        for button in (self.back_button, self.pause_button, self.reveal_button):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys still reach the tile
        self._reading_page = QWidget()
        page = QVBoxLayout(self._reading_page)
        page.setContentsMargins(0, 0, 0, 0)
        page.addWidget(self.class_box)
        page.addWidget(self.keys)
        page.addLayout(row_of(self.back_button, self.pause_button))
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.addWidget(self.setup)
        column.addLayout(row_of(self.start_button, self.cancel_button))
        for widget in (self.message, self.bar, self._reading_page, self.reveal_button, self.seal):
            column.addWidget(widget)
        column.addWidget(self.window_of_results.summary)
        column.addStretch(1)
        self.fill(inner, 400)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setup.changed.connect(lambda: self._show_message(self.setup.offer()))
        self.setup.refused.connect(lambda why: self._show_message(why, True))
        self.start_button.clicked.connect(self.start)
        self.cancel_button.clicked.connect(lambda: self.job.cancel() if self.job else None)
        self.back_button.clicked.connect(self.back)
        self.pause_button.clicked.connect(self.pause)
        self.reveal_button.clicked.connect(self.reveal)
        self.results.export_button.clicked.connect(self._ask_export)
        self._show_state()

    # -- start, pause, continue ----------------------------------------------------------------------

    def start(self) -> None:
        """Draw a new session, or continue the chosen one."""
        self.results.clear_result()
        self.window_of_results.drop_results()
        try:
            if not self.setup.reader.text().strip():
                raise CellClassError("the reader has no name; fill it in, the results are listed by it")
            session, self._note = self.setup.session(), ""
            if session is not None:
                self.read(session)
                return
            request = self.setup.request()
        except CellClassError as error:
            self._show_message(str(error), True)
            return
        self._run(work.draw, self._drawn, request=request)

    def _drawn(self, found: tuple[BlindSession, tuple[str, ...]]) -> None:
        session, warnings = found
        self._note = " ".join(f"Note: {text}." for text in warnings)
        self.setup.refresh(session)
        try:
            self.read(session)
        except CellClassError as error:
            self._show_message(str(error), True)
            return
        if self._note:
            self._show_message(f"{self.message.text()} {self._note}", True)

    def read(self, session: BlindSession) -> None:
        """Show the next tile of a session to the reader whose name is filled in.

        Raises
        ------
        CellClassError
            It cannot be read, see :meth:`BlindSession.reading`.
        """
        reading = session.reading(self.setup.reader.text())
        if reading.complete:
            self._show_message(
                f"{reading.reader} has read all {session.total} tiles of this session. {self.setup.offer()}"
            )
            return
        picture = reading.tile_image()
        self._finish_coming_back()  # else only what is back already would come back after this reading
        self.session, self.reading = session, reading
        self.setup.forget()
        self._make_buttons(session)
        keys = {
            key.strip().lower(): lambda i=i: self.answer(i) for i, key in enumerate(session.scheme.keys) if key.strip()
        }
        self._keys = keys | {"Backspace": self.back}
        named = zip(session.scheme.keys, session.scheme.names, strict=True)
        described = [*((key.strip(), name) for key, name in named if key.strip()), ("Backspace", "back")]
        self.keys.show_keys(described)
        self._view = BlindView(
            self.viewer, self._keys, help_text(described),
            lambda key: self._show_message(f"The key {key!r} belongs to no class."),
        )  # fmt: skip
        self._hide_docks()
        self.seal.setText("seal " + " ".join(session.seal[i : i + 8] for i in range(0, 64, 8)))
        self.seal.setToolTip("SHA-256 of the sealed order and classes: the same at the end, unless they were changed")
        self._show_picture(picture)
        self._show_state()
        hidden = "Open layers and other panels are hidden and come back afterwards." if self._view.hidden else ""
        self._show_message(f"Press a class's key: it classifies the tile and shows the next. {hidden}")
        self.setFocus()

    def _make_buttons(self, session: BlindSession) -> None:
        for button in self.class_buttons:
            self._class_grid.removeWidget(button)
            button.deleteLater()
        self.class_buttons = []
        for i, (name, key) in enumerate(zip(session.scheme.names, session.scheme.keys, strict=True)):
            button = QPushButton(f"{key.strip()}  {name}".strip())
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(lambda _=False, i=i: self.answer(i))
            self._class_grid.addWidget(button, i // 2, i % 2)
            self.class_buttons.append(button)

    def pause(self) -> None:
        """Remove the tile from view; every answer is on disk, and Start continues."""
        if self._view is None:
            return
        self._end_view()
        assert self.session is not None
        self.setup.refresh(self.session)
        self._show_state()

    def _end_view(self) -> None:
        view, self._view = self._view, None
        if view is not None:
            self.keys.show_keys(())
            self._coming_back = Steps(self, self._bring_back(view))

    def _bring_back(self, view: BlindView) -> Iterator[None]:
        """Bring back what was hidden, one after another."""
        yield from view.restore()
        yield
        shown, self._docks = self._docks, []
        for dock in shown:
            if self._window is not None and dock in self._window.findChildren(QDockWidget):
                dock.setVisible(True)
                yield
        for results in self._other_results():
            results.come_back()
        self._coming_back = None

    def _finish_coming_back(self) -> None:
        if self._coming_back is not None:
            self._coming_back.do_now()

    def _hide_docks(self) -> None:
        self._window = main_window(self)
        docks = [] if self._window is None else self._window.findChildren(QDockWidget)
        self._docks = [dock for dock in docks if dock.isVisible() and not dock.isAncestorOf(self)]
        for dock in self._docks:
            dock.setVisible(False)
        for results in self._other_results():
            results.step_back()

    def _other_results(self) -> list[ResultsWindow]:
        """Give the windows with results of other docks, which may show the classes of tiles."""
        found = [] if self._window is None else self._window.findChildren(ResultsWindow)
        return [one for one in found if one is not self.window_of_results]

    def _layer_removed(self, event: Any = None) -> None:
        if self._view is not None and not self._view.is_in_viewer:
            self.pause()

    # -- reading ------------------------------------------------------------------------------------

    def answer(self, label: int) -> None:
        """Record a class for the tile that is shown, and show the next."""
        if self._view is None or self.reading is None:
            return
        try:
            self.reading.record(label, time.monotonic() - self._shown_at)
        except CellClassError as error:
            self._show_message(str(error), True)
            return
        if self.reading.complete:
            self.pause()
        else:
            self._next()

    def back(self) -> None:
        """Show the previous tile again."""
        if self._view is None or self.reading is None:
            return
        try:
            if self.reading.undo():
                self._next()
        except CellClassError as error:
            self._show_message(str(error), True)

    def _next(self) -> None:
        assert self.reading is not None
        try:
            self._show_picture(self.reading.tile_image())
        except CellClassError as error:
            self.pause()
            self._show_message(str(error), True)
            return
        self._show_progress()
        self._show_message(self._note, bool(self._note))

    def _show_picture(self, picture: Any) -> None:
        assert self._view is not None
        self._view.show(picture)
        self._shown_at = time.monotonic()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Accept the same keys as the canvas, for a reader who has clicked into this panel."""
        if event is None:
            return
        name = "Backspace" if event.key() == Qt.Key.Key_Backspace else event.text().lower()
        if self._view is None or name not in self._keys or event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            super().keyPressEvent(event)
        elif not event.isAutoRepeat():  # a key that is held down would classify tiles that nobody has seen
            self._keys[name]()

    # -- the end ------------------------------------------------------------------------------------

    def reveal(self) -> None:
        """Show the results, once every tile is read."""
        session = self.session if self._view is not None else self.setup.session()
        if session is None:
            self._show_message("No session is chosen; there is nothing to reveal.", True)
            return
        try:
            session.check_complete()
        except CellClassError as error:
            self._show_message(f"Not yet: {error}.", True)
            return
        self._run(work.results, self._revealed, session=session)

    def _revealed(self, result: BlindResult) -> None:
        self.results.show_result(result)
        self.window_of_results.set_headline(result.headline())
        self.window_of_results.open_results()
        self.setup.refresh(self.setup.session())
        read = f"{counted(len(result.tiles), 'tile')} of {counted(result.groups, 'group')}"
        self._show_message(f"{read}, with 95 % confidence intervals.")

    def _ask_export(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Export the results", "blinded-reading.json", "JSON (*.json)")
        if name:
            self.export(Path(name))

    def export(self, path: Path) -> None:
        """Write the results that are shown, as JSON and CSV."""
        if self.results.result is not None:
            self._run(work.export, self._exported, result=self.results.result, path=path)

    def _exported(self, paths: list[Path]) -> None:
        self._show_message(f"Wrote {', '.join(path.name for path in paths)} in {paths[0].parent}.")

    # -- what is shown ------------------------------------------------------------------------------

    def _run(self, function: Any, returned: Any, **kwargs: Any) -> None:
        self.job = start_job(function, owner=self, **kwargs)
        self.job.progressed.connect(self._progressed)
        self.job.returned.connect(returned)
        self.job.failed.connect(lambda error: self._show_message(str(error), True))
        self.job.cancelled.connect(lambda: self._show_message("Cancelled."))
        self.job.finished.connect(self._show_state)
        self._show_state()

    def _progressed(self, update: Progress) -> None:
        if self.job is not None and self.job.running:
            self.bar.setRange(0, update.total)
            self.bar.setValue(update.done)
            self._show_message(f"{update.phase[:1].upper()}{update.phase[1:]} ...")

    def _show_state(self) -> None:
        busy, reading = self.job is not None and self.job.running, self._view is not None
        self.setup.setVisible(not reading and not busy)
        self.start_button.setVisible(not reading)
        self.start_button.setEnabled(not busy)
        self.cancel_button.setVisible(busy)
        self._reading_page.setVisible(reading)
        self.bar.setVisible(busy or reading)
        self.bar.setFormat("tile %v of %m" if reading else "%p%")
        self.reveal_button.setEnabled(not busy)
        self.seal.setVisible(reading)
        self._show_progress()

    def _show_progress(self) -> None:
        if self._view is not None and self.reading is not None and self.session is not None:
            self.bar.setRange(0, self.session.total)
            self.bar.setValue(self.reading.position + 1)
            self.back_button.setEnabled(self.reading.position > 0)

    def _show_message(self, text: str, warn: bool = False) -> None:
        self.message.show_text(text, warn)

    def close_down(self, window_stays: bool) -> None:
        """Show the viewer's layers again; answers are on disk already."""
        if self.job is not None and self.job.running:
            self.job.cancel()
            self.job.wait(5)
        self._end_view()
        self._finish_coming_back()
        self.results.close_down()
        self.window_of_results.close()
        self.viewer.layers.events.removed.disconnect(self._layer_removed)
