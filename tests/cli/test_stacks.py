"""Stacks of several positions, and OME-Zarr plates, from the command line: each plane, field and well is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests._plates import tables
from tests._stacks import PLATE_WELLS, striped_tiles, write_stack, write_zarr_plate

from napari_cellclass.cli.main import main


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stack(tmp_path_factory.mktemp("stack") / "stack.ome.tif")


def classify(model: Path, out: Path, *words: Any) -> pd.DataFrame:
    assert main(["classify", *map(str, words), "--model", str(model), "--out", str(out), "--quiet"]) == 0
    return pd.read_csv(out / "fields.csv", keep_default_na=False)


def test_every_plane_of_every_position_has_its_own_tables_and_counts(
    tmp_path: Path, striped_model: Path, stack: Path
) -> None:
    fields = classify(striped_model, tmp_path, stack, "--z", "all")
    assert list(fields.columns[:5]) == ["image", "stem", "scene", "z", "well"]
    wanted = [(p, z, striped_tiles(p, z)) for p in range(3) for z in range(5)]
    assert list(zip(fields["scene"], fields["z"], fields["n_striped"], strict=True)) == wanted
    for row in fields.itertuples():
        table = pd.read_csv(tmp_path / f"{row.stem}.tiles.csv")
        assert set(table["z"]) == {row.z}
        assert (table["class_name"] == "striped").tolist() == (np.arange(12) < row.n_striped).tolist()
        content = json.loads((tmp_path / f"{row.stem}.geojson").read_text())
        assert {feature["geometry"]["plane"]["z"] for feature in content["features"]} == {row.z}
    assert (tmp_path / "planes.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("words", "planes"),
    [
        (["--z", "1:3"], [1, 2]), (["--z", "3:"], [3, 4]), (["--z", ":1"], [0]), (["--z", "4:99"], [4]),
        (["--t", "all", "--z", "2"], [2]),
    ],
)  # fmt: skip
def test_a_range_of_planes_is_cut_to_the_stack(
    tmp_path: Path, striped_model: Path, stack: Path, words: list[str], planes: list[int]
) -> None:
    fields = classify(striped_model, tmp_path, stack, "--scene", "1", *words)
    assert fields["n_striped"].tolist() == [striped_tiles(1, z) for z in planes]
    assert ("t" in fields, "z" in fields) == ("--t" in words, "--t" not in words)


def test_one_plane_has_no_columns_of_planes(tmp_path: Path, striped_model: Path, stack: Path) -> None:
    fields = classify(striped_model, tmp_path, stack, "--scene", "2", "--z", "3")
    assert {"t", "z", "scene"} & set(fields) == set()
    assert fields["n_striped"].tolist() == [striped_tiles(2, 3)]
    assert not (tmp_path / "planes.png").exists()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_zarr_plate_is_classified_with_the_wells_of_its_metadata(
    tmp_path: Path, striped_model: Path, version: str
) -> None:
    plate = write_zarr_plate(tmp_path / "plate.zarr", version)
    fields = classify(striped_model, tmp_path / "out", plate)
    assert fields["well"].tolist() == [well for well in PLATE_WELLS for _ in range(2)]
    assert fields["site"].tolist() == [0, 1] * 6
    assert fields["stem"].tolist()[:2] == ["plate_A01_f0", "plate_A01_f1"]
    wells = pd.read_csv(tmp_path / "out" / "wells.csv")
    assert wells["well"].tolist() == PLATE_WELLS
    assert wells["n_striped"].tolist() == [2 * n for n in range(1, 7)]
    assert (tmp_path / "out" / "plate.png").exists()
    before = tables(tmp_path / "out")
    classify(striped_model, tmp_path / "out", plate)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["kept"] == 12
    assert tables(tmp_path / "out") == before


def test_wells_and_fields_of_a_plate_are_cut_where_they_are_named(tmp_path: Path) -> None:
    plate = write_zarr_plate(tmp_path / "plate.zarr", "0.4")
    for place, tiles in ((plate / "A" / "1" / "0", 12), (plate / "C" / "10", 24)):
        out = tmp_path / f"tiles{tiles}"
        assert main(["slice", str(place), "--tile-px", "32", "--out", str(out), "--quiet"]) == 0
        assert len(list(out.glob("plate_*.tif"))) == tiles
