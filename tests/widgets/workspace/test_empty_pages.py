"""A page on which nothing can be seen yet says what to do next."""

from __future__ import annotations

from typing import Any

from tests._windows import open_field

from napari_cellclass.core.samples.synthetic import checkerboard_field

TILE = 32


def test_without_image_labels_and_model_every_page_says_what_to_do_next(viewer: Any, dock: Any, qtbot: Any) -> None:
    assert "Open an image" in dock.header.message.text()
    assert "label some on the page Label" in dock.train.progress.message.text()
    assert "choose a model" in dock.map.message.text()
    check = dock.show_page("Check")
    assert "open an image" in check.labels.text()
    assert "train one on the page Train" in check.score.text()
    assert "press Show" in dock.label.gallery.status.text()


def test_train_and_check_ask_for_labels_until_there_are_some(viewer: Any, dock: Any, qtbot: Any) -> None:
    viewer.add_image(checkerboard_field(TILE, 7, 9)[0], name="field")
    open_field(dock, qtbot, TILE)
    check, train = dock.show_page("Check"), dock.train
    check.refresh()
    assert "press the key of a class" in check.labels.text()
    assert "No tiles are labelled yet" in train.progress.message.text()
    dock.label.gallery.show_page()
    assert "No tile is labelled yet" in dock.label.gallery.status.text()
    dock.workspace.label([0, 1], 0)
    dock.show_page("Train")
    assert train.progress.message.text().startswith("Choose labelled tiles")
    dock.show_page("Check")
    qtbot.waitUntil(lambda: check.labels.text() == "2 tiles of 1 field are labelled.")
