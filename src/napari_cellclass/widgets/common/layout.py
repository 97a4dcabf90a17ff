"""Rows of widgets, and rows of widgets with a label each."""

from __future__ import annotations

from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QWidget

LABEL_PX = 100


def row_of(*widgets: QWidget) -> QHBoxLayout:
    """Lay widgets side by side."""
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row


def labelled(*rows: tuple[str, QWidget]) -> QFormLayout:
    """Lay widgets out with a label each, in line with a :class:`TrainForm`."""
    layout = QFormLayout()
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for name, field in rows:
        text = QLabel(name)
        text.setMinimumWidth(LABEL_PX)
        layout.addRow(text, field)
    return layout
