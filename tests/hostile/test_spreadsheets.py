"""What is written as CSV is text to a spreadsheet, whatever users call their classes and files."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_cellclass
from napari_cellclass.cli.main import main
from napari_cellclass.core.common.csv_safe import escape_formulas, unescape_formulas
from napari_cellclass.core.interchange.label_files import write_labels_csv
from napari_cellclass.core.interchange.tile_tables import read_table_csv
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.points_and_boxes import read_boxes_csv
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid

SOURCES = Path(napari_cellclass.__file__).parent
NAMES = ('=HYPERLINK("http://x")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "'=1", "plain")


def dangerous(path: Path) -> list[str]:
    """List the cells that are no numbers and that a spreadsheet would compute."""
    with path.open(encoding="utf-8", newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    number = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")
    return [c for c in cells if c.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) and not number.fullmatch(c)]


def table(names: tuple[str, ...]) -> TileTable:
    grid = TileGrid.regular((16, 64), 8)
    prob = np.full((len(grid), len(names)), 0.05, np.float32)
    prob[np.arange(len(grid)), np.arange(len(grid)) % len(names)] = 0.7
    return TileTable(grid, ClassScheme(names), prob)


def test_classes_named_like_formulas_are_written_as_text_and_read_again(tmp_path: Path) -> None:
    answers = table(NAMES)
    path = tmp_path / "x.tiles.csv"
    answers.to_csv(path)
    assert dangerous(path) == []
    names = [name.strip() for name in NAMES]
    assert read_table_csv(path).class_name.tolist() == [names[i % len(names)] for i in range(len(answers))]


def test_labels_of_a_file_named_like_a_formula_are_written_as_text_and_read_again(tmp_path: Path) -> None:
    grid = TileGrid.regular((16, 64), 8)
    scheme = ClassScheme(NAMES[:2])
    path = tmp_path / "x.csv"
    write_labels_csv(path, "=evil.png", grid, scheme, np.arange(len(grid), dtype=np.int16) % 2)
    assert dangerous(path) == []
    assert read_boxes_csv(path, "=evil.png").names[:2] == NAMES[:2]


def test_tiles_of_a_file_named_like_a_formula_are_listed_as_text(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("=1+1.png", "@x.png", "-y.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16)).astype(np.uint8)).save(tmp_path / name)
    out = tmp_path / "out"
    assert main(["slice", str(tmp_path), "--out", str(out), "--tile-px", "8", "--quiet"]) == 0
    listed = list(out.rglob("*.csv"))
    assert listed
    assert [cell for path in listed for cell in dangerous(path)] == []


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=12), min_size=1, max_size=6))
def test_every_text_comes_back(texts: list[str]) -> None:
    frame = pd.DataFrame({"name": pd.Series(texts, dtype=object), "x": range(len(texts))})
    safe = escape_formulas(frame)
    assert not safe["name"].str.match(r"[=+\-@\t\r\n]").any()
    assert unescape_formulas(safe)["name"].tolist() == texts


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.name)
def test_no_table_is_written_past_the_check(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    inside_a_model = path.name == "write_model.py"  # nobody opens those with a spreadsheet
    if (
        re.search(r"(?<!\btable)\.to_csv\((temporary|index)", text) and not inside_a_model
    ):  # a TileTable's does so itself
        assert "escape_formulas" in text
