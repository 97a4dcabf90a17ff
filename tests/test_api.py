"""The Python interface: the same predictions as the command line, of images in any form; errors of one line."""

from __future__ import annotations

import ast
import doctest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests._program import Call

import napari_cellclass as cc
from napari_cellclass import api
from napari_cellclass.core.samples.realfield import IHC_CLASSES, IHC_TILE_PX, ihc_field, ihc_tile_labels

STUB = Path(cc.__file__).with_suffix(".pyi")


def names_of(grid: cc.TileGrid) -> np.ndarray:
    return np.array(IHC_CLASSES, object)[ihc_tile_labels(grid)]


def test_every_name_is_there_at_run_time_and_for_type_checkers() -> None:
    stub = ast.parse(STUB.read_text(encoding="utf-8"))
    imported = [alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(imported) == sorted(api.__all__)
    assert sorted(cc.__all__) == sorted([*api.__all__, "__version__"])
    assert all(getattr(cc, name) is getattr(api, name) for name in api.__all__)
    assert set(cc.__all__) <= set(dir(cc))
    with pytest.raises(AttributeError, match="no attribute 'clasify'"):
        cc.clasify  # noqa: B018


def test_every_function_has_an_example_and_those_that_can_be_run_are_right() -> None:
    functions = [value for name in api.__all__ if callable(value := getattr(api, name)) and name.islower()]
    assert len(functions) == 12
    for function in functions:
        assert "\n    Examples\n" in (function.__doc__ or ""), function
    assert doctest.testmod(api).failed == 0


def test_a_path_an_array_and_an_opened_image_get_the_predictions_of_the_command_line(
    ihc_model: Path, ihc_field_file: Path, tmp_path: Path, call: Call
) -> None:
    done = call("classify", ihc_field_file, "--model", ihc_model, "--out", tmp_path, "--error-rate", 0.05, "--quiet")
    assert done.returncode == 0, done.stderr
    written = pd.read_csv(tmp_path / "ihc.tiles.csv", keep_default_na=False)
    model, pixels = cc.open_model(ihc_model), ihc_field().data
    for image in (ihc_field_file, str(ihc_field_file), pixels, cc.open_image(pixels, name="ihc")):
        table = cc.classify(image, model, error_rate=0.05)
        again = tmp_path / "again.csv"
        table.to_csv(str(again))
        assert again.read_text() == (tmp_path / "ihc.tiles.csv").read_text()
        assert list(table.to_pandas()["class_name"]) == list(written["class_name"])
    table.to_geojson(tmp_path / "again.geojson")
    assert (tmp_path / "again.geojson").read_text() == (tmp_path / "ihc.geojson").read_text()


def test_labels_are_the_classes_tile_by_tile_and_pixel_by_pixel(ihc_model: Path) -> None:
    table = cc.classify(ihc_field().data, ihc_model, error_rate=0.05)
    labels, whole = table.as_labels(), table.as_labels(full_size=True)
    words = np.array(["", *table.scheme.names, "(unsure)"], object)
    assert list(words[labels[table.grid.row, table.grid.col]]) == list(table.class_name)
    assert whole.shape == (512, 512)
    assert np.array_equal(whole[IHC_TILE_PX // 2 :: IHC_TILE_PX, IHC_TILE_PX // 2 :: IHC_TILE_PX], labels)


def test_some_labels_predict_the_other_tiles_of_their_field() -> None:
    image = cc.open_image(ihc_field().data)
    grid = cc.tiles(image, tile_px=IHC_TILE_PX)
    truth = names_of(grid)
    chosen = np.random.default_rng(0).permutation(len(grid))[:40]
    table = cc.live(image, {int(i): truth[i] for i in chosen}, grid)
    others = np.setdiff1d(np.arange(len(grid)), chosen)
    assert (table.class_name[others] == truth[others]).mean() > 0.85
    assert table.has_percentages
    listed = [truth[i] if i in set(chosen.tolist()) else None for i in range(len(grid))]
    assert np.array_equal(cc.live(image, listed, grid).prob, table.prob)
    assert cc.live(image, listed, grid, classes=["x", *IHC_CLASSES]).scheme.names == ("x", *IHC_CLASSES)


def test_labelled_tiles_of_a_field_are_evaluated_as_their_files_are(ihc_model: Path) -> None:
    image = cc.open_image(ihc_field().data)
    grid = cc.tiles(image, tile_px=IHC_TILE_PX)
    right = np.flatnonzero(grid.boxes[:, 1] >= 256)
    truth = names_of(grid)
    given = cc.evaluate(cc.label(image, {int(i): truth[i] for i in right}, grid), ihc_model)
    files = cc.evaluate(ihc_model.parent / "test", ihc_model, group_by=r"_(c\d+)")
    assert given.report.n == files.report.n == len(right)
    assert given.report.accuracy.value == files.report.accuracy.value
    assert files.report.groups == 8


def test_features_are_those_that_the_command_line_writes(ihc_field_file: Path, tmp_path: Path, call: Call) -> None:
    out = tmp_path / "f.npz"
    done = call("features", ihc_field_file, "--tile-px", 128, "--texture-only", "--out", out, "--quiet")
    assert done.returncode == 0, done.stderr
    table = cc.features(cc.open_image(ihc_field().data, name="ihc"), tile_px=128, texture_only=True)
    with np.load(out) as written:
        assert np.array_equal(written["features"], table.features)
        assert tuple(written["names"]) == table.names
    frame = table.to_pandas()
    assert frame.shape == (16, 5 + len(table.names))
    assert set(frame["image"]) == {"ihc"}
    both = cc.features([ihc_field_file, ihc_field().data], tile_px=128, texture_only=True)
    assert np.array_equal(both.features[:16], both.features[16:])


def test_a_plate_is_classified_as_by_the_command_line(ihc_model: Path, ihc_field_file: Path, tmp_path: Path) -> None:
    report = cc.classify_plate(ihc_field_file.parent, ihc_model, tmp_path / "out")
    assert list(report.fields["tiles"]) == [256]
    assert cc.classify_plate([ihc_field_file], cc.open_model(ihc_model), tmp_path / "out").reused == 1


def test_pixel_size_and_channels_are_as_given(ihc_field_file: Path) -> None:
    image = cc.open_image(ihc_field_file, pixel_size_um=0.25, channels=[2, 0])
    assert (image.pixel_size_um, image.channels) == ((0.25, 0.25), 2)
    assert np.array_equal(image.read(0, 0, 5, 5), ihc_field().data[:5, :5][..., [2, 0]])
    assert cc.tiles(image, tile_um=16).tile_px == (64, 64)
    assert len(cc.tiles(image, count=9)) == 9
    assert len(cc.tiles(image)) > 1  # of a proposed size


IMAGE = np.zeros((64, 64), np.uint8)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: cc.open_image("/no/such.tif"), "there is no such file"),
        (lambda: cc.open_image(np.zeros((9, 9), "U1")), "are not numbers"),
        (lambda: cc.open_image(IMAGE, pixel_size_um=0), "is no size"),
        (lambda: cc.open_model("/no/such.cellclass"), "no model"),
        (lambda: cc.tiles(IMAGE, tile_px=65), "larger than the field"),
        (lambda: cc.tiles(IMAGE, tile_px=8, count=4), "both given"),
        (lambda: cc.label(IMAGE, {4: "a"}, cc.tiles(IMAGE, tile_px=32)), "there is no tile 4"),
        (lambda: cc.label(IMAGE, ["a"], cc.tiles(IMAGE, tile_px=32)), "1 label for 4 tiles"),
        (lambda: cc.label(IMAGE[:32], ["a"], cc.tiles(IMAGE, tile_px=32)), "field of 64 x 64 px"),
        (lambda: cc.live(IMAGE, {0: "a"}, cc.tiles(IMAGE, tile_px=32)), "at least two"),
        (lambda: cc.live(IMAGE, {0: "a"}, cc.tiles(IMAGE, tile_px=32), classes=["b", "c"]), "'a' is none of"),
        (lambda: cc.train("data", "m.cellclass", epoch=3), "no setting 'epoch'; did you mean 'epochs'"),
        (lambda: cc.train("data", "m.cellclass", epochs=0), "--epochs 0"),
        (lambda: cc.train([], "m.cellclass"), "napari_cellclass.label"),
        (lambda: cc.train(cc.label(IMAGE, {0: "a"}, cc.tiles(IMAGE, tile_px=32)), "m.cellclass"), "all labelled tiles"),
        (lambda: cc.evaluate("/no/such", "/no/such.cellclass"), "no model"),
        (lambda: cc.features([]), "no image"),
        (lambda: cc.features(IMAGE, colours="rgb"), "did you mean 'colour'"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(ask: Callable[[], Any], words: str) -> None:
    with pytest.raises(cc.CellClassError, match=words) as caught:
        ask()
    assert "\n" not in str(caught.value)
