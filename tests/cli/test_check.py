"""The verb ``check``: what it says is used is what training uses."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from tests._models import write_grain
from tests._program import preloaded

from napari_cellclass.cli.main import main
from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.datasets.dataset import read_folders
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.runs.train.preview import preview_dataset


def noise(seed: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (64, 64)).astype(dtype)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def seeded(tmp_path: Path) -> Path:
    """Two classes of six images, and everything that goes wrong with such folders."""
    data = tmp_path / "data"
    for k, name in enumerate(("alpha", "beta")):
        (data / name).mkdir(parents=True)
        for i in range(6):
            (data / name / f"{name}{i}.png").write_bytes(png(noise(10 * k + i)))
    (data / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (data / "alpha" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (data / "alpha" / "._alpha0.png").write_bytes(b"\0\5\x16\7")
    (data / "gamma").mkdir()
    (data / "beta" / "cut_off.png").write_bytes(png(noise(50))[:2000])
    (data / "beta" / "words.tif").write_text("not a picture")
    tifffile.imwrite(data / "alpha" / "deep.tif", noise(51, np.uint16))
    (data / "alpha" / "both.png").write_bytes(png(noise(52)))
    (data / "beta" / "again.png").write_bytes(png(noise(52)))
    return data


@pytest.mark.training
def test_the_check_names_all_that_is_wrong_and_training_uses_exactly_the_rest(
    seeded: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "report.json"
    assert main(["check", str(seeded), "--tile-px", "32", "--out", str(out), "--progress", "none"]) == 0
    printed = capsys.readouterr().out
    names = (".DS_Store", "Thumbs.db", "._alpha0.png", "gamma", "cut_off.png", "words.tif", "deep.tif", "both.png",
             "again.png")  # fmt: skip
    report = json.loads(out.read_text())
    told = {Path(path).name for finding in report["findings"] for path in finding["files"]}
    for name in names:
        assert name in told
        assert name in printed
    codes = {finding["code"] for finding in report["findings"]}
    assert codes >= {"phantom", "empty-folder", "unreadable", "unlike-most", "duplicate-across-classes"}
    assert len(report["images"]) == 12

    model = tmp_path / "m.cellclass"
    words = ["train", seeded, "--tile-px", "32", "--epochs", "1", "--out", model, "--quiet"]
    assert preloaded(*words).returncode == 0
    assert sorted(set(open_bundle(model).table("split.csv")["path"])) == report["images"]


def test_a_folder_that_cannot_be_trained_on_ends_with_2_and_a_report(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.png").write_bytes(png(noise(0)))
    out = tmp_path / "r.json"
    assert main(["check", str(tmp_path), "--out", str(out)]) == 2
    assert "needs at least two sub-folders" in capsys.readouterr().out
    assert not json.loads(out.read_text())["trainable"]


def test_a_check_for_programs_prints_the_findings_as_json_lines(seeded: Path, capsys: Any) -> None:
    assert main(["check", str(seeded), "--tile-px", "32", "--progress", "jsonl"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["event"] == "done"
    assert last["trainable"]


def test_the_preview_of_a_training_warns_of_what_the_check_warns_of(tmp_path: Path) -> None:
    for k, suffix in enumerate(("png", "bmp")):
        (tmp_path / f"class{k}").mkdir()
        for i in range(4):
            Image.fromarray(noise(10 * k + i)).save(tmp_path / f"class{k}" / f"{i}.{suffix}")
    data = read_folders(tmp_path, lambda image: TileGrid.regular(image.shape, 16))
    found = preview_dataset(data, TrainParams(data=tmp_path, out=tmp_path / "m.cellclass"))
    assert any("the class is confounded with the file format" in text for text in found.warnings)


def test_a_finding_is_one_line(seeded: Path, tmp_path: Path) -> None:
    (seeded / "alpha" / "two\nlines.png").write_bytes(b"x")
    out = tmp_path / "r.json"
    main(["check", str(seeded), "--tile-px", "32", "--out", str(out), "--quiet"])
    texts = [finding["text"] for finding in json.loads(out.read_text())["findings"]]
    assert texts == [str(CellClassError(text)) for text in texts]


def test_the_label_that_is_wrong_comes_first_in_the_table_of_label_errors(tmp_path: Path, capsys: Any) -> None:
    data = write_grain(tmp_path / "data", 96, 4)
    wrong = data / "spots" / "s1.png"
    pixels = np.asarray(Image.open(wrong)).copy()
    pixels[:48, :48] = np.asarray(Image.open(data / "grain" / "g2.png"))[48:, :48]  # its first tile is grain
    wrong.write_bytes(png(pixels))
    out = tmp_path / "label_errors.csv"
    words = ["check", str(data), "--tile-px", "48", "--label-errors", str(out), "--progress", "none"]
    assert main(words) == 0
    assert "1 label of 32 is probably wrong" in capsys.readouterr().out
    table = pd.read_csv(out)
    assert len(table) == 32
    first = table.iloc[0]
    assert (Path(first["path"]).name, first["y0"], first["x0"]) == ("s1.png", 0, 0)
    assert (first["class_name"], first["suggested"], first["likely"]) == ("spots", "grain", "yes")
    assert first["similar"].split("; ").count("grain") >= 4
    assert (table["likely"] == "yes").sum() == 1
    assert table["quality"].is_monotonic_increasing
