"""The widget Train, clicked as a user does in a real window."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox
from tests._program import preloaded
from tests._window_events import click

from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.models.texture_decision import TextureHead
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.map_view import is_own_layer
from napari_cellclass.widgets.workspace.widget import CellClassWidget

pytestmark = pytest.mark.training
TILE = 32


def children() -> list[psutil.Process]:
    """The trainings that this process has started and that are still there."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
            if "napari_cellclass" in words and "train" in words and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def field(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A field of 192 x 192 px, 12 bits in 16, and per tile whether it has spots."""
    rng = np.random.default_rng(seed)
    grid = TileGrid.regular((192, 192), TILE)
    spotty = rng.permutation(np.arange(len(grid)) % 2)
    pixels = rng.normal(600, 60, (192, 192))
    for box, yes in zip(grid.boxes, spotty, strict=True):
        if yes:
            y, x = rng.integers(box[0], box[2], 12), rng.integers(box[1], box[3], 12)
            pixels[y, x] += 2500
    return pixels.clip(0, 4095).astype(np.uint16), spotty


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of tiles from four wells."""
    folder = tmp_path_factory.mktemp("plate") / "plate"
    grid = TileGrid.regular((192, 192), TILE)
    for name in ("plain", "spotty"):
        (folder / name).mkdir(parents=True)
    for well in range(4):
        pixels, spotty = field(well)
        for place in range(18):
            y0, x0, y1, x1 = grid.boxes[place]
            name = ("plain", "spotty")[spotty[place]]
            Image.fromarray(pixels[y0:y1, x0:x1]).save(folder / name / f"w{well}_{place}.png")
    return folder


@pytest.fixture
def train(dock: Any) -> Iterator[Any]:
    """The page Train of the dock Cell Class."""
    widget = dock.show_page("Train")
    yield widget
    widget._cancel_and_wait()  # so that a test that has failed does not wait for an answer
    assert "tensorflow" not in sys.modules
    assert "keras" not in sys.modules


def text(widget: Any) -> str:
    return widget.progress.message.text()


def idle(widget: Any) -> bool:
    return widget.train_button.isEnabled() and not widget.training


def choose(widget: Any, folder: Path, out: Path, epochs: int = 3, group_by: str = r"(w\d)") -> None:
    widget.data.from_folders.click()
    widget.data.folder.line_edit.native.setText(str(folder))
    widget.data.grouping.fields["group_by"].native.setText(group_by)
    settings(widget, out, epochs)


def settings(widget: Any, out: Path, epochs: int) -> None:
    widget.form.fields["epochs"].tick.setChecked(False)
    widget.form.fields["epochs"].field.value = epochs
    widget.out.line_edit.native.setText(str(out))


def started(qtbot: Any, widget: Any, epochs: int = 2) -> psutil.Process:
    click(qtbot, widget.train_button)
    qtbot.waitUntil(lambda: bool(children()) or idle(widget))  # until then the epochs of the last training are shown
    qtbot.waitUntil(lambda: len(widget.progress.history) >= epochs or idle(widget))
    assert len(widget.progress.history) >= epochs, text(widget)
    (child,) = children()
    return child


def finished(qtbot: Any, widget: Any) -> None:
    qtbot.waitUntil(lambda: idle(widget))


def figure(view: Any) -> np.ndarray:
    image = view.pixmap().toImage().convertToFormat(view.pixmap().toImage().Format.Format_RGBA8888)
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    return np.frombuffer(bits, np.uint8).reshape(image.height(), image.width(), 4)


def shown(table: Any) -> pd.DataFrame:
    """Read what a table shows, without the columns that it hides."""
    columns = [j for j in range(table.columnCount()) if not table.isColumnHidden(j)]
    names = [table.horizontalHeaderItem(j).text() for j in columns]
    cells = [[table.item(i, j).text() for j in columns] for i in range(table.rowCount())]
    return pd.DataFrame(cells, columns=names)


def scroll_to(widget: Any, part: Any) -> None:
    from qtpy.QtWidgets import QScrollArea

    QApplication.processEvents()
    widget.findChild(QScrollArea).ensureWidgetVisible(part, 0, 500)
    QApplication.processEvents()


def annotate(viewer: Any, folder: Path, seed: int, tiles: int = 36) -> Any:
    """An annotated layer over a field, as Annotate tiles makes one."""
    pixels, spotty = field(seed)
    source = SourceImage(pixels[..., None], f"w{seed}")
    grid = TileGrid.regular(source.shape, TILE)
    key = ImageKey(source.image_id, source.name, None)
    annotation = Annotation(key, grid, ClassScheme(("plain", "spotty")), Journal(folder))
    annotation.label(np.arange(tiles), spotty[:tiles].astype(np.int16))
    viewer.add_image(pixels, name=source.name)
    layer = viewer.add_shapes(name=f"{source.name} labels")
    layer.metadata["napari_cellclass"] = {"kind": "annotation", "annotation": annotation, "source": source}
    viewer.layers.events.reordered()  # the metadata came after the layer
    return layer


@pytest.mark.parametrize("path", [("Plugins",), ("Layers", "Classify")])
def test_the_widget_is_in_the_menus(viewer: Any, menu_texts: Callable[..., list[str]], path: tuple[str, ...]) -> None:
    viewer.add_image(np.zeros((8, 8)))
    assert any("Train" in text for text in menu_texts(*path))


@pytest.mark.usefixtures("forked_children")
def test_from_class_folders_to_a_classified_field(
    viewer: Any,
    dock: Any,
    train: Any,
    qtbot: Any,
    folders: Path,
    tmp_path: Path,
    screenshot: Callable,
    monkeypatch: Any,
) -> None:
    classify = dock.map
    viewer.add_image(field(9)[0], name="new field")
    out = tmp_path / "first.cellclass"
    choose(train, folders, out, epochs=4)

    # a look before training: the split, and the tiles as the network sees them
    click(qtbot, train.preview_button)
    finished(qtbot, train)
    table = shown(train.split)
    assert table["class"].tolist() == ["plain", "spotty"]
    assert table["train"].str.endswith("in 3 groups").all()
    assert table["validate"].str.endswith("in 1 group").all()
    assert list(table) == ["class", "train", "validate"], "nothing is tested or left out"
    groups = shown(train.groups)
    assert groups["group"].tolist() == ["w0", "w1", "w2", "w3"]
    assert sorted(groups["train"] + " " + groups["validate"]) == ["- 18", "18 -", "18 -", "18 -"]
    assert "tiles of 3 groups are trained on" in text(train)
    assert not train.warning.isVisible()
    qtbot.waitUntil(lambda: not train.tiles.pixmap().isNull())
    assert figure(train.tiles)[..., 3].mean() > 120, "most of the figure is tiles"
    qtbot.waitUntil(lambda: not train.histograms.pixmap().isNull())
    assert (figure(train.histograms)[..., 3] > 0).any()
    scroll_to(train, train.histograms)
    screenshot("train-preview")

    # training, with curves
    click(qtbot, train.train_button)
    qtbot.waitUntil(lambda: len(train.progress.history) >= 2)
    qtbot.waitUntil(lambda: not train.progress.curves.pixmap().isNull())
    finished(qtbot, train)
    assert len(train.progress.history) == 4
    assert (figure(train.progress.curves)[..., 3] > 0).any()
    bundle = open_bundle(out)
    assert bundle.manifest.training["epochs"] == 4
    assert f"{bundle.evaluation()['validation']['balanced_accuracy']['value']:.3f}" in train.outcome.text.text()
    assert not children()

    # the model is in Classify; one click classifies
    qtbot.waitUntil(lambda: classify.model is not None)
    assert classify.model.path == out
    scroll_to(train, train.outcome)
    screenshot("train-done")
    click(qtbot, train.outcome.classify_button)
    qtbot.waitUntil(lambda: classify.map.table is not None)
    assert any(is_own_layer(layer) for layer in viewer.layers)
    assert len(classify.map.table) == 36

    # the curves can be saved
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(tmp_path / "c.png"), ""))
    click(qtbot, train.outcome.save_button)
    qtbot.waitUntil((tmp_path / "c.csv").is_file)
    assert len(pd.read_csv(tmp_path / "c.csv")) == 4
    assert (tmp_path / "c.png").is_file()

    # again, from the last model: the figure stands beside the previous one's
    assert [train.start.itemText(i) for i in range(3)] == ["new weights", "from first.cellclass", "a model file …"]
    train.start.setCurrentIndex(1)
    settings(train, tmp_path / "second.cellclass", 2)
    click(qtbot, train.train_button)
    finished(qtbot, train)
    said = train.outcome.text.text()
    assert "second.cellclass: balanced accuracy" in said
    assert "Before, first.cellclass" in said
    assert "(on the same tiles)" in said
    assert open_bundle(tmp_path / "second.cellclass").manifest.training["initial"] == str(out)
    qtbot.waitUntil(lambda: classify.model is not None and classify.model.path.name == "second.cellclass")


@pytest.mark.usefixtures("forked_children")
def test_the_window_and_the_command_fit_the_same_linear_models(
    train: Any, qtbot: Any, folders: Path, tmp_path: Path, screenshot: Callable
) -> None:
    out, other = tmp_path / "window.cellclass", tmp_path / "command.cellclass"
    choose(train, folders, out)
    train.form.fields["epochs"].tick.setChecked(True)  # which is automatic, as all else is
    click(qtbot, train.train_button)
    finished(qtbot, train)
    assert text(train) == f"Trained; the model is in {out.name}."
    a_curve = len(train.outcome.trained[-1].label_curve) >= 3
    qtbot.waitUntil(lambda: train.progress.curves.pixmap().isNull() != a_curve)
    said = train.outcome.text.text()
    assert "estimated by leave-one-group-out cross-validation over 4 groups; the model kept is fitted to all" in said
    assert "held-out tiles" not in said, "of which it has none: it is fitted to all"
    assert not train.outcome.details.isVisible()
    click(qtbot, train.outcome.details_button)
    assert "in leave-one-group-out cross-validation over 4 groups: backbone" in train.outcome.details.text()
    assert train.progress.history == []
    scroll_to(train, train.progress.curves)
    screenshot("train-linear-models")
    done = preloaded("train", folders, "--out", other, "--group-by", r"(w\d)", "--progress", "none")
    assert done.returncode == 0, done.stderr
    a, b = open_bundle(out), open_bundle(other)
    assert a.manifest.network == "pretrained"
    np.testing.assert_allclose(a.left_out(), b.left_out(), atol=1e-5)
    np.testing.assert_allclose(a.golden[1], b.golden[1], atol=1e-5)


@pytest.mark.usefixtures("forked_children")
def test_annotated_layers_are_trained_on_by_field(
    viewer: Any, train: Any, qtbot: Any, tmp_path: Path, screenshot: Callable
) -> None:
    viewer.theme = "light"
    layers = [annotate(viewer, tmp_path / "journal", seed, tiles=18) for seed in range(3)]
    assert train.data.from_layers.isChecked()
    assert [train.data.layers.item(i).text() for i in range(3)] == [f"w{i} labels (18 labelled)" for i in range(3)]
    out = tmp_path / "m.cellclass"
    settings(train, out, 3)
    train.form.fields["augment"].value = "full"
    click(qtbot, train.train_button)
    qtbot.waitUntil(lambda: len(train.progress.history) >= 2)
    qtbot.waitUntil(lambda: not train.progress.curves.pixmap().isNull())
    screenshot("train-light")
    finished(qtbot, train)
    split = open_bundle(out).table("split.csv")
    # The training set is what was labelled, with its field as group.
    wanted = [one.metadata["napari_cellclass"]["annotation"].frame() for one in layers]
    assert len(split) == sum(map(len, wanted)) == 54
    assert set(split["group"]) == {"w0", "w1", "w2"}
    for group, frame in zip(("w0", "w1", "w2"), wanted, strict=True):
        mine = split[split["group"] == group].sort_values(["y0", "x0"])
        columns = ["y0", "x0", "y1", "x1", "class_name"]
        assert mine[columns].to_numpy().tolist() == frame.sort_values(["y0", "x0"])[columns].to_numpy().tolist()
    assert split[split["split"] == "validation"]["group"].nunique() == 1
    manifest = open_bundle(out).manifest
    assert manifest.data["dtype"] == "uint16"
    assert {one["id"] for one in manifest.data["images"]} == {
        one.metadata["napari_cellclass"]["source"].image_id for one in layers
    }


def test_one_field_only_is_loudly_warned_of_and_one_class_is_refused(
    viewer: Any, train: Any, qtbot: Any, tmp_path: Path, screenshot: Callable
) -> None:
    viewer.window._qt_window.resize(800, 560)
    layer = annotate(viewer, tmp_path / "journal", 0)
    settings(train, tmp_path / "m.cellclass", 1)
    dock = train.window().findChild(CellClassWidget)
    qtbot.waitUntil(lambda: not dock.header.opening)  # which adds a layer of labels, too
    click(qtbot, train.preview_button)
    finished(qtbot, train)
    assert train.warning.isVisible()
    assert "accuracy will look better than it is" in train.warning.text()
    scroll_to(train, train.warning)
    screenshot("train-warning-small")
    layer.metadata["napari_cellclass"]["annotation"].label(np.arange(36), np.zeros(36, np.int16))
    click(qtbot, train.train_button)
    finished(qtbot, train)
    assert "all labelled tiles are 'plain'; label tiles of at least two classes" in text(train)
    assert not children()


@pytest.mark.usefixtures("forked_children")
def test_a_test_set_is_counted_checked_and_its_figures_are_shown(
    viewer: Any, train: Any, qtbot: Any, folders: Path, tmp_path: Path, screenshot: Callable
) -> None:
    own = tmp_path / "own"
    for path in folders.glob("*/w[012]_*"):
        (own / path.parent.name).mkdir(parents=True, exist_ok=True)
        (own / path.parent.name / path.name).write_bytes(path.read_bytes())
    choose(train, own, tmp_path / "m.cellclass", epochs=1)
    train.test.line_edit.native.setText(str(folders))
    click(qtbot, train.preview_button)
    finished(qtbot, train)
    assert "54 of 72 images to test on are also trained or validated on" in train.warning.text()
    for path in folders.glob("*/w3_*"):
        (tmp_path / "new" / path.parent.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "new" / path.parent.name / path.name).write_bytes(path.read_bytes())
    train.test.line_edit.native.setText(str(tmp_path / "new"))
    click(qtbot, train.train_button)
    finished(qtbot, train)
    assert not train.warning.isVisible()
    table = shown(train.split)
    assert table["test"].str.endswith("in 1 group").all()
    assert shown(train.groups).set_index("group").loc["w3"].tolist() == ["-", "-", "18"]
    assert "Test set new: balanced accuracy" in train.outcome.text.text()
    assert "on 18 test tiles of 1 group" in train.outcome.text.text()
    texture = TextureHead.of(open_bundle(tmp_path / "m.cellclass").manifest.training)
    assert texture is not None
    assert texture.joined  # after one epoch the network knows nothing yet
    assert texture.brief() in train.outcome.details.text().split("\n")
    scroll_to(train, train.groups)
    screenshot("train-test-set")


@pytest.mark.usefixtures("forked_children")
def test_training_starts_from_a_model_file(
    viewer: Any, train: Any, qtbot: Any, folders: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    first, second = tmp_path / "first.cellclass", tmp_path / "second.cellclass"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: ("", ""))
    train.start.setCurrentIndex(1)
    train.start.activated.emit(1)
    assert train.start.currentText() == "new weights", "nothing was chosen"
    choose(train, folders, first, epochs=1)
    click(qtbot, train.train_button)
    finished(qtbot, train)
    first.rename(tmp_path / "elsewhere.cellclass")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: (str(tmp_path / "elsewhere.cellclass"), ""))
    place = train.start.findText("a model file …")
    train.start.setCurrentIndex(place)
    train.start.activated.emit(place)
    assert train.start.currentText() == "from elsewhere.cellclass"
    settings(train, second, 1)
    click(qtbot, train.train_button)
    finished(qtbot, train)
    assert open_bundle(second).manifest.training["initial"] == str(tmp_path / "elsewhere.cellclass")


def test_a_fast_copy_for_plates_learns_from_the_model_that_was_trained(
    viewer: Any, train: Any, qtbot: Any, folders: Path, tmp_path: Path
) -> None:
    choose(train, folders, tmp_path / "slow.cellclass")
    train.form.fields["network"].value = "pretrained"
    train.form.fields["epochs"].tick.setChecked(True)
    click(qtbot, train.train_button)
    finished(qtbot, train)
    assert train.outcome.copy_button.isVisible()
    click(qtbot, train.outcome.copy_button)
    finished(qtbot, train)
    copy = open_bundle(tmp_path / "slow-fast.cellclass")
    assert copy.manifest.network == "compact"
    assert "Learned from slow.cellclass (pretrained)" in train.outcome.text.text()
    assert "difference" in train.outcome.text.text()
    assert not train.outcome.copy_button.isVisible()


def test_an_impossible_split_is_refused_with_its_reason(
    viewer: Any, train: Any, qtbot: Any, folders: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "few"
    for name in ("plain", "spotty"):
        (folder / name).mkdir(parents=True)
        first = sorted((folders / name).iterdir())[0]
        (folder / name / first.name).write_bytes(first.read_bytes())
    choose(train, folder, tmp_path / "m.cellclass", group_by="")
    click(qtbot, train.train_button)
    finished(qtbot, train)
    assert "class 'plain' has no tile to train on" in text(train)
    assert not children()
    assert not (tmp_path / "m.cellclass").exists()


def test_nothing_chosen_is_told(viewer: Any, train: Any, qtbot: Any, tmp_path: Path) -> None:
    click(qtbot, train.preview_button)
    assert "no folder is chosen" in text(train)
    train.data.from_layers.click()
    click(qtbot, train.preview_button)
    assert "no annotated layer is ticked" in text(train)


@pytest.mark.usefixtures("forked_children")
def test_cancel_ends_the_process_and_leaves_nothing(
    viewer: Any, train: Any, qtbot: Any, folders: Path, tmp_path: Path, screenshot: Callable
) -> None:
    choose(train, folders, tmp_path / "m.cellclass", epochs=2000)
    child = started(qtbot, train)
    screenshot("train-running")
    start = time.perf_counter()
    click(qtbot, train.progress.cancel_button)
    qtbot.waitUntil(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    print(f"the process was gone {time.perf_counter() - start:.2f} s after Cancel")
    finished(qtbot, train)
    assert "Cancelled" in text(train)
    assert not children()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_training_is_told_in_one_sentence_and_the_next_one_keeps_its_best_epoch_at_stop(
    viewer: Any, dock: Any, train: Any, qtbot: Any, folders: Path, tmp_path: Path
) -> None:
    choose(train, folders, tmp_path / "m.cellclass", epochs=2000)
    started(qtbot, train, 3).kill()
    finished(qtbot, train)
    assert "the training process was killed in epoch" in text(train)
    assert open_bundle(tmp_path / "m.rescued.cellclass").manifest.training["epoch_kept"] >= 1
    started(qtbot, train, 3)
    click(qtbot, train.progress.stop_button)
    finished(qtbot, train)
    bundle = open_bundle(tmp_path / "m.cellclass")
    losses = [row["val_loss"] for row in train.progress.history]
    assert bundle.manifest.training["epoch_kept"] == int(np.argmin(losses)) + 1
    assert "of 2000 epochs; the best" in train.outcome.text.text()


def answer_with(button: str, seen: list[str]) -> None:
    """Press a button of the question that comes up next."""

    def press() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(20, press)
            return
        seen.append(box.text())
        next(one for one in box.buttons() if one.text() == button).click()

    QTimer.singleShot(20, press)


def is_gone(window: Any) -> bool:
    """Whether a window was closed; Qt may have deleted it by then."""
    try:
        return not window.isVisible()
    except RuntimeError:
        return True


def test_closing_napari_while_training_asks_and_leaves_no_process(
    own_viewer: Any, qtbot: Any, folders: Path, tmp_path: Path
) -> None:
    viewer = own_viewer
    _, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    train = dock.show_page("Train")
    qtbot.waitUntil(train.train_button.isVisible)
    choose(train, folders, tmp_path / "m.cellclass", epochs=2000)
    child = started(qtbot, train)
    window = viewer.window._qt_window
    seen: list[str] = []
    answer_with("Go on", seen)
    window.close()
    assert window.isVisible()
    assert child.is_running()
    answer_with("Cancel it and close", seen)
    window.close()
    qtbot.waitUntil(lambda: is_gone(window))
    assert len(seen) == 2
    assert "A training is running" in seen[0]
    assert not children()
    assert list(tmp_path.iterdir()) == []
    qtbot.waitUntil(lambda: not train.job.running)  # what the thread has still to say reaches no window that is gone


@pytest.mark.usefixtures("forked_children")
def test_closing_the_dock_while_training_keeps_the_best_epoch_and_leaves_no_process(
    viewer: Any, dock: Any, train: Any, qtbot: Any, folders: Path, tmp_path: Path
) -> None:
    choose(train, folders, tmp_path / "m.cellclass", epochs=2000)
    started(qtbot, train)
    qtbot.waitUntil(lambda: len(train.progress.history) > 1)
    job = train.job
    dock.parent().title.close_button.click()
    qtbot.waitUntil(lambda: not job.running)
    assert not children()
    assert len(open_bundle(tmp_path / "m.cellclass").table("history.csv")) < 2000


@pytest.mark.usefixtures("forked_children")
def test_closing_the_dock_before_the_first_epoch_ends_the_training_at_once(
    viewer: Any, dock: Any, train: Any, qtbot: Any, folders: Path, tmp_path: Path
) -> None:
    choose(train, folders, tmp_path / "m.cellclass", epochs=2000)
    click(qtbot, train.train_button)
    qtbot.waitUntil(lambda: bool(children()))
    assert not train.progress.history
    dock.parent().title.close_button.click()
    qtbot.waitUntil(lambda: not children())
    assert not (tmp_path / "m.cellclass").exists()


def test_nothing_is_cut_off_at_the_side_whatever_is_filled_in(viewer: Any, train: Any, qtbot: Any) -> None:
    from qtpy.QtWidgets import QScrollArea

    for form in (train.form, train.more, train.data.cutting):
        for field in form.fields.values():
            if hasattr(field, "tick"):
                field.tick.setChecked(field.tick.text() == "Not set")
    train.more_button.click()
    qtbot.waitUntil(train.more.isVisible)
    QApplication.processEvents()  # the layout follows
    area = train.findChild(QScrollArea)
    assert area.widget().width() <= area.viewport().width() + 1
