"""The command line as a user or a script meets it: files, exit codes and one clear line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import tifffile
from PIL import Image
from tests._patience import PROCESS_S, wait_until
from tests._program import Call, command, line, preloaded

from napari_cellclass.cli.main import build_parser, main
from napari_cellclass.core.images import png as readers_png
from napari_cellclass.core.samples.realfield import ihc_field

TABLE = "tile_id,row,col,y0,x0,y1,x1,class_name,confidence,p_stained,p_unstained"


def refused(capsys: Any, *words: Any) -> str:
    """Run in this process, expect exit code 2 and exactly one line of error; give the line."""
    assert main([str(word) for word in words]) == 2
    err = capsys.readouterr().err.strip()
    assert "\n" not in err
    assert "Traceback" not in err
    assert "unexpected" not in err
    return err


# -- the main job ------------------------------------------------------------------------------


def test_classify_writes_the_tables_of_every_image(tmp_path: Path, ihc_field_file: Path, ihc_model: Path) -> None:
    second = tmp_path / "two words, [1].tif"
    tifffile.imwrite(second, ihc_field().data[:200, :300], photometric="rgb")
    out = tmp_path / "out"
    done = command("classify", ihc_field_file, second, "--model", ihc_model, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 images classified" in done.stdout
    for stem, tiles in (("ihc", 256), ("two words, [1]", 6 * 9)):
        text = (out / f"{stem}.tiles.csv").read_text(encoding="utf-8").splitlines()
        assert text[0] == f"{TABLE},novelty,novelty_p"
        assert len(text) == tiles + 1
        assert len(json.loads((out / f"{stem}.geojson").read_text())["features"]) == tiles
        run = json.loads((out / f"{stem}.run.json").read_text())
        assert run["grid"]["tiles"] == tiles
        assert run["complete"]
    report = json.loads((out / "report.json").read_text())
    assert report["images"] == 2
    assert report["failed"] == 0
    assert sum(report["results"][0]["counts"].values()) == 256


def test_unsure_tiles_are_told_at_an_error_rate(tmp_path: Path, ihc_field_file: Path, ihc_model: Path) -> None:
    words = ["classify", str(ihc_field_file), "--model", str(ihc_model), "--out", str(tmp_path), "--quiet"]
    assert main([*words, "--error-rate", "0.05"]) == 0
    frame = pd.read_csv(tmp_path / "ihc.tiles.csv", keep_default_na=False)
    unsure = frame["class_name"] == "(unsure)"
    assert 0 < unsure.sum() < len(frame)
    assert set(frame["prediction_set"][~unsure]) == {"stained", "unstained"}
    assert set(frame["prediction_set"][unsure]) <= {"stained|unstained", "unstained|stained", ""}
    assert json.loads((tmp_path / "ihc.run.json").read_text())["error_rate"] == 0.05
    assert json.loads((tmp_path / "report.json").read_text())["results"][0]["counts"]["(unsure)"] == unsure.sum()


def test_classifying_twice_gives_the_same_bytes(tmp_path: Path, ihc_field_file: Path, ihc_model: Path) -> None:
    for name in ("a", "b"):
        assert (
            main(["classify", str(ihc_field_file), "--model", str(ihc_model), "--out", str(tmp_path / name), "--quiet"])
            == 0
        )
    for name in ("ihc.tiles.csv", "ihc.geojson", "ihc.run.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.usefixtures("forked_children")
@pytest.mark.parametrize("how", [["--workers", "2"], ["--engine", "tensorflow"]])
def test_workers_and_the_other_engine_give_the_same_answers(
    tmp_path: Path, ihc_field_file: Path, ihc_model: Path, how: list[str], call: Call
) -> None:
    copy = tmp_path / "copy.png"
    shutil.copy(ihc_field_file, copy)
    for name, words in (("one", []), ("other", how)):
        done = call("classify", ihc_field_file, copy, "--model", ihc_model, "--out", tmp_path / name, "--quiet", *words)
        assert done.returncode == 0, done.stderr
    for stem in ("ihc", "copy"):
        one, other = (pd.read_csv(tmp_path / name / f"{stem}.tiles.csv") for name in ("one", "other"))
        np.testing.assert_allclose(one["p_stained"], other["p_stained"], atol=1e-4)
        if how[0] == "--workers":
            assert (tmp_path / "one" / f"{stem}.tiles.csv").read_bytes() == (
                tmp_path / "other" / f"{stem}.tiles.csv"
            ).read_bytes()


def test_with_one_thread_a_process_starts_none_to_read_or_to_classify(
    tmp_path: Path, ihc_field_file: Path, ihc_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(readers_png, "_STRIP_BYTES", 1 << 16)
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda self: started.append(self.name) or start(self))
    named: dict[str, set[str]] = {}
    for threads in ("1", "2"):
        words = ["classify", str(ihc_field_file), "--model", str(ihc_model), "--quiet"]
        for _ in range(2):  # the second time what is there is looked at
            assert main([*words, "--out", str(tmp_path / threads), "--threads", threads]) == 0
        named[threads] = {name.split("_")[0] for name in started}
        started.clear()
    assert not {"prefetch", "classify"} & named["1"]
    assert {"prefetch", "classify"} <= named["2"]
    one, two = (next((tmp_path / threads).glob("*.tiles.csv")).read_bytes() for threads in ("1", "2"))
    assert one == two


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path: Path, ihc_field_file: Path, ihc_model: Path) -> None:
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
        shutil.copy(ihc_field_file, tmp_path / folder / "f.png")
    assert (
        main(
            [
                "classify",
                *(str(tmp_path / f / "f.png") for f in "AB"),
                "--model",
                str(ihc_model),
                "--out",
                str(tmp_path),
                "--quiet",
            ]
        )
        == 0
    )
    assert (tmp_path / "A_f.tiles.csv").is_file()
    assert (tmp_path / "B_f.tiles.csv").is_file()


def test_evaluate_writes_the_figures_of_the_design(tmp_path: Path, ihc_model: Path, call: Call) -> None:
    out = tmp_path / "e"
    done = call("evaluate", ihc_model.parent / "test", "--model", ihc_model, "--out", out, "--group-by", r"_(c\d+)")
    assert done.returncode == 0, done.stderr
    content = json.loads((out / "evaluation.json").read_text())
    assert content["n"] == 128
    assert content["groups"] == 8
    assert content["classes"] == ["stained", "unstained"]
    confusion = np.array(content["confusion"])
    assert confusion.sum() == 128
    for name in ("accuracy", "balanced_accuracy"):
        assert 0 <= content[name]["lo"] <= content[name]["value"] <= content[name]["hi"] <= 1
    assert 0 <= content["ece"] <= 1
    frame = pd.read_csv(out / "tiles.csv")
    assert frame["right"].mean() == pytest.approx(content["accuracy"]["value"])
    for i, name in enumerate(content["classes"]):
        assert (frame["true_class"] == name).sum() == confusion[i].sum()
    assert content["balanced_accuracy"]["value"] > 0.8
    assert (out / "confusion.png").stat().st_size > 10_000


def test_info_tells_layers_classes_data_and_scores(capsys: Any, ihc_model: Path) -> None:
    assert main(["info", str(ihc_model)]) == 0
    text = capsys.readouterr().out
    for part in (
        "compact",
        "stained (#",
        "32 x 32 px, 3 channels",
        "Conv2D",
        "32 x 32 x 16",
        "balanced_accuracy",
        "keras",
        "confidence temperature",
    ):
        assert part in text
    assert main(["info", str(ihc_model), "--json-lines"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"][0]["name"] == "stained"


@pytest.mark.training
def test_training_speaks_json_lines_to_programs(tmp_path: Path, ihc_model: Path) -> None:
    out = tmp_path / "m.cellclass"
    test = ihc_model.parent / "test"
    words = ["--epochs", 2, "--input-px", 16, "--progress", "jsonl", "--runs", 2, "--test", test, "--tile-px", 16]
    done = preloaded("train", ihc_model.parent / "train", "--out", out, *words)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    training = [e for e in events if e["event"] == "progress" and e["phase"] == "training"]
    assert [e["done"] for e in training if e["done"]][-1] == 2
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(training[-1]["metrics"])
    assert events[-1]["event"] == "done"
    assert len(events[-1]["models"]) == 2
    assert (tmp_path / "m_run02.cellclass").is_file()
    runs = pd.read_csv(tmp_path / "m_runs.csv")
    assert runs[["seed", "test"]].to_numpy().tolist() == [[i, name] for i in (0, 1) for name in ("validation", "test")]
    assert json.loads((tmp_path / "m_tests.json").read_text())[str(test)]["n"] == 128 * 4


def test_quiet_prints_nothing(tmp_path: Path, ihc_field_file: Path, ihc_model: Path) -> None:
    done = command("classify", ihc_field_file, "--model", ihc_model, "--out", tmp_path, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_plain_keras_file_needs_its_classes_and_then_works(tmp_path: Path, keras_files: Path, call: Call) -> None:
    tifffile.imwrite(tmp_path / "f.tif", np.random.default_rng(0).integers(0, 4096, (64, 96)).astype(np.uint16))
    words = ["classify", tmp_path / "f.tif", "--model", keras_files / "anysize.keras", "--out", tmp_path / "o"]
    done = call(*words)
    assert done.returncode == 2
    assert "--classes" in done.stderr
    done = call(*words, "--classes", "left,right,up", "--rescale", 4095, "--tile-px", 32)
    assert done.returncode == 2
    assert "3" in done.stderr
    assert "2" in done.stderr
    done = call(*words, "--classes", "left,right", "--rescale", 4095, "--tile-px", 32, "--workers", 2)
    assert done.returncode == 0, done.stderr
    frame = pd.read_csv(tmp_path / "o" / "f.tiles.csv")
    assert len(frame) == 6
    assert list(frame)[-2:] == ["p_left", "p_right"]
    done = call("classify", tmp_path / "f.tif", "--model", keras_files / "lambda.keras", "--out", tmp_path / "o")
    assert done.returncode == 2
    assert "Lambda" in done.stderr


def test_version_and_help_name_every_verb(capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("napari-cellclass ")
    text = build_parser().format_help()
    for verb in ("demo", "train", "evaluate", "classify", "info"):
        assert verb in text


@pytest.mark.training
@pytest.mark.usefixtures("forked_children")
def test_the_demo_leaves_picture_tables_and_figures(tmp_path: Path, call: Call) -> None:
    done = call("demo", "--out", tmp_path / "demo", "--no-window", "--progress", "none")
    assert done.returncode == 0, done.stderr
    for name in ("overlay.png", "tiles.csv", "tiles.geojson", "evaluation.json", "demo.cellclass"):
        assert str(name) in done.stdout
        assert (tmp_path / "demo" / name).stat().st_size > 500
    assert len(pd.read_csv(tmp_path / "demo" / "tiles.csv")) == 128
    assert json.loads((tmp_path / "demo" / "evaluation.json").read_text())["balanced_accuracy"]["value"] > 0.8


# -- what goes wrong -------------------------------------------------------------------------------


def test_an_unreadable_image_among_good_ones_is_named_and_the_others_go_on(
    tmp_path: Path, ihc_field_file: Path, ihc_model: Path, call: Call
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(ihc_field_file.read_bytes()[:5000])
    last = tmp_path / "last.png"
    shutil.copy(ihc_field_file, last)
    done = call("classify", ihc_field_file, bad, last, "--model", ihc_model, "--out", tmp_path / "o")
    assert done.returncode == 1
    assert "bad.png" in done.stderr
    assert "Traceback" not in done.stderr
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert [bool(r["error"]) for r in report["results"]] == [False, True, False]
    assert report["failed"] == 1
    assert not (tmp_path / "o" / "bad.tiles.csv").exists()
    assert (tmp_path / "o" / "last.tiles.csv").exists()


def test_a_grey_image_for_a_colour_model_is_refused(tmp_path: Path, ihc_model: Path, capsys: Any) -> None:
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "g.png")
    line = refused(capsys, "classify", tmp_path / "g.png", "--model", ihc_model, "--out", tmp_path, "--quiet")
    assert "g.png" in line
    assert "trained on 3 channels, but the image has 1" in line


def test_a_tile_larger_than_the_image_is_refused(tmp_path: Path, ihc_model: Path, capsys: Any) -> None:
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(tmp_path / "s.png")
    line = refused(capsys, "classify", tmp_path / "s.png", "--model", ihc_model, "--out", tmp_path, "--quiet")
    assert "a tile of 32 x 32 px is larger than the field of 24 x 20 px" in line


def test_a_constant_image_is_classified_with_a_warning(tmp_path: Path, ihc_model: Path, call: Call) -> None:
    Image.fromarray(np.full((64, 64, 3), 7, np.uint8)).save(tmp_path / "c.png")
    done = call("classify", tmp_path / "c.png", "--model", ihc_model, "--out", tmp_path)
    assert done.returncode == 0
    assert "every pixel is 7: the image is constant" in done.stderr
    assert json.loads((tmp_path / "c.run.json").read_text())["warnings"]


def test_nan_and_infinite_pixels_leave_their_tiles_unclassified(tmp_path: Path, ihc_model: Path, call: Call) -> None:
    pixels = ihc_field().data[:64, :96].astype(np.float32)
    pixels[3, 3, 0], pixels[40, 70, 2] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "n.tif", pixels, photometric="rgb")
    done = call("classify", tmp_path / "n.tif", "--model", ihc_model, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of 6 tiles hold NaN or infinite pixels" in done.stderr
    frame = pd.read_csv(tmp_path / "n.tiles.csv")
    assert frame["class_name"].isna().tolist() == [True, False, False, False, False, True]


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({}, "needs at least two sub-folders with images, one per class, but has 0 (none)"),
        ({"one/a.png": 1}, "but has 1 (one)"),
        ({"one/a.png": 1, "two/readme.txt": 0}, "but has 1 (one)"),
    ],
)
def test_training_without_two_classes_is_refused(tmp_path: Path, capsys: Any, files: dict, text: str) -> None:
    for name, image in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(path) if image else path.write_text("x")
    assert text in refused(capsys, "train", tmp_path, "--out", tmp_path / "m.cellclass", "--quiet")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["classify", "a.tif", "--model", "m", "--out", "o", "--overlap", "2"], "--overlap '2'"),
        (["classify", "a.tif", "--model", "m", "--out", "o", "--edge", "wrap"], "--edge 'wrap'"),
        (["classify", "a.tif", "--out", "o"], "--model"),
        (["classify", "--model", "m", "--out", "o"], "IMAGE"),
        (["train", "d", "--out", "m.h5"], "a model's name ends in .cellclass"),
        (["train", "d", "--out", "m.cellclass", "--network", "vgg"], "--network 'vgg'"),
        (["train", "d", "--out", "m.cellclass", "--colour", "3"], "--colour"),
        (["fly"], "fly"),
        ([], "VERB"),
        (["info", "no.cellclass"], "there is no model no.cellclass"),
        (["classify", "a.tif", "--model", "no.cellclass", "--out", "o"], "there is no model"),
        (["train", "no/folder", "--out", "m.cellclass"], "is not a folder"),
    ],
)
def test_bad_usage_is_one_line_with_the_value(capsys: Any, words: list[str], text: str) -> None:
    assert text in refused(capsys, *words)


def test_an_image_that_is_not_there_is_told(tmp_path: Path, ihc_model: Path, capsys: Any) -> None:
    line = refused(capsys, "classify", tmp_path / "no.tif", "--model", ihc_model, "--out", tmp_path, "--quiet")
    assert "no.tif" in line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    sudo = [] if getattr(os, "geteuid", lambda: 0)() == 0 else ["sudo", "-n"]
    mounted = (
        sys.platform == "linux"
        and not subprocess.run(
            [*sudo, "mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs", str(disk)], check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("a small file system can only be mounted by root on Linux")
    yield disk
    subprocess.run([*sudo, "umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_told_and_leaves_no_half_file(
    small_disk: Path, ihc_field_file: Path, ihc_model: Path, tmp_path: Path, call: Call
) -> None:
    (small_disk / "filler").write_bytes(b"x" * 50_000)
    done = call("classify", ihc_field_file, "--model", ihc_model, "--out", small_disk, "--quiet")
    assert done.returncode == 2
    assert "the disk is full; free some space" in done.stderr
    assert "Traceback" not in done.stderr
    for path in small_disk.iterdir():
        assert path.name in ("filler", "report.json", "fields.csv", "settings.json"), "half a table was left"


@pytest.mark.training
def test_a_model_that_does_not_fit_the_disk_is_told(small_disk: Path, ihc_model: Path) -> None:
    done = preloaded("train", ihc_model.parent / "train", "--out", small_disk / "m.cellclass", "--epochs", 1, "--quiet")
    assert done.returncode == 2
    assert "the disk is full" in done.stderr.splitlines()[-1]
    assert list(small_disk.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, ihc_field_file: Path, ihc_model: Path, call: Call
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = call("classify", ihc_field_file, "--model", ihc_model, "--out", file / "sub", "--quiet")
    assert done.returncode == 2
    assert "a part of that path is a file; choose another folder" in done.stderr
    # /proc refuses new files even to root
    if sys.platform == "linux":
        done = call("classify", ihc_field_file, "--model", ihc_model, "--out", "/proc/1/map_files", "--quiet")
        assert done.returncode == 2
        assert "cannot write /proc/1/map_files" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_pickle_named_like_a_model_is_refused(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "m.cellclass"
    path.write_bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.")
    assert "is not a .cellclass model" in refused(capsys, "info", path)


def test_a_name_that_is_not_utf8_is_classified_and_reported(
    tmp_path: Path, ihc_field_file: Path, ihc_model: Path
) -> None:
    strange = os.fsencode(tmp_path) + b"/bad\xff.png"
    try:
        shutil.copy(ihc_field_file, strange)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    out = tmp_path / "o"
    done = command("classify", os.fsdecode(strange), ihc_field_file, "--model", ihc_model, "--out", out)
    assert done.returncode == 0, done.stderr
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["failed"] == 0
    assert report["images"] == 2


def test_an_image_given_twice_is_classified_once(tmp_path: Path, ihc_field_file: Path, ihc_model: Path) -> None:
    other = ihc_field_file.parent / ".." / ihc_field_file.parent.name / ihc_field_file.name
    assert (
        main(
            ["classify", str(ihc_field_file), str(other), "--model", str(ihc_model), "--out", str(tmp_path), "--quiet"]
        )
        == 0
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["images"], report["cancelled"]) == (1, False)


def test_another_bit_depth_than_trained_is_a_warning_and_quiet_keeps_silent(
    tmp_path: Path, ihc_field_file: Path, ihc_model: Path, call: Call
) -> None:
    tifffile.imwrite(tmp_path / "deep.tif", ihc_field().data.astype(np.uint16) * 200, photometric="rgb")
    words = ["classify", tmp_path / "deep.tif", "--model", ihc_model, "--out", tmp_path]
    done = call(*words)
    assert done.returncode == 0
    assert "pixels are uint16, but the model was trained on uint8" in done.stderr
    assert call(*words, "--quiet").stderr == ""


def test_output_that_nobody_reads_ends_quietly(ihc_model: Path) -> None:
    line = f"'{sys.executable}' -m napari_cellclass info '{ihc_model}' --json-lines | head -c 10"
    done = subprocess.run(["bash", "-c", line], check=False, capture_output=True, text=True, timeout=PROCESS_S)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--out", "{file}/m.cellclass"], "a file of that name is in the way"),
        (["--out", "{tmp}/m.cellclass", "--test", "{tmp}/none"], "is not a folder"),
        (["--out", "{tmp}/m.cellclass", "--test", "{other}"], "which the model does not know"),
    ],
)
def test_what_would_fail_after_training_is_told_before(
    tmp_path: Path, ihc_model: Path, capsys: Any, words: list[str], text: str
) -> None:
    (tmp_path / "file").write_text("")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(_made(tmp_path / "other" / "strange" / "a.png"))
    places = {"file": tmp_path / "file", "tmp": tmp_path, "other": tmp_path / "other"}
    given = [word.format(**places) for word in words]
    assert text in refused(capsys, "train", ihc_model.parent / "train", *given, "--quiet")
    assert "tensorflow" not in sys.modules, "nothing was trained"
    assert not list(tmp_path.glob("*.cellclass"))


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_doubled_images_never_stand_on_both_sides(tmp_path: Path) -> None:
    from napari_cellclass.core.datasets.dataset import read_folders

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for i in range(3):
            Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(_made(tmp_path / name / f"{i}.png"))
    shutil.copy(tmp_path / "a" / "0.png", tmp_path / "a" / "copy.png")
    shutil.copy(tmp_path / "a" / "1.png", tmp_path / "b" / "torn.png")
    data = read_folders(tmp_path)
    reasons = {str(path.relative_to(tmp_path)): reason for path, reason in data.skipped}
    assert set(reasons) == {"a/copy.png", "a/1.png", "b/torn.png"}
    assert "same pixels as 0.png" in reasons["a/copy.png"]
    assert "decide for one class" in reasons["a/1.png"]
    assert len(data) == 5


def test_a_folder_of_one_class_can_be_evaluated(tmp_path: Path, ihc_model: Path, call: Call) -> None:
    shutil.copytree(ihc_model.parent / "test" / "stained", tmp_path / "one" / "stained")
    done = call("evaluate", tmp_path / "one", "--model", ihc_model, "--out", tmp_path / "e")
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert content["confusion"][1] == [0, 0]


@pytest.mark.parametrize("name", ["plate.png", "wells.csv", "img.geojson", "img.tiles.csv"])
def test_a_run_writes_over_no_file_that_is_of_no_run(
    tmp_path: Path, ihc_field_file: Path, ihc_model: Path, capsys: Any, name: str
) -> None:
    image = tmp_path / "img.png"
    shutil.copy(ihc_field_file, image)
    (tmp_path / name).write_text("mine")
    line = refused(capsys, "classify", image, "--model", ihc_model, "--out", tmp_path, "--progress", "none")
    assert f"{name} was not written by classify, but would be written over" in line
    assert (tmp_path / name).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["img.png", name])


def test_a_run_writes_over_no_image_that_it_classifies_and_over_its_own_tables(
    tmp_path: Path, ihc_field_file: Path, ihc_model: Path, capsys: Any
) -> None:
    for name in ("plate.png", "img.png"):
        shutil.copy(ihc_field_file, tmp_path / name)
    known = (tmp_path / "plate.png").read_bytes()
    words = ["classify", tmp_path, "--model", ihc_model, "--out", tmp_path, "--progress", "none"]
    assert "is an image to classify" in refused(capsys, *words)
    assert (tmp_path / "plate.png").read_bytes() == known
    (tmp_path / "plate.png").unlink()
    for overlap in (0, 0.5):
        assert main([*map(str, words), "--overlap", str(overlap)]) == 0
    assert (tmp_path / "img.run.json").exists()


def test_an_evaluation_writes_into_no_tiles_and_over_no_labels(tmp_path: Path, ihc_model: Path, capsys: Any) -> None:
    tiles = tmp_path / "tiles"
    for name in ("stained", "unstained"):
        (tiles / name).mkdir(parents=True)
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tiles / name / "a.png")
    words = ["evaluate", tiles, "--model", ihc_model, "--progress", "none", "--out"]
    assert "would be written into the data" in refused(capsys, *words, tiles)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tiles.csv").write_text("mine")
    assert "was not written by an evaluation" in refused(capsys, *words, tmp_path / "out")
    assert (tmp_path / "out" / "tiles.csv").read_text() == "mine"


def test_slice_refuses_a_limit_that_is_no_number_and_says_when_it_wrote_nothing(
    tmp_path: Path, ihc_field_file: Path, capsys: Any, call: Call
) -> None:
    words = ["slice", ihc_field_file, "--out", tmp_path / "o", "--tile-px", 64, "--background", "variance"]
    assert "--background-limit 'nan'" in refused(capsys, *words, "--background-limit", "nan")
    done = call(*words, "--background-limit", "50")
    assert "; none was written" in done.stdout
    assert not (tmp_path / "o").exists()
    too_large = call("slice", ihc_field_file, "--out", tmp_path / "o", "--tile-px", 600)
    assert f"{ihc_field_file.name}: a tile of 600 x 600 px is larger" in too_large.stdout + too_large.stderr


def test_a_span_may_begin_with_a_minus_and_have_an_exponent() -> None:
    words = ["train", "folder", "--out", "m.cellclass", "--range", "-1e3:1e3"]
    assert build_parser().parse_args(words).range == "-1e3:1e3"


@pytest.mark.parametrize(
    "words", [["classify", "a.png", "--out", ""], ["classify", "", "--out", "o"], ["slice", "a.png", "--out", ""]]
)
def test_an_empty_path_is_not_the_current_folder(
    tmp_path: Path, ihc_model: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = ["--model", str(ihc_model)] if words[0] == "classify" else []
    assert "is empty; name a file or folder" in refused(capsys, *words, *shown)
    assert list(tmp_path.iterdir()) == []


def used(processes: list[psutil.Process]) -> list[float]:
    """Seconds of a processor that each process has used."""
    return [sum(process.cpu_times()[:2]) for process in processes]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("sent", "to_all", "after_s"),
    [(signal.SIGINT, False, 4.0), (signal.SIGTERM, False, 4.0), (signal.SIGINT, True, 0.0), (signal.SIGINT, True, 0.5)],
    ids=["Ctrl-C", "SIGTERM", "Ctrl-C to all at once", "Ctrl-C to all as they start"],
)
def test_an_interrupted_run_ends_soon_in_one_line_and_leaves_no_process(
    tmp_path: Path, ihc_model: Path, sent: int, to_all: bool, after_s: float
) -> None:
    pixels = np.tile(ihc_field().data, (8, 8, 1))
    images = [tmp_path / f"{i}.npy" for i in range(6)]
    for image in images:
        np.save(image, pixels)
    words = ["classify", *images, "--model", ihc_model, "--out", tmp_path / "o"]
    child = subprocess.Popen(
        line(*words, "--workers", 2, "--overlap", 0.9, "--progress", "none"),
        stderr=subprocess.PIPE,
        text=True,
        # A shell lets what it runs in the background ignore SIGINT, these tests perhaps among it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        start_new_session=True,
    )
    family = psutil.Process(child.pid)
    wait_until(lambda: len(family.children(recursive=True)) >= 2)
    others = family.children(recursive=True)
    wait_until(lambda: sum(used(others)) >= 2 * after_s)  # of processors, so that it depends on no other program
    others = family.children(recursive=True)
    os.killpg(child.pid, sent) if to_all else child.send_signal(sent)
    try:
        _, err = child.communicate(timeout=PROCESS_S)
    finally:
        child.kill()
    assert child.returncode == 130
    assert err.strip().splitlines() == ["napari-cellclass: cancelled; what was finished is kept"]
    _, alive = psutil.wait_procs(others, timeout=PROCESS_S)
    assert not alive
    assert not list((tmp_path / "o").glob(".tmp-*"))
