"""Tiles as AnnData: what is read back is the table, at its places, with its classes and colours."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.interchange.anndata_tables import FieldTiles, tiles_as_anndata, write_h5ad
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid


def table_of(seed: int, names: tuple[str, ...] = ("a", "b/c", "d"), **options: Any) -> TileTable:
    rng = np.random.default_rng(seed)
    grid = TileGrid.regular((40, 60), 10, 0.25)
    prob = rng.dirichlet(np.ones(len(names)), len(grid)).astype(np.float32)
    prob[3] = np.nan
    size = options.pop("pixel_size_um", (0.5, 0.25))
    return TileTable(grid, ClassScheme(names), prob, size, {"image": {"name": f"f{seed}"}, "none": None}, **options)


def test_what_is_read_back_equals_the_tables(tmp_path: Path) -> None:
    tables = [table_of(seed, error_rate=0.3, limit=0.6) for seed in (1, 2)]  # with prediction sets
    assert "(unsure)" in tables[0].class_name
    features = [np.random.default_rng(i).normal(size=(len(one), 4)).astype(np.float32) for i, one in enumerate(tables)]
    about = [{"well": "B03", "condition": "drug"}, {"well": "C04", "condition": ""}]
    fields = [FieldTiles(f"f{i}", *one) for i, one in enumerate(zip(tables, about, features, strict=True))]
    write_h5ad(
        tiles_as_anndata(fields, ["n1", "n2", "n3", "t1"], ["net", "net", "net", "texture"]), tmp_path / "t.h5ad"
    )
    found = anndata.read_h5ad(tmp_path / "t.h5ad")
    assert np.array_equal(found.X, np.concatenate(features))
    assert list(found.var_names) == ["n1", "n2", "n3", "t1"]
    assert list(found.var["kind"]) == ["net", "net", "net", "texture"]
    for i, table in enumerate(tables):
        part = found.obs[found.obs["image"] == f"f{i}"]
        assert len(part) == len(table)
        assert list(part["well"]) == [about[i]["well"]] * len(table)
        for name, values in table.columns().items():
            read = part[name.replace("/", "_")]
            if values.dtype == object:
                assert list(read.astype(object).where(read.notna(), "")) == list(values), name
            else:
                assert np.array_equal(read, values, equal_nan=values.dtype.kind == "f"), name
        assert json.loads(found.uns["napari_cellclass"]["records"])[f"f{i}"] == table.record
    assert found.obs["condition"].isna().sum() == len(tables[1])
    assert found.obs_names.is_unique
    assert list(found.uns["napari_cellclass"]["classes"]) == ["a", "b/c", "d"]


def test_colours_are_those_of_the_classes_in_the_order_that_scanpy_takes() -> None:
    table = table_of(1)
    found = tiles_as_anndata([FieldTiles("f", table)])
    assert list(found.obs["class_name"].cat.categories) == ["a", "b/c", "d", "(unsure)"]
    assert [one.upper() for one in found.uns["class_name_colors"][:3]] == list(table.scheme.colours)


def test_places_are_centres_as_x_y_in_px_and_um() -> None:
    table = table_of(1)
    found = tiles_as_anndata([FieldTiles("f", table)])
    y0, x0, y1, x1 = table.grid.boxes[5]
    assert list(found.obsm["spatial"][5]) == [(x0 + x1) / 2, (y0 + y1) / 2]
    assert list(found.obsm["spatial_um"][5]) == [(x0 + x1) / 2 * 0.25, (y0 + y1) / 2 * 0.5]
    both = tiles_as_anndata([FieldTiles("f", table), FieldTiles("g", table_of(2, pixel_size_um=None))])
    assert "spatial_um" not in both.obsm
    assert both.shape == (2 * len(table), 0)


def test_classes_whose_columns_would_be_one_keep_both() -> None:
    table = table_of(1, names=("b/c", "b_c"))
    obs = tiles_as_anndata([FieldTiles("f", table)]).obs
    assert np.array_equal(obs["p_b_c"], table.prob[:, 0], equal_nan=True)
    assert np.array_equal(obs["p_b_c_"], table.prob[:, 1], equal_nan=True)


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anndata", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ParamsError, match=r'pip install "napari-cellclass\[anndata\]"'):
        tiles_as_anndata([FieldTiles("f", table_of(1))])
