"""Texts that name files."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtCore import Qt
from qtpy.QtGui import QClipboard, QContextMenuEvent, QTextDocument
from qtpy.QtWidgets import QApplication, QLabel, QMenu

from napari_cellclass.widgets.common.text import WrappedLabel, breakable, plain_tip

NAME = "20240312_Snap29-RNAi_wellB03_site2_w1GFP-processed.background.subtracted.final_version.ome.tif"
MARK = "\u200b"


@given(text=st.text(st.characters(exclude_characters=MARK)))
def test_nothing_but_marks_is_added_and_no_piece_is_long(text: str) -> None:
    marked = breakable(text)
    assert marked.replace(MARK, "") == text
    joints = set("_./\\-")
    for piece in " ".join(marked.split(MARK)).split():
        assert len(piece) <= 24 or set(piece[24:]) <= joints


def test_short_words_are_left_as_they_are() -> None:
    text = "no tile of wells/B03.tif is unlike the training tiles"
    assert breakable(text) == text


@pytest.mark.parametrize("name", [NAME, "a" * 300])
def test_a_long_name_does_not_widen_its_window(qtbot: Any, name: str) -> None:
    plain, wrapped = QLabel(f"cannot read {name}"), WrappedLabel(f"cannot read {name}")
    plain.setWordWrap(True)
    for label in (plain, wrapped):
        qtbot.addWidget(label)
    assert wrapped.minimumSizeHint().width() < plain.minimumSizeHint().width() / 2
    assert wrapped.heightForWidth(200) > plain.heightForWidth(2000)


def test_what_is_selected_is_copied_as_it_was_set(qtbot: Any) -> None:
    label = WrappedLabel(NAME)
    qtbot.addWidget(label)
    label.show()
    assert label.text() == NAME
    label.setSelection(0, len(QLabel.text(label)))
    qtbot.keyClick(label, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QApplication.clipboard().text() == NAME


def test_what_the_mouse_selects_is_pasted_as_it_was_set(qtbot: Any) -> None:
    if not QApplication.clipboard().supportsSelection():
        pytest.skip("this system has no clipboard for what is selected")
    label = WrappedLabel("a_" * 30)
    qtbot.addWidget(label)
    label.show()
    qtbot.mouseDClick(label, Qt.MouseButton.LeftButton, pos=label.rect().center())
    assert label.hasSelectedText()
    qtbot.mouseRelease(label, Qt.MouseButton.LeftButton, pos=label.rect().center())
    pasted = QApplication.clipboard().text(QClipboard.Mode.Selection)
    assert pasted
    assert pasted in label.text()


@pytest.mark.parametrize("selectable", [True, False])
def test_a_menu_copies_where_text_may_be_selected_and_does_not_stay(qtbot: Any, selectable: bool) -> None:
    label = WrappedLabel(NAME, selectable)
    qtbot.addWidget(label)
    label.show()
    middle = label.rect().center()
    for _ in range(3):
        event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, middle, label.mapToGlobal(middle))
        QApplication.sendEvent(label, event)
        menus = label.findChildren(QMenu)
        assert len(menus) == selectable
        assert event.isAccepted() is selectable  # else a click goes to what lies behind
        if selectable:
            select_all = menus[0].actions()[1]
            select_all.trigger()
            menus[0].actions()[0].trigger()
            assert QApplication.clipboard().text() == NAME
            menus[0].close()
            qtbot.waitUntil(lambda: not label.findChildren(QMenu))


def test_a_sentence_can_be_cleared(qtbot: Any) -> None:
    label = WrappedLabel(NAME)
    qtbot.addWidget(label)
    label.clear()
    assert label.text() == ""


@pytest.mark.parametrize("text", ["/data/<b>x</b> & y.png", "/data/a < b.png", "&lt;"])
def test_a_tip_shows_the_text_of_a_file_as_it_is(text: str) -> None:
    document = QTextDocument()
    (document.setHtml if Qt.mightBeRichText(plain_tip(text)) else document.setPlainText)(plain_tip(text))
    assert document.toPlainText() == text


def test_what_a_file_says_is_shown_and_not_interpreted(qtbot: Any) -> None:
    label = WrappedLabel("<b>bold</b> & so on")
    qtbot.addWidget(label)
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert label.text() == "<b>bold</b> & so on"


def test_reserved_lines_keep_their_place_whatever_is_said_and_grow_for_more(qtbot: Any) -> None:
    label = WrappedLabel()
    qtbot.addWidget(label)
    label.reserve_lines(2)
    label.resize(300, 10)
    label.show()
    empty = label.minimumHeight()
    assert empty >= 2 * label.fontMetrics().lineSpacing()
    label.setText("short")
    assert label.minimumHeight() == empty
    label.setText("word " * 200)
    assert label.minimumHeight() > 3 * empty
