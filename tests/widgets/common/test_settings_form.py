"""Fields of a form whose value may be left out."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from tests._window_events import click

from napari_cellclass.core.params.experiment import ExperimentParams
from napari_cellclass.widgets.common.choices.settings_form import TrainForm


def test_a_setting_that_is_left_out_says_so_in_words_and_one_that_the_program_chooses_too(qtbot: Any) -> None:
    form = TrainForm(["folds", "epochs"], ExperimentParams)
    qtbot.addWidget(form)
    form.show()
    folds, epochs = form.fields["folds"], form.fields["epochs"]
    assert (folds.tick.text(), folds.tick.isChecked(), folds.value) == ("Not set", False, None)
    assert (epochs.tick.text(), epochs.tick.isChecked(), epochs.value) == ("automatic", True, None)
    assert not folds.field.native.isVisible()
    changes: list[None] = []
    form.changed.connect(lambda: changes.append(None))
    click(qtbot, folds.tick)
    assert (folds.tick.text(), form.values()["folds"]) == ("", 5)
    assert folds.field.native.isVisible()
    qtbot.keyClick(folds.tick, Qt.Key.Key_Space)
    assert form.values()["folds"] is None
    assert len(changes) == 2
    folds.value = 3
    assert form.values()["folds"] == 3
