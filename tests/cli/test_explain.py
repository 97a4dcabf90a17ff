"""The verb ``explain``: maps of tiles, and tiles by probability, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from napari_cellclass.cli.main import main

pytestmark = pytest.mark.training  # the shared model is trained in a child process


def explain(field: Path, model: Path, out: Path, *words: str) -> int:
    return main(["explain", str(field), "--model", str(model), "--out", str(out), "--progress", "none", *words])


@pytest.mark.parametrize("method", ["occlusion", "grad-cam"])
def test_maps_a_table_and_sheets_are_written(
    ihc_field_file: Path, ihc_model: Path, tmp_path: Path, method: str, capsys: Any
) -> None:
    words = ("--count", "3", "--method", method, "--spectrum", "12", "--patch-px", "8")
    assert explain(ihc_field_file, ihc_model, tmp_path, *words) == 0
    assert f"3 tiles mapped by {method}" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "explain.csv")
    assert len(table) == 3
    assert set(table["class_name"]) == {"stained", "unstained"}, "of each class some"
    for row in table.itertuples():
        values = tifffile.imread(tmp_path / row.file)
        assert values.shape == (row.y1 - row.y0, row.x1 - row.x0)
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() == pytest.approx(row.highest, rel=1e-4)
    spectrum = pd.read_csv(tmp_path / "spectrum.csv")
    assert len(spectrum) == 12
    assert spectrum["probability"].is_monotonic_increasing
    for name in ("maps.png", "spectrum.png"):
        with Image.open(tmp_path / name) as sheet:
            assert sheet.width > 1000


def test_tiles_are_named_by_their_ids_and_the_class_by_its_name(
    ihc_field_file: Path, ihc_model: Path, tmp_path: Path
) -> None:
    words = ("--tiles", "17,3", "--class-name", "stained", "--patch-px", "16")
    assert explain(ihc_field_file, ihc_model, tmp_path, *words) == 0
    table = pd.read_csv(tmp_path / "explain.csv")
    assert table["tile_id"].tolist() == [17, 3]
    assert set(table["class_name"]) == {"stained"}
    assert not (tmp_path / "spectrum.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tiles", "99999"), "there is no tile 99999; the image has tiles 0 to "),
        (("--tiles", "one"), "it is no list of tile ids"),
        (("--class-name", "blue"), "'blue' is no class of the model; use "),
    ],
)
def test_what_cannot_be_mapped_is_said_in_one_line(
    ihc_field_file: Path, ihc_model: Path, tmp_path: Path, words: tuple[str, ...], said: str, capsys: Any
) -> None:
    assert explain(ihc_field_file, ihc_model, tmp_path / "out", *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "out").glob("*.csv"))


def test_a_keras_file_is_mapped_by_occlusion(keras_files: Path, tmp_path: Path, capsys: Any) -> None:
    model, field, out = keras_files / "rescaling.keras", tmp_path / "field.npy", tmp_path / "where"
    np.save(field, np.random.default_rng(0).integers(0, 255, (48, 64, 2)).astype(np.uint8))
    words = ("--count", "2", "--patch-px", "12")
    assert explain(field, model, out, *words) == 2
    assert "--classes" in capsys.readouterr().err
    assert explain(field, model, out, *words, "--classes", "a,b,c") == 0
    table = pd.read_csv(out / "explain.csv")
    assert len(table) == 2
    assert tifffile.imread(out / table["file"][0]).shape == (24, 32)
