"""Plates written for other programs beside their tables: AnnData, and maps within OME-Zarr."""

from __future__ import annotations

import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr
from tests._ome_zarr import contents, write_ome_zarr, write_ome_zarr_plate
from tests._program import Call

import napari_cellclass as cc
from napari_cellclass.core.samples.realfield import ihc_field

PIXELS = np.moveaxis(ihc_field().data, -1, 0)[:, :128, :160]


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Two fields of OME-Zarr, of both versions."""
    write_ome_zarr(tmp_path / "plate" / "B02f00.zarr", PIXELS, "cyx", "0.4")
    write_ome_zarr(tmp_path / "plate" / "C03f00.zarr", PIXELS[:, ::-1], "cyx", "0.5")
    return tmp_path / "plate"


def test_a_plate_is_one_file_with_features_wells_and_conditions(
    plate: Path, ihc_model: Path, tmp_path: Path, call: Call
) -> None:
    out, listed = tmp_path / "out", tmp_path / "conditions.csv"
    listed.write_text("well,condition,replicate\nB02,control,1\nC03,drug,1\n")
    words = ["--out", out, "--conditions", listed, "--anndata", "plate", "--write-labels", "classes", "--quiet"]
    done = call("classify", plate, "--model", ihc_model, *words)
    assert done.returncode == 0, done.stderr
    found = anndata.read_h5ad(out / "tiles.h5ad")
    table = pd.concat([pd.read_csv(out / f"{stem}.tiles.csv") for stem in ("B02f00", "C03f00")])
    assert list(found.obs["class_name"]) == list(table["class_name"])
    assert np.allclose(found.obs["confidence"], table["confidence"], rtol=1e-5)
    assert list(found.obs["image"].unique()) == ["B02f00", "C03f00"]
    assert dict(found.obs.groupby("well", observed=True)["condition"].first()) == {"B02": "control", "C03": "drug"}
    own = [cc.features(path, tile_px=32).features.shape[1] for path in plate.iterdir()]
    assert found.shape == (40, own[0])
    assert np.isfinite(found.X).all()
    assert np.array_equal(found.obsm["spatial_um"], found.obsm["spatial"] * 0.5)
    for stem in ("B02f00", "C03f00"):
        level = zarr.open_array(str(plate / f"{stem}.zarr" / "labels" / "classes" / "1"), mode="r")[...]
        own = table[table.index >= 0].iloc[:20] if stem == "B02f00" else table.iloc[20:]
        names = np.array(["", *cc.open_model(ihc_model).scheme.names])
        assert list(names[level.ravel()]) == list(own["class_name"])


def test_fields_have_a_file_each_and_images_their_tables(plate: Path, ihc_model: Path, tmp_path: Path) -> None:
    report = cc.classify_plate(plate, ihc_model, tmp_path / "out", anndata="field", write_table="tiles")
    assert not report.failed
    for stem in ("B02f00", "C03f00"):
        found = anndata.read_h5ad(tmp_path / "out" / f"{stem}.h5ad")
        table = anndata.io.read_elem(zarr.open_group(str(plate / f"{stem}.zarr" / "tables" / "tiles"), mode="r"))
        assert list(found.obs["class_name"]) == list(table.obs["class_name"])
        assert len(found) == 20


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_field_of_an_ome_zarr_plate_gets_its_map(version: str, ihc_model: Path, tmp_path: Path) -> None:
    plate = write_ome_zarr_plate(tmp_path / "p.zarr", PIXELS, version)
    report = cc.classify_plate(plate, ihc_model, tmp_path / "out", write_labels="classes", write_table="tiles")
    assert list(report.wells["well"]) == ["A01", "A02"]
    for column in ("1", "2"):
        field = plate / "A" / column / "0"
        level = zarr.open_array(str(field / "labels" / "classes" / "1"), mode="r")[...]
        assert np.array_equal(level, cc.classify(field, ihc_model).as_labels())
        table = anndata.io.read_elem(zarr.open_group(str(field / "tables" / "tiles"), mode="r"))
        assert len(table) == 20


def test_a_table_is_anndata_and_a_label_image_without_a_run(plate: Path, ihc_model: Path) -> None:
    images = sorted(plate.iterdir())
    tables = [cc.classify(path, ihc_model) for path in images]
    found = cc.to_anndata(tables, images)
    assert list(found.obs["class_name"]) == [name for table in tables for name in table.class_name]
    assert found.X.shape == (40, cc.features(images[0], tile_px=32).features.shape[1])
    assert cc.to_anndata(tables[0], images[0], with_features=False).shape == (20, 0)
    for table, path in zip(tables, images, strict=True):
        cc.write_labels(table, path, "classes")
        assert np.array_equal(zarr.open_array(str(path / "labels" / "classes" / "1"), mode="r")[...], table.as_labels())
    with pytest.raises(cc.CellClassError, match="1 table, but 2 images"):
        cc.to_anndata(tables[0], images)
    with pytest.raises(cc.CellClassError, match="is not of image"):
        cc.to_anndata(tables[0], np.zeros((9, 9), np.uint8))


def test_what_cannot_be_written_is_told_before_anything_is_classified(
    plate: Path, ihc_model: Path, ihc_field_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cc.write_labels(cc.classify(plate / "C03f00.zarr", ihc_model), plate / "C03f00.zarr", "classes")
    before = contents(plate)
    strange = tmp_path / "strange"
    strange.mkdir()
    shutil.copy(ihc_field_file, strange / "mine.h5ad")
    for words, images, options in (
        ("has labels/classes already", plate, {"write_labels": "classes"}),
        ("is none; convert it", ihc_field_file, {"write_labels": "classes"}),
        ("no name for a group", plate, {"write_table": "../tiles"}),
        ("was not written by classify", plate, {"anndata": "plate", "out": strange}),
    ):
        out = Path(options.pop("out", tmp_path / "out"))
        with pytest.raises(cc.CellClassError, match=words):
            cc.classify_plate(images, ihc_model, out, **options)
        assert not list(out.glob("*.csv"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(cc.CellClassError, match=r"--anndata needs anndata; install it"):
        cc.classify_plate(plate, ihc_model, tmp_path / "out", anndata="plate")
    assert contents(plate) == before
