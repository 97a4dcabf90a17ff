"""Chooses a model file and opens it outside the window's thread; what a ``.keras`` file lacks is asked."""

from __future__ import annotations

from pathlib import Path

from magicgui.widgets import FileEdit
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDialog, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.runs.common.engine_access import KerasDetails, KerasDetailsError
from napari_cellclass.widgets.classify import work
from napari_cellclass.widgets.classify.model_export import ModelExport
from napari_cellclass.widgets.classify.model_origin import show_origin
from napari_cellclass.widgets.common.jobs import start_job
from napari_cellclass.widgets.common.keras_dialog import KerasDialog
from napari_cellclass.widgets.common.text import WrappedLabel


class ModelChoice(QWidget):
    """A model file, what is in it, and where it comes from.

    ``ready`` is sent with the :class:`ModelBundle` once it is open.
    """

    ready = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.model: ModelBundle | None = None
        self._requests = 0
        self.path = FileEdit(
            filter="Models (*.cellclass *.keras)",
            tooltip="a .cellclass or .keras file; may also be dropped onto the window",
        )
        self.text, self.origin_text = WrappedLabel("no model chosen"), WrappedLabel()
        self.export = ModelExport()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.path.native, self.text, self.origin_text, self.export):
            column.addWidget(widget)
        self.origin_text.setVisible(False)
        self.path.changed.connect(lambda _: self._load())

    def choose(self, path: Path | str) -> None:
        """Choose a model, as if its path had been typed."""
        if Path(self.path.value) == Path(path):
            self._load()  # the same file may hold another model by now
        self.path.value = Path(path)

    def forget(self) -> None:
        """Answer no request that is under way."""
        self._requests += 1

    def _load(self, keras_details: KerasDetails | None = None) -> None:
        self.model = None
        self.export.set_model(None)
        self.origin_text.setVisible(False)
        self._requests += 1
        path = Path(self.path.value)
        if path.is_dir() or not path.name:
            self.text.setText("no model chosen")
            return
        number = self._requests
        self.text.setText("opening …")
        job = start_job(work.load, owner=self, path=path, keras_details=keras_details)
        job.returned.connect(lambda model: self._opened(model) if number == self._requests else None)
        job.failed.connect(lambda error: self._failed(error, path) if number == self._requests else None)

    def _opened(self, model: ModelBundle) -> None:
        self.model = model
        m = model.manifest
        self.text.setText(
            f"{m.network}: {', '.join(model.scheme.names)}; tiles of {m.tile_px[1]} x {m.tile_px[0]} px, "
            f"{counted(model.preprocess.channels, 'channel')}{'; also in int8' if model.has_int8 else ''}"
        )
        show_origin(self.origin_text, model)
        self.export.set_model(model.path, Path(self.path.value))
        self.ready.emit(model)

    def _failed(self, error: CellClassError, path: Path) -> None:
        if isinstance(error, KerasDetailsError):
            dialog = KerasDialog(error.info, path.name, self)
            if dialog.exec() == QDialog.DialogCode.Accepted:
                self._load(dialog.details())
                return
            self.text.setText("no model chosen: its classes are not named")
        else:
            self.text.setText(str(error))
