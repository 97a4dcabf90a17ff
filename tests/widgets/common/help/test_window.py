"""Help in a real window: every field has its text, and every page its chapter."""

from __future__ import annotations

from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QCheckBox,
    QComboBox,
    QLineEdit,
    QRadioButton,
    QScrollBar,
    QWhatsThis,
    QWidget,
)

from napari_cellclass.widgets.common.help.button import HelpButton
from napari_cellclass.widgets.common.help.chapters import CHAPTERS
from napari_cellclass.widgets.common.help.whats_this import is_explained

FIELDS = (QAbstractSpinBox, QComboBox, QLineEdit, QAbstractSlider, QCheckBox, QRadioButton)
DOCKS = ("Cell Class", "Prepare tiles", "Classify plate", "Evaluate", "Experiment", "Blinded reading", "Scatter")


def open_dock(viewer: Any, name: str) -> Any:
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", name)
    if name == "Cell Class":
        widget.fill_now()
    QApplication.processEvents()
    return widget


def whats_this_text() -> bool:
    """Whether a text of *What's this* is shown."""
    return any(one.metaObject().className() == "QWhatsThat" for one in QApplication.topLevelWidgets())


@pytest.mark.parametrize("name", DOCKS)
def test_every_field_of_a_form_has_a_whats_this(viewer: Any, qtbot: Any, name: str) -> None:
    root = open_dock(viewer, name)
    fields = [one for one in root.findChildren(QWidget) if isinstance(one, FIELDS) and not isinstance(one, QScrollBar)]
    assert len(fields) >= 2
    assert [
        f"{type(one).__name__} in {type(one.parent()).__name__}" for one in fields if not is_explained(one, root)
    ] == []


def test_shift_f1_shows_what_a_field_means(viewer: Any, dock: Any, qtbot: Any) -> None:
    train = dock.show_page("Train")
    field = train.form.fields["network"].native
    assert "On the command line: train --network." in field.whatsThis()
    assert "Train " not in field.toolTip()
    field.setFocus()
    QTest.keyClick(field, Qt.Key.Key_F1, Qt.KeyboardModifier.ShiftModifier)
    qtbot.waitUntil(whats_this_text)
    QWhatsThis.hideText()
    qtbot.waitUntil(lambda: not whats_this_text())


def test_the_link_of_each_page_is_its_chapter(
    viewer: Any, dock: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    pages = ("Annotate tiles", "Train", "Classify field", "Check")
    for name in pages:
        dock.show_page(name)
        dock.help.click()
        assert dock.help.popup.isVisible()
        assert CHAPTERS[name].sentence in dock.help.popup.text.text()
        assert f'href="{CHAPTERS[name].url}"' in dock.help.popup.text.text()
        dock.help.popup.text.linkActivated.emit(CHAPTERS[name].url)
        assert not dock.help.popup.isVisible()
    assert opened == [CHAPTERS[name].url for name in pages]


@pytest.mark.parametrize("name", DOCKS[1:])
def test_every_dock_has_its_help_at_the_top(viewer: Any, qtbot: Any, name: str) -> None:
    root = open_dock(viewer, name)
    (button,) = root.findChildren(HelpButton)
    assert button.chapter is CHAPTERS[name]
    assert button.mapTo(root, button.rect().bottomRight()).y() <= 60
