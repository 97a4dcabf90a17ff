"""Disks that are full, fill in the middle, or may not be written; clocks that go backwards."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests._sessions import labelled

from napari_cellclass.cli.main import main
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.tiles.grid import TileGrid

HERE = Path(__file__).parent


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB; whoever may not mount one sees the test skipped."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k,mode=777", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(["mount", *options], check=False, capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted by root on Linux")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """An image that no compression makes smaller: 400 x 400 px of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_disk_that_fills_in_the_middle_keeps_every_older_file_whole(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "job_full.py"), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) > 8
    for name, text in told.items():
        assert text.startswith("cannot write "), f"{name}: {text}"
        assert "choose another folder" in text
        assert (tmp_path / "results" / name).read_text() == "the older one"
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == sorted(told)


def test_slicing_onto_a_disk_that_fills_leaves_whole_tiles_only(
    mounted: Path, field: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["slice", str(field), "--out", str(mounted / "tiles"), "--tile-px", "40", "--quiet"]) == 2
    error = capsys.readouterr().err.strip()
    assert "the disk is full; free some space" in error
    assert "\n" not in error
    tiles = list(mounted.rglob("*.png"))
    for path in tiles:
        with Image.open(path) as image:
            assert np.asarray(image).shape == (40, 40, 3)
    assert not list(mounted.rglob(".tmp-*"))


def test_a_read_only_disk_is_told_before_any_work(mounted: Path, field: Path, capsys: pytest.CaptureFixture) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    assert main(["slice", str(field), "--out", str(mounted / "tiles"), "--tile-px", "40", "--quiet"]) == 2
    assert "that disk is read-only; choose another folder" in capsys.readouterr().err
    assert main(["check", str(field.parent), "--out", str(mounted / "check.json"), "--quiet"]) == 2
    assert "that disk is read-only; choose another folder" in capsys.readouterr().err


def test_a_clock_that_goes_backwards_loses_no_label_and_changes_no_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, image, grid = Journal(tmp_path), ImageKey("abc", "x.png"), TileGrid.regular((80, 80), 8)
    ticks = itertools.count()
    monkeypatch.setattr(time, "time", lambda: 1e9 - 3600 * next(ticks))
    labels = Annotation(image, grid, ClassScheme(("a", "b")), journal)
    for tile in range(20):
        labels.label(tile, 0)
    labels.label(3, 1)
    labels.label(4, 1)
    labels.undo()
    again = Annotation.restore(image, grid, Journal(tmp_path))
    assert again is not None
    np.testing.assert_array_equal(again.labels, labels.labels)
    assert again.labels[3] == 1
    assert again.labels[4] == 0
    assert labelled(journal, "abc") == [20]


def test_results_are_whole_whatever_the_clock_says(
    tmp_path: Path, field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "time", lambda: 1e9 - 86_400 * next(ticks))
    assert main(["slice", str(field), "--out", str(tmp_path / "tiles"), "--tile-px", "100", "--quiet"]) == 0
    assert len(list((tmp_path / "tiles").rglob("*.png"))) == 16
    os.utime(field, (2e9, 2e9))  # written in the future
    assert main(["slice", str(field), "--out", str(tmp_path / "again"), "--tile-px", "100", "--quiet"]) == 0
    assert len(list((tmp_path / "again").rglob("*.png"))) == 16
