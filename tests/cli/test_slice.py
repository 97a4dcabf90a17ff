"""The verb ``slice`` as a user or a script meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests._patience import PROCESS_S
from tests._program import forking, preloaded

from napari_cellclass.cli.main import main
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.params.prepare import SliceParams
from napari_cellclass.core.params.settings_file import SETTINGS_FILE
from napari_cellclass.runs.prepare.slicing import slice_images


def run(*words: Any) -> int:
    return main([str(word) for word in words])


def refused(capsys: Any, *words: Any) -> str:
    """Expect exit code 2 and exactly one line of error; give the line."""
    assert run(*words) == 2
    err = str(capsys.readouterr().err).strip()
    assert "\n" not in err
    assert "unexpected" not in err
    return err


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    for i, name in enumerate(("a/1.png", "a/2.png", "b/1.png", "b/2.png")):
        path = tmp_path / "fields" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (48, 64, 3), np.uint8)).save(path)
    return tmp_path / "fields"


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_cut_rename_undo_and_rotate_as_commands(fields: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "tiles"
    assert run("slice", fields, "--tile-px", 16, "--out", out, "--rotate", "-1:1") == 0
    assert "4 of 4 images made into 48 tiles and 96 rotated copies" in capsys.readouterr().out
    before = content(out)
    assert run("slice", out, "--rename", "--prefix", "n") == 0
    assert "144 files" in capsys.readouterr().out
    assert (out / "a" / "n_0072.png").is_file()
    assert set(pd.read_csv(out / "tiles.csv")["file"]) == {f"{c}/n_{i:04d}.png" for c in "ab" for i in range(1, 73)}
    assert run("slice", out, "--undo", "--quiet") == 0
    assert content(out) == before
    assert run("slice", out, "--rotate", "2:2", "--out", out, "--quiet") == 0
    assert len(list(out.glob("*/*_a+02.png"))) == 48


def test_the_command_and_the_function_give_the_same_bytes(fields: Path, tmp_path: Path) -> None:
    words = [
        "--tile-px",
        20,
        "--edge",
        "shift",
        "--rotate=-3:3",
        "--background",
        "variance",
        "--background-limit",
        0.01,
    ]
    assert run("slice", fields, "--out", tmp_path / "one", *words, "--quiet") == 0
    slice_images(
        SliceParams(
            images=[fields], out=tmp_path / "other", tile_px=20, edge="shift", rotate="-3:3", background="variance",
            background_limit=0.01,
        )
    )  # fmt: skip
    one, other = content(tmp_path / "one"), content(tmp_path / "other")
    for files in (one, other):
        assert files.pop(SETTINGS_FILE)  # names the folder
    assert one == other
    assert len(one) > 4


def test_an_unreadable_image_is_named_and_the_exit_code_is_one(fields: Path, tmp_path: Path, capsys: Any) -> None:
    (fields / "a" / "0.png").write_bytes((fields / "a" / "1.png").read_bytes()[:900])
    (fields / "b" / "3.tif").write_text("no image")
    assert run("slice", fields, "--tile-px", 16, "--out", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 2
    assert "0.png" in captured.err
    assert "3.tif" in captured.err
    assert "4 of 6 images made into 48 tiles" in captured.out
    assert run("slice", fields / "b" / "3.tif", "--out", tmp_path / "none", "--quiet") == 2


def test_progress_is_told_as_json_lines(fields: Path, tmp_path: Path, capsys: Any) -> None:
    assert run("slice", fields, "--tile-px", 16, "--out", tmp_path / "out", "--progress", "jsonl") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["done"] for e in events if e.get("phase") == "slicing"] == [1, 2, 3, 4]
    assert events[-1] == {"event": "done", "out": str(tmp_path / "out"), "images": 4, "failed": 0}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "--out is needed, but was not given"),
        (["--out", "o", "--rotate", "5"], "--rotate '5': is no range of whole degrees; write LO:HI, e.g. -5:5"),
        (["--out", "o", "--rotate", "5:-5"], "--rotate '5:-5': runs backwards; write -5:5"),
        (["--out", "o", "--rotate", "-900:5"], "--rotate '-900:5': goes beyond 180 degrees"),
        (["--out", "o", "--background-limit", "3"], "--background-limit was given without --background"),
        (["--out", "o", "--background", "dark"], "--background 'dark': input should be 'none', 'mean'"),
        (["--out", "o", "--class-name", "a/b"], "--class-name 'a/b': it becomes a folder"),
        (["--out", "o", "--tile-px", "16", "--tiles", "4"], "--tile-px and --tiles were both given"),
        (["--rename", "--tile-px", "16"], "--rename cuts nothing, so --tile-px has no use; drop it"),
        (["--undo", "--out", "o"], "--undo cuts nothing, so --out has no use; drop it"),
        (["--undo"], "no renaming to undo"),
        (["more", "--rename"], "--rename takes one folder, but 2 were given"),
        (["--out", "o", "--tile-px", "1000"], "larger than the field"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    fields: Path, words: list[str], line: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fields.parent)
    assert line in refused(capsys, "slice", fields / "a" / "1.png" if "1000" in words else fields, *words)


def test_a_folder_without_images_is_refused(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no image" in refused(capsys, "slice", tmp_path / "empty", "--out", tmp_path / "out")
    assert "there is no such file" in refused(capsys, "slice", tmp_path / "no.png", "--out", tmp_path / "out")


@pytest.mark.training
def test_keras_reads_what_slice_wrote(fields: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiles"
    assert run("slice", fields, "--tile-px", 16, "--out", out, "--rotate", "-1:1", "--quiet") == 0
    script = tmp_path / "read.py"
    script.write_text(
        "import sys, json, keras\n"
        "data = keras.utils.image_dataset_from_directory(sys.argv[1], image_size=(16, 16), shuffle=False,\n"
        "    batch_size=200, label_mode='int')\n"
        "x, y = next(iter(data))\n"
        "print(json.dumps([data.class_names, data.file_paths, x.numpy()[:, 3, 5].tolist(), y.numpy().tolist()]))\n"
    )
    words = forking([sys.executable, str(script), str(out)])
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PROCESS_S)
    assert done.returncode == 0, done.stderr[-2000:]
    names, paths, pixels, labels = json.loads(done.stdout.splitlines()[-1])
    frame = pd.read_csv(out / "tiles.csv")
    assert names == ["a", "b"]
    assert sorted(Path(p).relative_to(out).as_posix() for p in paths) == sorted(frame["file"])
    for path, pixel, label in zip(paths, pixels, labels, strict=True):
        assert Path(path).parent.name == names[label]
        np.testing.assert_array_equal(np.asarray(Image.open(path))[3, 5], pixel)


@pytest.mark.realdata
@pytest.mark.training
def test_the_chain_from_fields_to_a_model_runs_as_commands(tmp_path: Path, real_data: Path) -> None:
    tiles, model = tmp_path / "tiles", tmp_path / "m.cellclass"
    plate = real_data / "transfluor"
    assert run("slice", plate, "--tile-px", 256, "--out", tiles, "--quiet") == 0
    assert len(list(tiles.glob("*/*.png"))) == 18 * 4
    assert run("slice", tiles, "--rename", "--quiet") == 0
    assert run("slice", tiles, "--rotate", "-3:-3", "--out", tiles, "--quiet") == 0
    frame = pd.read_csv(tiles / "tiles.csv")
    assert len(frame) == 18 * 4 * 2
    for row in frame.sample(20, random_state=0).itertuples():
        tile = read_image(tiles / row.file)
        assert SourceImage(np.asarray(tile.data[...])).image_id == row.hash
        if row.angle == 0:
            field = read_image(row.source)
            np.testing.assert_array_equal(tile.data[...], field.read(row.y0, row.x0, row.y1, row.x1))
    words = ["train", tiles, "--group-by", "^(...)", "--epochs", 1, "--input-px", 32, "--out", model, "--quiet"]
    done = preloaded(*words)
    assert done.returncode == 0, done.stderr
    split = open_bundle(model).table("split.csv")
    assert len(split) == len(frame)
    split["copy"] = split["path"].str.contains("_a-03.png", regex=False)
    assert set(split["group"]) == {path.name[:3] for path in plate.glob("*/*.TIF")}, "wells"
    used = split[split["split"].isin(["train", "validation"])]
    assert (used.groupby("group")["split"].nunique() == 1).all()
    assert not used[used["split"] == "validation"]["copy"].any()
    assert used[used["split"] == "train"]["copy"].sum() == (~used[used["split"] == "train"]["copy"]).sum()
