"""How images are grouped for a split: chosen from proposals made of their names, or by a regular expression."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.image_names import names_to_group
from napari_cellclass.core.plates.group_proposals import GroupProposal, propose_groups
from napari_cellclass.widgets.common.choices.elided_list import ElidedList
from napari_cellclass.widgets.common.jobs import start_job
from napari_cellclass.widgets.common.text import plain_tip

_OWN = "regular expression …"
_ALONE = "each image by itself"
_WHAT_FOR = "images of one group stay together when tiles are split into trained on and held out"
_MARGIN_PX = 24


class GroupChoice(QWidget):
    """A list of proposals; its last entry opens a field for an own regular expression.

    ``changed`` is sent when another grouping is chosen.
    """

    changed = Signal()

    def __init__(self, tooltip: str = "") -> None:
        super().__init__()
        self._asked = 0
        self._by_user = False
        self._preferred: str | None = None
        self._proposals: tuple[GroupProposal, ...] = ()
        self._picked: str | None = None  # from a list; it may be in the next one again
        self.native = QLineEdit()
        self.native.setPlaceholderText("^(...) takes 3 letters")
        self.native.setToolTip(tooltip)
        self.combo = ElidedList()
        self.combo.setSizeAdjustPolicy(ElidedList.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(10)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.combo)
        column.addWidget(self.native)
        self._fill([])
        self.combo.currentIndexChanged.connect(self._chosen)
        self.combo.activated.connect(self._take_as_choice)
        self.native.textChanged.connect(self._typed)
        self._chosen()

    @property
    def value(self) -> str | None:
        """The regular expression, None for each image by itself."""
        if self.combo.currentText() == _OWN:
            return self.native.text() or None
        pattern: str | None = self.combo.currentData()
        return pattern

    @value.setter
    def value(self, value: str | None) -> None:
        patterns = [self.combo.itemData(i) for i in range(self.combo.count() - 1)]
        if (value or None) in patterns:
            self.combo.setCurrentIndex(patterns.index(value or None))
        else:
            self.native.setText(value or "")
            self.combo.setCurrentIndex(self.combo.count() - 1)

    def offer(self, proposals: Sequence[GroupProposal]) -> None:
        """List proposals; what is chosen stays chosen where it is among them, and an own expression in any case."""
        if tuple(proposals) == self._proposals:
            return  # the list may be open
        self._proposals = tuple(proposals)
        typed = self.combo.currentText() == _OWN
        value = self.value if typed else self._picked
        self.combo.blockSignals(True)
        self._fill(proposals)
        if typed or value in [proposal.pattern for proposal in proposals]:
            self.value = value
        self.combo.blockSignals(False)
        self._show_field()
        self.changed.emit()

    def prefer(self, pattern: str | None) -> None:
        """Choose one of the proposals, or each image by itself, where nothing else has been picked or typed yet."""
        if self._by_user or self.combo.currentText() == _OWN or self.combo.currentData() not in (None, self._preferred):
            return
        self._preferred = pattern
        patterns = [proposal.pattern for proposal in self._proposals]
        known = pattern is not None and pattern in patterns
        self.combo.setCurrentIndex(patterns.index(pattern) if known else self.combo.count() - 2)

    def offer_names(self, names: Sequence[str]) -> None:
        """List proposals for images of these names."""
        self._asked += 1
        self.offer(propose_groups(names))

    def offer_data(self, *data: Path) -> None:
        """List proposals for class folders or lists of tiles, whose names are read in a thread."""
        self._asked += 1
        number = self._asked
        given = [path for path in data if path != Path()]
        job = start_job(_propose, owner=self, data=given)
        job.returned.connect(lambda found: self.offer(found) if number == self._asked else None)
        # Its error is shown when the data are used.
        job.failed.connect(lambda _: self.offer([]) if number == self._asked else None)

    def _fill(self, proposals: Sequence[GroupProposal]) -> None:
        self.combo.clear()
        for proposal in proposals:
            if proposal.pattern is not None:
                self._add(proposal.sentence, proposal.pattern)
        self._add(_ALONE, None)
        self._add(_OWN, None)
        self.combo.setCurrentIndex(self.combo.count() - 2)
        # The closed list may be too narrow for its sentences; the open one is not.
        self.combo.view().setMinimumWidth(self.combo.view().sizeHintForColumn(0) + _MARGIN_PX)

    def _add(self, text: str, pattern: str | None) -> None:
        self.combo.addItem(text, pattern)
        tip = text if pattern is None else f"{text}\nregular expression: {pattern}"
        self.combo.setItemData(self.combo.count() - 1, plain_tip(tip), Qt.ItemDataRole.ToolTipRole)

    def _take_as_choice(self, index: int) -> None:
        self._by_user = True

    def _typed(self, text: str) -> None:
        if text:
            self.combo.setCurrentIndex(self.combo.count() - 1)
        self.changed.emit()

    def _chosen(self) -> None:
        self.combo.setToolTip(str(self.combo.currentData(Qt.ItemDataRole.ToolTipRole) or ""))
        if self.combo.currentText() != _OWN:
            self._picked = self.combo.currentData()
        self._show_field()
        self.changed.emit()

    def _show_field(self) -> None:
        self.native.setVisible(self.combo.currentText() == _OWN)
        chosen = self.combo.itemData(self.combo.currentIndex(), Qt.ItemDataRole.ToolTipRole)
        self.combo.setToolTip(f"{chosen}\n{_WHAT_FOR}")


def _propose(data: Sequence[Path], task: Task) -> tuple[GroupProposal, ...]:
    names = []
    for one in data:
        task.check()
        names += names_to_group(one)
    return propose_groups(names)
