"""Warnings and notes of a result, folded to one line."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QToolButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.findings import Finding, counted
from napari_cellclass.core.stats.headlines import ranked
from napari_cellclass.widgets.common.text import WrappedLabel


class FoldedWarnings(QWidget):
    """How many warnings there are; a click shows them, the worst first. Hidden where there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.button = QToolButton()
        self.button.setCheckable(True)
        self.button.setAutoRaise(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.warnings, self.notes = WrappedLabel(), WrappedLabel()
        self.warnings.set_warning(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.button, self.warnings, self.notes):
            column.addWidget(widget)
        self.button.toggled.connect(self._unfolded)
        self._counted = ""
        self.show_findings(())

    def show_findings(self, findings: Sequence[Finding]) -> None:
        """Show other findings, folded."""
        found = ranked(findings)
        warnings = [one for one in found if one.severity != "note"]
        notes = [one for one in found if one.severity == "note"]
        self.warnings.setText("\n".join(f"{one.severity.capitalize()}: {one.text}." for one in warnings))
        self.notes.setText("\n".join(f"Note: {one.text}." for one in notes))
        parts = [counted(len(warnings), "warning")] * bool(warnings) + [counted(len(notes), "note")] * bool(notes)
        self._counted = " and ".join(parts)
        self.setVisible(bool(found))
        self.button.setChecked(False)
        self._unfolded(False)

    def _unfolded(self, shown: bool) -> None:
        self.button.setText(f"{'▾' if shown else '▸'} {self._counted}")
        self.warnings.setVisible(shown and bool(self.warnings.text()))
        self.notes.setVisible(shown and bool(self.notes.text()))

    def text(self) -> str:
        """Give all warnings and notes, also while they are folded."""
        return "\n".join(text for text in (self.warnings.text(), self.notes.text()) if text)
