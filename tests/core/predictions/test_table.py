from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_cellclass.core.common.errors import ModelError, OutputError, ParamsError
from napari_cellclass.core.interchange.tile_tables import read_table_csv, read_tile_geojson
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.novelty_warnings import novelty_warnings
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.stats.calibration import Calibration
from napari_cellclass.core.tiles.grid import TileGrid


def make(overlap: float = 0.0, pixel: tuple[float, float] | None = (0.5, 0.5)) -> TileTable:
    grid = TileGrid.regular((64, 96), 32, overlap)
    rng = np.random.default_rng(0)
    prob = rng.dirichlet(np.ones(3), len(grid)).astype(np.float32)
    return TileTable(grid, ClassScheme(("a", "b, c", "µ")), prob, pixel)


def test_csv_has_the_promised_columns_and_reads_back(tmp_path: Path) -> None:
    table = make()
    table.to_csv(tmp_path / "t.csv")
    frame = pd.read_csv(tmp_path / "t.csv")
    assert list(frame) == [
        "tile_id", "row", "col", "y0", "x0", "y1", "x1", "class_name", "confidence", "p_a", "p_b, c", "p_µ",
    ]  # fmt: skip
    np.testing.assert_array_equal(frame[["y0", "x0", "y1", "x1"]], table.grid.boxes)
    np.testing.assert_allclose(frame["confidence"], table.confidence, rtol=1e-5)
    assert frame["class_name"].tolist() == table.class_name.tolist()


def test_memory_does_not_grow_with_the_tables_that_are_written(tmp_path: Path) -> None:
    def peak(columns: int) -> int:
        grid = TileGrid.regular((32, 32 * columns), 32)
        prob = np.tile(np.float32([0.9, 0.1]), (len(grid), 1))
        table = TileTable(grid, ClassScheme(("a", "b")), prob, record={})
        assert len(table.columns()["class_name"]) == columns  # what is known of a table is held anyway
        tracemalloc.start()
        try:
            table.to_geojson(tmp_path / "t.geojson")
            table.to_csv(tmp_path / "t.csv")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(4096), peak(16_384)
    assert many < 2 * few, (few, many)
    assert len(pd.read_csv(tmp_path / "t.csv")) == len(read_tile_geojson(tmp_path / "t.geojson")) == 16_384


def test_a_tile_without_class_is_empty_in_csv_and_unclassified_in_geojson(tmp_path: Path) -> None:
    table = make()
    table.prob[2] = np.nan
    table.to_csv(tmp_path / "t.csv")
    table.to_geojson(tmp_path / "t.geojson")
    row = pd.read_csv(tmp_path / "t.csv").iloc[2]
    assert row[["class_name", "confidence", "p_a"]].isna().all()
    feature = json.loads((tmp_path / "t.geojson").read_text())["features"][2]
    assert "classification" not in feature["properties"]
    assert table.class_index[2] == -1


def test_geojson_has_what_qupath_reads(tmp_path: Path) -> None:
    table = make()
    table.to_geojson(tmp_path / "t.geojson")
    content = json.loads((tmp_path / "t.geojson").read_text(encoding="utf-8"))
    assert content["type"] == "FeatureCollection"
    assert len(content["features"]) == len(table)
    feature = content["features"][4]
    y0, x0, y1, x1 = table.grid.boxes[4].tolist()
    assert feature["geometry"]["coordinates"] == [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]
    index = table.class_index[4]
    assert feature["properties"]["objectType"] == "tile"
    assert feature["properties"]["classification"] == {
        "name": table.scheme.names[index],
        "color": list(table.scheme.rgb(index)),
    }
    assert feature["properties"]["measurements"]["confidence"] == pytest.approx(table.confidence[4], abs=1e-6)


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_areas_add_up_to_the_area_covered_whatever_the_overlap(overlap: float) -> None:
    counts = make(overlap).counts()
    assert counts["area_px"].sum() == pytest.approx(64 * 96)
    assert counts["area_um2"].sum() == pytest.approx(64 * 96 * 0.25)


def test_tiles_below_the_threshold_are_counted_apart() -> None:
    table = make()
    counts = table.counts(min_confidence=0.7)
    assert counts["tiles"].sum() == len(table)
    assert counts["tiles"].iloc[-1] == (table.confidence < 0.7).sum()
    assert counts["class_name"].tolist() == ["a", "b, c", "µ", "(below threshold)"]


def test_without_pixel_size_there_is_no_area_in_um() -> None:
    assert make(pixel=None).counts()["area_um2"].isna().all()


def test_probabilities_that_do_not_fit_are_refused() -> None:
    table = make()
    with pytest.raises(ParamsError, match="do not fit 6 tiles and 3 classes"):
        TileTable(table.grid, table.scheme, table.prob[:, :2])


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        make().to_csv(blocked / "t.csv")
    assert list(tmp_path.iterdir()) == [blocked]


def scores(*values: float) -> Calibration:
    return Calibration(temperature=1, scores=values, n=len(values), groups=1, ece_before=0, ece_after=0)


def test_tiles_are_unsure_where_not_exactly_one_class_is_possible(tmp_path: Path) -> None:
    table = make()
    table.prob[:4] = [[0.9, 0.05, 0.05], [0.45, 0.45, 0.1], [0.4, 0.3, 0.3], [np.nan] * 3]
    told = table.with_error_rate(0.2, scores(*np.linspace(0.01, 0.7, 100)))
    assert told.limit == pytest.approx(np.linspace(0.01, 0.7, 100)[80])
    assert told.prediction_sets[:4].tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert told.class_name[:4].tolist() == ["a", "(unsure)", "(unsure)", ""]
    assert told.class_index[:3].tolist() == [0, 0, 0], "the likeliest class stays"
    counts = told.counts().set_index("class_name")["tiles"]
    assert list(counts.index) == ["a", "b, c", "µ", "(unsure)", "(below threshold)"]
    assert counts["(unsure)"] == (told.class_name == "(unsure)").sum()
    assert counts.sum() == len(told)
    told.to_csv(tmp_path / "t.csv")
    frame = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
    assert frame["class_name"].tolist() == told.class_name.tolist()
    assert frame["prediction_set"][:4].tolist() == ["a", "a|b, c", "", ""]
    told.to_geojson(tmp_path / "t.geojson")
    features = json.loads((tmp_path / "t.geojson").read_text())["features"]
    assert features[1]["properties"]["classification"] == {"name": "(unsure)", "color": [255, 255, 255]}
    again = read_tile_geojson(tmp_path / "t.geojson")
    assert again.class_name.tolist() == told.class_name.tolist()
    assert read_table_csv(tmp_path / "t.csv").class_name[0] == "a"
    assert told.with_error_rate(None, None).class_name[1] == "a"
    with pytest.raises(ModelError, match="has no calibration"):
        table.with_error_rate(0.1, None)


def test_novelty_is_written_read_back_and_changes_no_class(tmp_path: Path) -> None:
    plain = make()
    p = np.linspace(0.01, 1, len(plain)).astype(np.float32)
    table = replace(plain, novelty=-np.log(p), novelty_p=p).with_novelty_rate(0.3)
    np.testing.assert_array_equal(table.unlike_training, p <= 0.3)
    assert table.class_name.tolist() == plain.class_name.tolist()
    assert table.counts().equals(plain.counts())
    assert not table.with_novelty_rate(None).unlike_training.any()
    assert not plain.with_novelty_rate(0.3).unlike_training.any(), "nothing is known of it"
    np.testing.assert_array_equal(table.take([3, 1]).unlike_training, table.unlike_training[[3, 1]])
    table.to_csv(tmp_path / "t.tiles.csv")
    table.to_geojson(tmp_path / "t.geojson")
    for again in (read_table_csv(tmp_path / "t.tiles.csv"), read_tile_geojson(tmp_path / "t.geojson")):
        np.testing.assert_allclose(again.columns()["novelty"], table.columns()["novelty"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(again.columns()["novelty_p"], p, atol=2e-6)
    assert read_tile_geojson(tmp_path / "t.geojson").unlike_training.tolist() == table.unlike_training.tolist()


def test_a_field_of_far_more_unlike_tiles_than_expected_is_told_and_others_are_not() -> None:
    grid = TileGrid.regular((32, 32 * 200), 32)
    table = TileTable(grid, ClassScheme(("a", "b")), np.full((200, 2), 0.5, np.float32))
    p = np.ones(200, np.float32)
    assert novelty_warnings(table) == ()
    for unlike, told in ((0, False), (10, False), (20, False), (40, True)):
        p[:unlike] = 0.01
        known = replace(table, novelty=p, novelty_p=p.copy()).with_novelty_rate(0.05)
        assert bool(novelty_warnings(known)) == told, unlike
    assert "40 tiles of 200 (20%) are unlike all training tiles" in novelty_warnings(known)[0]
