"""Asks for what a plain ``.keras`` file does not contain: class names, grey-value range, tile size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.runs.common.engine_access import KerasDetails, KerasDetailsError
from napari_cellclass.widgets.common.job_panel import JobPanel
from napari_cellclass.widgets.common.text import WrappedLabel

_RANGES = {"0 to 1 (grey values are divided by 255)": 255.0, "0 to 255, as they are": 1.0}


class KerasDialog(QDialog):
    """A dialog with one name per class, the range of the input and, where it is not fixed, the tile size.

    Parameters
    ----------
    info
        Of :func:`inspect_keras_file`: ``outputs``, ``input_shape`` and ``has_rescaling``.
    name
        The file's name.
    """

    def __init__(self, info: Any, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("A Keras model")
        layout = QVBoxLayout(self)
        text = WrappedLabel(
            f"{name} does not say what its outputs mean, or which grey values it expects. "
            "Name the classes in the order of training (Keras sorts class folders by name)."
        )
        layout.addWidget(text)
        fields = QFormLayout()
        self.names = [QLineEdit(f"class {i + 1}") for i in range(max(2, info.outputs))]
        for i, field in enumerate(self.names):
            fields.addRow(f"output {i}", field)
        self.range: QComboBox | None = None
        if not info.has_rescaling:
            self.range = QComboBox()
            self.range.addItems(list(_RANGES))
            fields.addRow("input range", self.range)
        self.tile_px: QSpinBox | None = None
        if None in info.input_shape[:2]:
            self.tile_px = QSpinBox()
            self.tile_px.setRange(8, 1024)
            self.tile_px.setValue(128)
            self.tile_px.setSuffix(" px")
            fields.addRow("tile size", self.tile_px)
        layout.addLayout(fields)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout.addWidget(buttons)
        self.setMinimumWidth(380)

    def details(self) -> KerasDetails:
        """Give what was filled in."""
        return KerasDetails(
            tuple(field.text().strip() for field in self.names),
            None if self.range is None else _RANGES[self.range.currentText()],
            None if self.tile_px is None else self.tile_px.value(),
        )


def run_with_keras_details(
    panel: JobPanel, work: Callable[..., Any], returned: Callable[[Any], None], request: Any, parent: QWidget
) -> None:
    """Run a request in a panel; what a ``.keras`` file does not contain is asked for, and the request run again.

    Parameters
    ----------
    panel, work, returned
        See :meth:`JobPanel.run`; ``work`` takes ``request``.
    request
        A frozen dataclass with ``params``, whose ``model`` is the file, and ``keras_details``.
    parent
        The dialog's.
    """
    panel.run(work, returned, request=request)
    job = panel.job
    assert job is not None

    def ask(error: CellClassError) -> None:
        if isinstance(error, KerasDetailsError):
            dialog = KerasDialog(error.info, request.params.model.name, parent)
            if dialog.exec() == QDialog.DialogCode.Accepted:
                again = replace(request, keras_details=dialog.details())
                # Only once the failed job has ended.
                job.finished.connect(lambda: run_with_keras_details(panel, work, returned, again, parent))

    job.failed.connect(ask)
