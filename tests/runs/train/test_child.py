"""Training in a child process: its answers, its end, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from tests._patience import WINDOW_S

from napari_cellclass.cli.main import VERBS, build_parser, main
from napari_cellclass.cli.parser import checked_params
from napari_cellclass.core.common.errors import CancelledError, EngineError
from napari_cellclass.core.common.task import Progress, Task
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.models.paths import partial_path, recovered_path
from napari_cellclass.core.params.settings_file import write_settings
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.runs.train.child import child_command, train_in_child

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tiles of each of two classes, told apart by their brightness."""
    folder = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 180)):
        (folder / name).mkdir()
        for i in range(8):
            tile = rng.normal(level, 20, (24, 24)).clip(0, 255).astype(np.uint8)
            Image.fromarray(tile).save(folder / name / f"w{i // 2}_{i}.png")
    return folder


def params(folder: Path, out: Path, **more: object) -> TrainParams:
    return TrainParams(data=folder, out=out, group_by=r"(w\d)", **{"epochs": 3, "batch_size": 4} | more)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def children() -> list[psutil.Process]:
    """The processes of this one that train."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "train" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def after_epochs(n: int, then: Callable[[], None]) -> tuple[Callable[[Progress], None], list[Progress]]:
    told: list[Progress] = []

    def progress(update: Progress) -> None:
        told.append(update)
        if update.phase == "training" and update.done == n:
            then()

    return progress, told


def command(params: TrainParams, settings: Path) -> list[str]:
    """The words of the command line by which a child trains."""
    write_settings(params, settings)
    return child_command(params, settings)[4:]


def test_the_command_gives_back_the_parameters(tmp_path: Path) -> None:
    asked = TrainParams(
        data=tmp_path / "-a,b", out=tmp_path / "m.cellclass", test=[tmp_path / "t1", tmp_path / "t 2"], group_by="-(x)",
        epochs=7, learning_rate=1e-5, augment="flips", class_weights=False, initial=tmp_path / "i.cellclass", seed=3,
        rotate="-5:5", range="-1:4", standardise="none", views=8, ensemble=True, runs=2,
    )  # fmt: skip
    published = TrainParams(data=tmp_path, out=tmp_path / "m.cellclass", as_published=True, batch_size=16)
    settings = tmp_path / "settings.json"
    for one in (asked, published):
        values = vars(build_parser().parse_args(command(one, settings)))
        params = checked_params(VERBS[values.pop("verb")][0], values)
        assert params == one.model_copy(update={"progress": "jsonl"})


@pytest.mark.usefixtures("forked_children")
def test_a_training_reports_its_epochs_and_writes_the_model(folders: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    out = tmp_path / "m.cellclass"
    assert train_in_child(params(folders, out, augment="flips", class_weights=False), Task(told.append)) == out
    assert [p.done for p in told if p.phase == "training"] == [1, 2, 3]
    manifest = open_bundle(out).manifest
    assert manifest.training["augment"] == "flips"
    assert manifest.training["class_weights"] is False
    assert (manifest.training["epochs_trained"], manifest.training["epoch_kept"]) == (3, 3)
    assert names(tmp_path) == ["m.cellclass", "m_settings.json"]
    assert not children()


def test_what_the_child_says_went_wrong_arrives_as_one_line(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is not a folder; give a folder that holds one sub-folder per class"):
        train_in_child(params(tmp_path / "missing", tmp_path / "m.cellclass"))
    assert names(tmp_path) == []


def test_cancel_ends_the_child_within_a_second_and_leaves_nothing(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.cellclass"
    out.write_bytes(b"the model of yesterday")
    asked: list[float] = []
    progress, _ = after_epochs(2, lambda: asked.append(time.perf_counter()))
    begin = time.perf_counter()
    with pytest.raises(CancelledError):
        train_in_child(params(folders, out, epochs=5000), Task(progress, lambda: bool(asked)))
    # A second where a start takes five and more; on a slow machine both take longer.
    assert time.perf_counter() - asked[0] < max(1.0, (asked[0] - begin) / 5)
    assert not children()
    assert names(tmp_path) == ["m.cellclass"]
    assert out.read_bytes() == b"the model of yesterday"


@pytest.mark.usefixtures("forked_children")
def test_stop_keeps_the_epoch_of_the_lowest_validation_loss(folders: Path, tmp_path: Path) -> None:
    stop: list[bool] = []
    progress, told = after_epochs(4, lambda: stop.append(True))
    out = train_in_child(
        params(folders, tmp_path / "m.cellclass", epochs=5000), Task(progress), stopped=lambda: bool(stop)
    )
    losses = [p.metrics["val_loss"] for p in told if p.phase == "training"]
    bundle = open_bundle(out)
    kept = int(np.argmin(losses)) + 1
    assert 4 <= len(losses) < 5000
    assert bundle.manifest.training["epochs_trained"] == len(losses) == len(bundle.table("history.csv"))
    assert bundle.manifest.training["epoch_kept"] == kept
    assert bundle.manifest.scores["val_loss"] == pytest.approx(losses[kept - 1])
    assert names(tmp_path) == ["m.cellclass", "m_settings.json"]


def test_a_killed_child_is_told_and_its_best_model_is_kept(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.cellclass"
    out.write_bytes(b"the model of yesterday")
    progress, _ = after_epochs(3, lambda: [p.kill() for p in children()])
    with pytest.raises(EngineError) as caught:
        train_in_child(params(folders, out, epochs=5000), Task(progress))
    text = str(caught.value)
    assert text.startswith("the training process was killed in epoch ")
    assert "the best model so far is kept as m.rescued.cellclass" in text
    rescued = open_bundle(recovered_path(out))
    assert rescued.manifest.training["epoch_kept"] >= 1
    assert len(rescued.golden[1]) > 0
    assert not partial_path(out).exists()
    assert out.read_bytes() == b"the model of yesterday"


def test_the_child_ends_when_its_parent_is_killed(folders: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from napari_cellclass.core.common.task import Task\n"
        "from napari_cellclass.core.params.train import TrainParams\n"
        "from napari_cellclass.runs.train.child import train_in_child\n"
        f"how = TrainParams(data=Path({str(folders)!r}), out=Path({str(tmp_path / 'm.cellclass')!r}), epochs=5000)\n"
        "train_in_child(how, Task(lambda p: print(p.phase, p.done, flush=True)))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    for line in parent.stdout:
        if line.startswith("training 2"):
            break
    (child,) = psutil.Process(parent.pid).children()
    parent.send_signal(signal.SIGKILL) if os.name == "posix" else parent.kill()
    parent.wait()
    parent.stdout.close()
    child.wait(timeout=WINDOW_S)


@pytest.mark.usefixtures("forked_children")
def test_training_goes_on_from_a_model_and_says_what_does_not_fit(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train_in_child(params(folders, tmp_path / "first.cellclass", epochs=3))
    # A step too small to matter: what it ends with is what it began with.
    still = params(folders, tmp_path / "again.cellclass", epochs=1, initial=first, learning_rate=1e-12, seed=5)
    again = train_in_child(still)
    val_loss = [open_bundle(path).manifest.scores["val_loss"] for path in (first, again)]
    assert val_loss[1] == pytest.approx(val_loss[0], abs=1e-5)
    assert open_bundle(again).manifest.training["initial"] == str(first)
    assert open_bundle(again).preprocess == open_bundle(first).preprocess
    for more, text in (
        ({"input_px": 48}, "takes 24 x 24 px, but the tiles would be resized to 48 x 48; set --input-px 24"),
        ({"network": "deep"}, "is a network 'compact', but 'deep' is to be trained"),
        ({"standardise": "none"}, "was trained with --standardise tile, but none is requested"),
        ({"normalisation": "percentiles"}, "takes grey values 0 to 255 as 0 to 1, but percentiles 0.2 to 99.8"),
        ({"range": "0:99"}, "takes grey values 0 to 255 as 0 to 1, but grey values 0 to 99"),
    ):
        how = params(folders, tmp_path / "no.cellclass", initial=first, **more)
        assert main(command(how, tmp_path / "s.json")) == 2
        assert text in capsys.readouterr().err
    (folders / "middle").mkdir()
    try:
        for i in range(4):
            Image.fromarray(np.full((24, 24), 120 + i, np.uint8)).save(folders / "middle" / f"w{i}_.png")
        how = params(folders, tmp_path / "no.cellclass", initial=first)
        assert main(command(how, tmp_path / "s.json")) == 2
        assert "has the classes dark, light, but the tiles have dark, light, middle" in capsys.readouterr().err
    finally:
        for path in (folders / "middle").iterdir():
            path.unlink()
        (folders / "middle").rmdir()
