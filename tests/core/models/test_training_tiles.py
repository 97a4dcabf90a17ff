"""The training tiles that a model carries are read back as they were written, and damaged ones are refused."""

from __future__ import annotations

import io
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.models.test_bundle import manifest, members

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.models.bundle import TRAINING_TILES_MEMBER, open_bundle, write_bundle
from napari_cellclass.core.models.training_tiles import THUMBNAIL_PX, TrainingTiles, choose_tiles, thumbnail_side


def training_tiles(n: int = 12, features: int = 6, coordinates: int = 3) -> TrainingTiles:
    rng = np.random.default_rng(0)
    return TrainingTiles(
        rng.normal(size=features).astype(np.float32), rng.normal(size=(features, coordinates)).astype(np.float32),
        rng.normal(size=(n, coordinates)).astype(np.float32), (np.arange(n) % 2).astype(np.int16),
        np.zeros(n, np.int32), np.tile(np.int32([0, 0, 8, 8]), (n, 1)), np.array(["well µ"] * n),
        np.sort(rng.gamma(2.0, size=n)).astype(np.float32), np.array(True),
        rng.integers(0, 255, (n, 8, 8, 3)).astype(np.uint8),
    )  # fmt: skip


def test_a_model_gives_back_the_tiles_it_was_written_with(tmp_path: Path) -> None:
    tiles = training_tiles()
    written = {**members(), TRAINING_TILES_MEMBER: tiles.to_bytes()}
    again = open_bundle(write_bundle(tmp_path / "m.cellclass", manifest(), written).path).training_tiles
    assert again is not None
    for field in fields(TrainingTiles):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(tiles, field.name))
    points = np.random.default_rng(1).normal(size=(4, 6))
    np.testing.assert_array_equal(again.distances(points), tiles.distances(points))


def test_a_model_without_training_tiles_opens_as_ever(tmp_path: Path) -> None:
    assert open_bundle(write_bundle(tmp_path / "m.cellclass", manifest(), members()).path).training_tiles is None


_N = 12
DAMAGE: dict[str, dict[str, Any]] = {
    "labels of another number": {"labels": np.zeros(_N + 1, np.int16)},
    "a class that there is not": {"labels": np.full(_N, 2, np.int16)},
    "features that do not fit": {"mean": np.zeros(5, np.float32)},
    "not finite": {"examples": np.full((_N, 3), np.nan, np.float32)},
    "scores out of order": {"scores": np.float32([2, 1])},
    "no scores": {"scores": np.zeros(0, np.float32)},
    "objects": {"groups": np.array([{}] * _N, object)},
    "thumbnails of one tile only": {"thumbnails": np.zeros((1, 8, 8, 3), np.uint8)},
    "thumbnails too large": {"thumbnails": np.zeros((_N, THUMBNAIL_PX + 1, 8, 3), np.uint8)},
    "a matrix that is none": {"matrix": np.zeros(6, np.float32)},
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_training_tiles_are_refused(tmp_path: Path, name: str) -> None:
    damaged = replace(training_tiles(_N), **DAMAGE[name])
    content = io.BytesIO()
    np.savez(content, **{field.name: getattr(damaged, field.name) for field in fields(TrainingTiles)})
    written = {**members(), TRAINING_TILES_MEMBER: content.getvalue()}
    bundle = open_bundle(write_bundle(tmp_path / "m.cellclass", manifest(), written).path)
    with pytest.raises(ModelError, match="its training tiles cannot be read"):
        _ = bundle.training_tiles


@pytest.mark.parametrize("content", [b"", b"no zip", training_tiles().to_bytes()[:-30]])
def test_training_tiles_that_are_no_archive_are_refused(tmp_path: Path, content: bytes) -> None:
    written = {**members(), TRAINING_TILES_MEMBER: content}
    bundle = open_bundle(write_bundle(tmp_path / "m.cellclass", manifest(), written).path)
    with pytest.raises(ModelError, match="its training tiles cannot be read"):
        _ = bundle.training_tiles


def test_training_tiles_that_claim_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = {**members(), TRAINING_TILES_MEMBER: training_tiles().to_bytes()}
    bundle = open_bundle(write_bundle(tmp_path / "m.cellclass", manifest(), written).path)
    monkeypatch.setenv("NAPARI_CELLCLASS_MAX_MODEL_TEXT_BYTES", "4000")
    with pytest.raises(ModelError, match="claim"):
        _ = bundle.training_tiles


@given(st.integers(0, 99), st.integers(1, 200))
def test_of_many_tiles_every_class_and_every_group_keeps_its_share(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    labels, groups = rng.choice(3, 400, p=[0.8, 0.15, 0.05]), rng.integers(0, 5, 400)
    chosen = choose_tiles(labels, groups, most)
    assert len(chosen) == most == len(set(chosen.tolist()))
    kept, there = np.bincount(labels[chosen], minlength=3), np.bincount(labels, minlength=3)
    for k in range(3):  # a class has its third, unless it has fewer tiles
        assert kept[k] >= min(there[k], most // 3)
        pairs = np.bincount(groups[chosen][labels[chosen] == k], minlength=5)
        full = np.bincount(groups[labels == k], minlength=5)
        assert all(pairs[g] >= min(full[g], kept[k] // 5) for g in range(5))


@given(st.integers(1, 100_000))
def test_thumbnails_are_small_one_by_one_and_together(count: int) -> None:
    side = thumbnail_side(min(count, 2000))
    assert side <= THUMBNAIL_PX
    assert min(count, 2000) * side * side * 3 <= 7 << 20
