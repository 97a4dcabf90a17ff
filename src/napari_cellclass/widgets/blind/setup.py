"""The start of a blinded reading: a new session from test tiles, or an earlier one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from magicgui.widgets import FileEdit
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.blind.session import BlindSession, list_sessions, user_session_folder
from napari_cellclass.core.common.errors import CellClassError, ParamsError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.params.blind import BlindParams
from napari_cellclass.widgets.blind.work import BlindRequest
from napari_cellclass.widgets.common.choices.settings_form import TrainForm
from napari_cellclass.widgets.common.forms import form
from napari_cellclass.widgets.common.help.button import beside_help
from napari_cellclass.widgets.common.layout import labelled

_NEW = "new session"


class BlindSetup(QWidget):
    """The form; ``changed`` is sent when another session is chosen."""

    changed = Signal()
    refused = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._elsewhere: list[BlindSession] = []
        self._found: list[BlindSession] = []
        self.sessions = QComboBox()
        self.sessions.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.sessions.setToolTip("draw a new session, or continue one of before")
        self.open_button = QPushButton("Open a session...")
        self.open_button.setToolTip("a session from another folder, NAME.blind, such as a colleague's")
        self.reader = QLineEdit()
        self.reader.setPlaceholderText("your name")
        self.reader.setToolTip("who reads; the results are listed by this name")
        self.data = FileEdit(mode="d", tooltip="a folder with one sub-folder per class")
        self.listed = QPushButton("List of tiles...")
        self.listed.setToolTip("choose a TILES.csv instead of a folder")
        self.cutting = TrainForm(["tile_px", "group_by"])
        self.model = FileEdit(
            filter="Models (*.cellclass *.keras)", tooltip="the network to compare with; may be empty"
        )
        self.draw = form(BlindParams, ["tiles", "repeats", "own_order"], {"own_order": "own order"})
        self.draw["own_order"].native.setText("each reader has a different one")
        self._new = QWidget()
        new = QVBoxLayout(self._new)
        new.setContentsMargins(0, 0, 0, 0)
        new.addLayout(labelled(("test tiles", self.data.native), ("", self.listed)))
        new.addWidget(self.cutting)
        new.addLayout(labelled(("compare with", self.model.native)))
        new.addLayout(labelled(*((field.label, field.native) for field in self.draw)))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(beside_help(self.sessions, "Blinded reading"))
        column.addWidget(self.open_button)
        column.addLayout(labelled(("reader", self.reader)))
        column.addWidget(self._new)
        self.sessions.currentIndexChanged.connect(self._chosen)
        self.open_button.clicked.connect(self._ask_session)
        self.listed.clicked.connect(self._ask_list)
        self.data.changed.connect(lambda _: self.cutting.fields["group_by"].offer_data(Path(_path_text(self.data))))
        self.refresh()

    def refresh(self, choose: BlindSession | None = None) -> None:
        """List the sessions again; the one given is chosen, or the last unfinished one."""
        self._found = [*self._elsewhere, *list_sessions(user_session_folder())]
        self.sessions.blockSignals(True)
        self.sessions.clear()
        self.sessions.addItem(_NEW)
        for session in self._found:
            self.sessions.addItem(_in_words(session))
        unfinished = [i for i, one in enumerate(self._found) if any(not r.complete for r in _readings(one))]
        wanted = [i for i, one in enumerate(self._found) if choose is not None and one.path == choose.path]
        self.sessions.setCurrentIndex(1 + (wanted or unfinished or [-1])[0])
        self.sessions.blockSignals(False)
        self._chosen()

    def _chosen(self) -> None:
        session = self.session()
        self._new.setVisible(session is None)
        if session is not None:
            unfinished = [reading.reader for reading in _readings(session) if not reading.complete]
            if unfinished:
                self.reader.setText(unfinished[0])
        self.changed.emit()

    def session(self) -> BlindSession | None:
        """Give the chosen session; None for a new one."""
        i = self.sessions.currentIndex() - 1
        return self._found[i] if i >= 0 else None

    def offer(self) -> str:
        """Describe what can be done with the chosen session."""
        session = self.session()
        if session is None:
            return "Fill in your name, choose test tiles whose class is known, and press Start."
        readings = _readings(session)
        for reading in readings:
            if not reading.complete:
                return (
                    f"The reading of {reading.reader} is not finished: {len(reading.responses)} of {session.total} "
                    "tiles are read. Press Start to continue."
                )
        if session.revealed is not None:
            return "This session was revealed; press Reveal to see its results again."
        if readings:
            return "Another reader may start; or press Reveal, after which nobody can."
        return "Nobody has read this session yet. Press Start."

    def request(self) -> BlindRequest:
        """Give what a new session is drawn from.

        Raises
        ------
        ParamsError
            No test tiles are chosen, or a number is out of range.
        """
        name = _path_text(self.data)
        if not name:
            raise ParamsError("no test tiles are chosen; choose a folder with one sub-folder of images per class")
        model = _path_text(self.model)
        params = BlindParams.checked(**{field.name: field.value for field in self.draw})
        return BlindRequest(Path(name), Path(model) if model else None, params=params, **self.cutting.values())

    def forget(self) -> None:
        """Empty the fields that show where the tiles come from."""
        for field in (self.data, self.model):
            field.line_edit.value = ""

    def open(self, path: Path) -> None:
        """Add a session of another folder to the list, and choose it.

        Raises
        ------
        BlindError
            It is no session, or damaged.
        """
        session = BlindSession(path)
        self._elsewhere = [session, *(one for one in self._elsewhere if one.path != path)]
        self.refresh(session)

    def _ask_session(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open a session", "", "Blinded readings (*.blind)")
        if name:
            try:
                self.open(Path(name))
            except CellClassError as error:
                self.refused.emit(str(error))

    def _ask_list(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "List of tiles", "", "Lists of tiles (*.csv)")
        if name:
            self.data.line_edit.value = name


def _readings(session: BlindSession) -> list[Any]:
    try:
        return session.readings()
    except CellClassError:
        return []  # the answers beside it belong to another session: reported when it is read or revealed


def _in_words(session: BlindSession) -> str:
    when: datetime = session.created.astimezone()
    states = [
        f"{reading.reader} done"
        if reading.complete
        else f"{reading.reader} {len(reading.responses)} of {session.total}"
        for reading in _readings(session)
    ]
    return f"{when:%d %b %H:%M}, {counted(session.tiles, 'tile')}: " + (", ".join(states) or "not read yet")


def _path_text(field: FileEdit) -> str:
    text = str(field.line_edit.value).strip()
    return "" if text == "." else text
