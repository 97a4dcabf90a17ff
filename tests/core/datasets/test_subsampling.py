from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, TileDataset
from napari_cellclass.core.datasets.split import split_by_fold, split_by_group, split_by_tile
from napari_cellclass.core.datasets.subsampling import shuffle_training_labels, subsample_training_tiles
from napari_cellclass.core.datasets.tile_provenance import Provenance
from napari_cellclass.core.labels.classes import ClassScheme


def wells(per_class: int = 4, tiles: int = 10) -> TileDataset:
    """Tiles of wells a0 … of class 0 and b0 … of class 1, one field each."""
    n = 2 * per_class * tiles
    image = np.repeat(np.arange(2 * per_class, dtype=np.int32), tiles)
    names = [f"{name}{i}" for name in "ab" for i in range(per_class)]
    x0 = np.tile(np.arange(tiles, dtype=np.int32) * 8, 2 * per_class)
    boxes = np.column_stack([np.zeros(n, np.int32), x0, np.full(n, 8, np.int32), x0 + 8]).astype(np.int32)
    return TileDataset(
        tuple(Path(f"{name}.png") for name in names), tuple(names), image, boxes,
        np.repeat([0, 1], n // 2).astype(np.int16), np.array([names[i] for i in image], object),
        np.full(n, "", object), ClassScheme(("a", "b")), 1, np.dtype(np.uint8),
    )  # fmt: skip


def with_copies(data: TileDataset) -> TileDataset:
    """Every second tile is a rotated copy of the one before it."""
    copy = np.arange(len(data)) % 2 == 1
    boxes = np.where(copy[:, None], np.roll(data.boxes, 1, axis=0), data.boxes)
    return replace(data, provenance=Provenance(data.image, boxes, copy))


def test_shuffled_labels_keep_their_numbers_and_leave_the_held_out_tiles_alone() -> None:
    data = split_by_group(wells())
    shuffled = shuffle_training_labels(data, 0)
    held, train = data.tile_indices(VALIDATION), data.tile_indices(TRAIN)
    assert (shuffled.labels[held] == data.labels[held]).all()
    assert (np.bincount(shuffled.labels[train]) == np.bincount(data.labels[train])).all()
    assert 0.2 < (shuffled.labels[train] != data.labels[train]).mean() < 0.8
    assert shuffled.data_hash not in (data.data_hash, shuffle_training_labels(data, 1).data_hash)
    assert shuffled.data_hash == shuffle_training_labels(data, 0).data_hash
    assert len(set(data.labels[train])) == 2  # the data set itself is as it was


def test_a_tile_and_its_rotated_copy_get_one_shuffled_label_and_are_left_out_together() -> None:
    data = split_by_group(with_copies(wells()))
    train = data.tile_indices(TRAIN)
    first, second = train[::2], train[1::2]
    shuffled = shuffle_training_labels(data, 0).labels
    assert (shuffled[first] == shuffled[second]).all()
    fewer = subsample_training_tiles(data, 0.5, 0).split
    assert (fewer[first] == fewer[second]).all()


@pytest.mark.parametrize("seed", range(3))
def test_fewer_tiles_are_nested_and_of_every_class_and_change_nothing_held_out(seed: int) -> None:
    data = split_by_group(wells())
    quarter, half = subsample_training_tiles(data, 0.25, seed), subsample_training_tiles(data, 0.5, seed)
    assert set(quarter.tile_indices(TRAIN)) < set(half.tile_indices(TRAIN)) < set(data.tile_indices(TRAIN))
    assert np.bincount(half.labels[half.tile_indices(TRAIN)]).tolist() == [15, 15]
    assert len(set(half.groups[half.tile_indices(TRAIN)])) == 6  # tiles are drawn, not wells
    assert (half.tile_indices(VALIDATION) == data.tile_indices(VALIDATION)).all()


def test_a_fraction_without_a_tile_of_a_class_is_an_error() -> None:
    with pytest.raises(DatasetError, match="class 'a' has 30 training tile"):
        subsample_training_tiles(split_by_group(wells()), 0.01, 0)


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_folds_hold_out_every_well_once_and_train_on_all_the_others(folds: int) -> None:
    data = wells()
    held = []
    for fold in range(folds):
        split = split_by_fold(data, fold, folds)
        out, kept = (set(split.groups[split.tile_indices(part)]) for part in (VALIDATION, TRAIN))
        assert not out & kept
        assert len(out | kept) == 8
        assert {name[0] for name in out} == {"a", "b"}
        held += sorted(out)
    assert sorted(held) == sorted(set(data.groups))


def test_more_folds_than_wells_of_a_class_are_an_error_that_says_how_many_fit() -> None:
    with pytest.raises(DatasetError, match="class 'a' has 4 groups, too few for 5 folds; use --folds 4"):
        split_by_fold(wells(), 0, 5)


def test_a_split_by_tile_splits_wells_but_never_a_tile_and_its_copy() -> None:
    data = split_by_tile(wells(), 0.25, 0)
    both = set(data.groups[data.tile_indices(TRAIN)]) & set(data.groups[data.tile_indices(VALIDATION)])
    assert len(both) >= 6
    assert np.bincount(data.labels[data.tile_indices(VALIDATION)]).tolist() == [10, 10]
    copied = split_by_tile(with_copies(wells()), 0.25, 0)
    held = copied.tile_indices(VALIDATION)
    assert not copied.provenance.rotated[held].any()
    assert (copied.split[held + 1] == "").all()
