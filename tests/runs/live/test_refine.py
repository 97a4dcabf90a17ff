"""A trained network is offered only where it is better on random tiles that it did not see."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import Manifest, ModelBundle, write_bundle
from napari_cellclass.core.models.head_record import HeadRecord, NetworkMix
from napari_cellclass.core.tiles.preprocess import PreprocessSpec
from napari_cellclass.runs.live.refine import HeldOut, compare_with_live

TILES, GROUPS = 120, 6


@pytest.fixture
def rows() -> pd.DataFrame:
    """Tiles of two classes, of which the live map misses one in five, with their groups in the file of the model."""
    rng = np.random.default_rng(0)
    names = np.array(["a", "b"], object)[rng.integers(0, 2, TILES)]
    wrong = rng.random(TILES) < 0.2
    live = np.where(wrong, np.where(names == "a", "b", "a"), names)
    x0 = 8 * np.arange(TILES)
    boxes = {"y0": 0, "x0": x0, "y1": 8, "x1": x0 + 8}
    return pd.DataFrame({"path": "/f.tif", **boxes, "class_name": names, "live": live, "drawn": True, "group": "x"})


def model(path: Path, rows: pd.DataFrame, predicted: list[str], joined: bool = True) -> ModelBundle:
    """Write a model whose network predicts some classes for the tiles it did not see, '' where it saw a tile."""
    table = rows[["path", "y0", "x0", "y1", "x1", "class_name"]].assign(
        group=[f"well {i % GROUPS}" for i in range(len(rows))]
    )
    for name in ("a", "b"):
        table[f"p_{name}"] = [np.nan if one == "" else float(one == name) for one in predicted]
    mix = NetworkMix(joined=joined, gain=3.0, tiles=40, accuracy_without=0.8, accuracy_network=0.9, accuracy_both=0.9)
    head = HeadRecord(
        held_out_by="group", tiles=len(rows), groups=GROUPS, penalties={}, accuracies={}, accuracy=0.8, network=mix
    )
    manifest = Manifest(
        program="test", created="2026-01-01T00:00:00", classes=ClassScheme(("a", "b")).to_json(),
        preprocess=PreprocessSpec(channels=1, input_px=(8, 8)), tile_px=(8, 8), network="pretrained", parameters=1,
        training={"head": json.loads(head.model_dump_json())},
    )  # fmt: skip
    members = dict.fromkeys(("model.keras", "model.xml", "model.bin", "golden.npz"), b"x")
    return write_bundle(path / "m.cellclass", manifest, members | {"split.csv": table.to_csv(index=False).encode()})


def test_a_network_that_is_right_where_the_live_map_is_not_is_offered(tmp_path: Path, rows: pd.DataFrame) -> None:
    found = compare_with_live(model(tmp_path, rows, rows["class_name"].tolist()), rows, "group")
    assert found.wins
    assert found.compared is not None
    assert (found.compared.n, found.compared.groups) == (TILES, GROUPS)
    right = (rows["live"] == rows["class_name"]).groupby(rows["class_name"]).mean().mean()
    assert found.text.startswith(f"Network 1.00 against live {right:.2f}: difference +{1 - right:.2f} (")
    assert "n = 120 random tiles of 6 groups" in found.text


def test_a_network_that_is_no_better_is_not_offered(tmp_path: Path, rows: pd.DataFrame) -> None:
    same = compare_with_live(model(tmp_path, rows, rows["live"].tolist()), rows, "region")
    assert not same.wins
    assert same.text.startswith("Not better: network ")
    assert "other fields not known" in same.text
    left = compare_with_live(model(tmp_path, rows, rows["class_name"].tolist(), joined=False), rows, "group")
    assert not left.wins
    assert "adds nothing" in left.text


def test_tiles_that_it_saw_or_that_were_chosen_do_not_count(tmp_path: Path, rows: pd.DataFrame) -> None:
    half = ["" if i % 2 else one for i, one in enumerate(rows["class_name"])]
    found = compare_with_live(model(tmp_path, rows, half), rows, "group")
    assert found.compared is not None
    assert (found.compared.n, found.compared.groups) == (TILES // 2, GROUPS // 2)
    chosen = rows.assign(drawn=False)
    none = compare_with_live(model(tmp_path, rows, rows["class_name"].tolist()), chosen, "group")
    assert not none.wins
    assert none.text.startswith("Too few: 0 random tiles of 0 groups")


def test_too_few_groups_are_told_before_anything_is_trained() -> None:
    def held_out(groups: int, by: str = "group", drawn: bool = True) -> HeldOut:
        index = np.arange(24)
        return HeldOut(("f",), 0 * index, index, index % 2, index % groups, np.full(24, drawn), by)

    assert held_out(6).why_not() == ""
    assert held_out(12, "region").why_not() == ""
    assert "there are 5" in held_out(5).why_not()
    assert "there are 0" in held_out(6, drawn=False).why_not()
    assert "several" in held_out(24, "tile").why_not()
    for groups in (6, 7, 12, 24):
        assert round(held_out(groups).val_fraction * groups) >= 3
