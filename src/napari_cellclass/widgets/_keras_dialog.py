"""Asks for what a plain ``.keras`` file does not tell: its class names and its grey-value range."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

_RANGES = {"0 to 1 (grey values are divided by 255)": 255.0, "0 to 255, as they are": 1.0}


class KerasDialog(QDialog):
    """A dialog with one name per output, and the range of the input.

    Parameters
    ----------
    info
        Of :func:`inspect_keras`: ``outputs`` and ``input_shape``.
    name
        The file's name.
    """

    def __init__(self, info: Any, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("A Keras model")
        layout = QVBoxLayout(self)
        text = QLabel(
            f"{name} does not tell what its {info.outputs} outputs mean, or which grey values it expects. "
            "Name the classes in the order of training (Keras sorts class folders by name)."
        )
        text.setWordWrap(True)
        layout.addWidget(text)
        fields = QFormLayout()
        self.names = [QLineEdit(f"class {i + 1}") for i in range(max(2, info.outputs))]
        for i, field in enumerate(self.names):
            fields.addRow(f"output {i}", field)
        self.range = QComboBox()
        self.range.addItems(list(_RANGES))
        fields.addRow("input range", self.range)
        layout.addLayout(fields)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout.addWidget(buttons)
        self.setMinimumWidth(380)

    def answers(self) -> tuple[tuple[str, ...], float]:
        """Class names, and the grey value that stands for 1."""
        return tuple(field.text().strip() for field in self.names), _RANGES[self.range.currentText()]
