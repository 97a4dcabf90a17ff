"""The button that writes the chosen model for other programs, and what came of it."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.params.export import ENDINGS
from napari_cellclass.widgets.classify import work
from napari_cellclass.widgets.common.jobs import Job, start_job
from napari_cellclass.widgets.common.text import WrappedLabel

_KINDS = {"ONNX, with a script for QuPath": ENDINGS["onnx"], "Package of bioimage.io": ENDINGS["bioimageio"]}


class ModelExport(QWidget):
    """Exports a ``.cellclass`` model; hidden while none is chosen."""

    def __init__(self) -> None:
        super().__init__()
        self._model: Path | None = None
        self._chosen = Path()
        self.button = QPushButton("Export model …")
        self.button.setToolTip("write the model as ONNX with a script for QuPath, or as a package of bioimage.io")
        self.text = WrappedLabel()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.button)
        column.addWidget(self.text)
        self.button.clicked.connect(self._ask)
        self.set_model(None)

    def set_model(self, path: Path | None, chosen: Path = Path()) -> None:
        """Offer the export of a model that is open, beside the file that was chosen; None where none is."""
        self._model, self._chosen = path, chosen
        self.setVisible(path is not None)
        self.text.setVisible(False)

    def _ask(self) -> None:
        kinds = ";;".join(f"{name} (*{ending})" for name, ending in _KINDS.items())
        start = self._chosen.with_name(self._chosen.stem + ENDINGS["onnx"])
        name, kind = QFileDialog.getSaveFileName(self, "Export model", str(start), kinds)
        if name:
            ending = kind[kind.find("(*") + 2 : -1] or ENDINGS["onnx"]
            self.export(Path(name if name.lower().endswith(tuple(_KINDS.values())) else name + ending))

    def export(self, path: Path) -> Job:
        """Write the model; what the dialog has asked about is written over."""
        assert self._model is not None
        self.button.setEnabled(False)
        self._show("exporting …")
        job = start_job(work.export_model, owner=self, model=self._model, path=path)
        job.returned.connect(lambda lines: self._show("\n".join(lines)))
        job.failed.connect(self._failed)
        job.finished.connect(lambda: self.button.setEnabled(True))
        return job

    def _failed(self, error: CellClassError) -> None:
        self._show(str(error))

    def _show(self, text: str) -> None:
        self.text.setText(text)
        self.text.setVisible(True)
