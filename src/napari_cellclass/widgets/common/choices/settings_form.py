"""The settings of a verb as form fields; what the program may choose has a tick *automatic*, others say *Not set*."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QFormLayout, QHBoxLayout, QLabel, QWidget

from napari_cellclass.core.models.bundle import SUFFIX
from napari_cellclass.core.params.base import Params
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.widgets.common.choices.group_choice import GroupChoice
from napari_cellclass.widgets.common.forms import form
from napari_cellclass.widgets.common.layout import LABEL_PX

# The value of a field once its tick is removed.
_STARTS = {
    "epochs": 30, "learning_rate": 0.001, "input_px": 128, "tile_px": 128, "tiles": 16, "background_limit": 0.05,
    "error_rate": 0.05, "folds": 5,
}  # fmt: skip
_FINE_STEPS = {"learning_rate": 0.00001, "background_limit": 0.0005}
_LABELS = {
    "input_px": "input (px)", "tile_px": "tile size (px)", "tiles": "into N tiles", "augment": "augmentation",
    "range": "grey-value range", "rotate": "rotation (degrees)",
    "background_limit": "background limit", "class_name": "class", "force": "overwrite",
    "error_rate": "error rate", "group_by": "groups",
    "null": "shuffled labels", "curve": "learning curve", "pair": "single tiles", "repeats": "repeats of each",
}  # fmt: skip
_OPTIONAL = ("tile_px", "tiles", "folds", "error_rate")  # left out unless set; the program chooses the others


class AutomaticField(QWidget):
    """A field whose value the program may choose.

    Parameters
    ----------
    field
        The field for the value.
    """

    def __init__(self, field: ValueWidget[Any]) -> None:
        super().__init__()
        self.field = field
        self.tick = QCheckBox("automatic")
        self.tick.setChecked(True)
        self.tick.setToolTip(field.tooltip or "")
        self.setWhatsThis(field.native.whatsThis())
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.tick)
        row.addWidget(field.native, 1)
        self.tick.toggled.connect(self._follow)
        self._follow(True)

    def _follow(self, automatic: bool) -> None:
        self.field.native.setVisible(not automatic)

    @property
    def value(self) -> Any:
        """The value, None for automatic."""
        return None if self.tick.isChecked() else self.field.value

    @value.setter
    def value(self, value: Any) -> None:
        self.tick.setChecked(value is None)
        if value is not None:
            self.field.value = value


class OptionalField(QWidget):
    """A field that says *Not set* until its tick is set.

    Parameters
    ----------
    field
        The field for the value.
    """

    def __init__(self, field: ValueWidget[Any]) -> None:
        super().__init__()
        self.field = field
        self.tick = QCheckBox()
        self.tick.setToolTip(field.tooltip or "")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.tick)
        row.addWidget(field.native, 1)
        self.tick.toggled.connect(self._follow)
        self._follow(False)

    def _follow(self, is_set: bool) -> None:
        self.tick.setText("" if is_set else "Not set")
        self.field.native.setVisible(is_set)

    @property
    def value(self) -> Any:
        """The value, None where it is not set."""
        return self.field.value if self.tick.isChecked() else None

    @value.setter
    def value(self, value: Any) -> None:
        self.tick.setChecked(value is not None)
        if value is not None:
            self.field.value = value


class TrainForm(QWidget):
    """Some fields of :class:`TrainParams`, or of another verb's parameters.

    Parameters
    ----------
    names
        Which ones, in order.
    params
        Whose.

    ``changed`` is sent when a value has changed.
    """

    changed = Signal()

    def __init__(self, names: Sequence[str], params: type[Params] = TrainParams) -> None:
        super().__init__()
        self.fields: dict[str, Any] = {}
        # Kept, as it owns the fields.
        self._container = form(params, names, _LABELS)
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for field in self._container:
            name = field.name
            text = QLabel(field.label)
            text.setMinimumWidth(LABEL_PX)
            text.setToolTip(field.tooltip or "")
            text.setWhatsThis(field.native.whatsThis())
            if name == "group_by":
                self.fields[name] = GroupChoice(field.tooltip or "")
                self.fields[name].setWhatsThis(field.native.whatsThis())
                rows.addRow(text, self.fields[name])
            elif name in _STARTS:
                if name in _FINE_STEPS:
                    field.step = _FINE_STEPS[name]
                field.value = _STARTS[name]
                self.fields[name] = OptionalField(field) if name in _OPTIONAL else AutomaticField(field)
                rows.addRow(text, self.fields[name])
            else:
                self.fields[name] = field
                rows.addRow(text, field.native)
                if isinstance(field.native, QCheckBox):
                    field.native.setText("")
            field.changed.connect(self._tell)
            if isinstance(self.fields[name], AutomaticField | OptionalField):
                self.fields[name].tick.toggled.connect(self._tell)
            elif isinstance(self.fields[name], GroupChoice):
                self.fields[name].changed.connect(self._tell)
        rows.setAlignment(Qt.AlignmentFlag.AlignTop)

    def _tell(self, value: Any = None) -> None:
        self.changed.emit()

    def values(self) -> dict[str, Any]:
        """Give the values by name; text that is empty counts as not given."""
        return {name: None if field.value == "" else field.value for name, field in self.fields.items()}


class StartChoice(QComboBox):
    """What training starts from: new weights, or those of a model of this session or from a file.

    The data of an item is the model's path, None for new weights.
    """

    _ASK = "a model file …"

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip("new weights, or those of an earlier model of the same classes, to correct it")
        self.addItem("new weights", None)
        self.addItem(self._ASK, None)
        self.activated.connect(self._chosen)

    def add(self, path: Path) -> int:
        """Offer a model, and give its index."""
        index = self.findData(path)
        if index < 0:
            index = self.count() - 1
            self.insertItem(index, f"from {path.name}", path)
        return index

    def _chosen(self, index: int) -> None:
        if self.itemText(index) != self._ASK:
            return
        name, _ = QFileDialog.getOpenFileName(self, "Start from a model", "", f"Models (*{SUFFIX})")
        self.setCurrentIndex(self.add(Path(name)) if name else 0)
