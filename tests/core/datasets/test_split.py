"""Held-out tiles: nothing of them is trained on, and they stay held out while labels are added."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, TileDataset
from napari_cellclass.core.datasets.split import classes_of_one_group, split_by_fold, split_by_group, train_on_all
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.tiles.grid import TileGrid

NAMES = ("a", "b", "c")


def dataset(boxes: np.ndarray, image: list[int], labels: list[int], groups: list[str]) -> TileDataset:
    return TileDataset(
        tuple(Path(f"{i}.png") for i in range(max(image) + 1)), tuple(map(str, range(max(image) + 1))),
        np.array(image, np.int32), np.asarray(boxes, np.int32), np.array(labels, np.int16), np.array(groups, object),
        np.full(len(boxes), "", object), ClassScheme(NAMES[: max(labels) + 1]), 1, np.dtype(np.uint8),
    )  # fmt: skip


def fields(rows: list[tuple[str, int]]) -> TileDataset:
    """A tile per (group, class), each group a field of its own."""
    names = sorted({group for group, _ in rows})
    place = dict.fromkeys(names, 0)
    boxes = []
    for group, _ in rows:
        boxes.append((0, 8 * place[group], 8, 8 * place[group] + 8))
        place[group] += 1
    return dataset(np.array(boxes), [names.index(g) for g, _ in rows], [k for _, k in rows], [g for g, _ in rows])


def sides(data: TileDataset) -> dict[str, set[str]]:
    return {str(group): set(data.split[data.groups == group]) for group in set(data.groups)}


def overlapping(data: TileDataset) -> int:
    """Count pairs of a training and a held-out tile that share a pixel of a field."""
    train, held = data.tile_indices(TRAIN), data.tile_indices(VALIDATION)
    a, b = data.boxes[train][:, None], data.boxes[held][None]
    inside = (a[..., 0] < b[..., 2]) & (b[..., 0] < a[..., 2]) & (a[..., 1] < b[..., 3]) & (b[..., 1] < a[..., 3])
    return int((inside & (data.image[train][:, None] == data.image[held][None])).sum())


@given(
    st.integers(1, 3), st.floats(0, 0.9), st.sampled_from(["field", "strip", "tile"]), st.integers(0, 2**16),
    st.booleans(),
)  # fmt: skip
def test_no_pixel_is_trained_on_and_held_out(count: int, overlap: float, by: str, seed: int, fold: bool) -> None:
    grid = TileGrid.regular((96, 96), 16, overlap).boxes
    boxes, image = np.tile(grid, (count, 1)), np.repeat(np.arange(count), len(grid))
    labels = np.random.default_rng(seed).integers(0, 2, len(boxes))
    within = {"field": 0 * boxes[:, 0], "strip": boxes[:, 0] // 32, "tile": np.arange(len(boxes))}[by]
    groups = [f"{i} {part}" for i, part in zip(image, within, strict=True)]
    data = dataset(boxes, image.tolist(), labels.tolist(), groups)
    try:
        split = split_by_fold(data, 0, 2) if fold else split_by_group(data)
    except DatasetError:
        return  # told, as no class may be on one side only
    assert overlapping(split) == 0
    assert len(split.tile_indices(TRAIN))
    assert len(split.tile_indices(VALIDATION))


def test_tiles_that_overlap_across_listed_groups_are_left_out_and_counted() -> None:
    boxes = TileGrid.regular((64, 64), 16, 0.5).boxes
    labels = (boxes[:, 1] // 8 % 2).tolist()
    data = dataset(boxes, [0] * len(boxes), labels, [f"row {y0 // 16}" for y0 in boxes[:, 0]])
    split = split_by_group(data)
    assert (split.split == "").any()
    assert f"{(split.split == '').sum()} training tiles that overlap held-out ones left out" in split.split_rule
    assert overlapping(split) == 0


groups = st.lists(st.sampled_from([f"well {i}" for i in range(12)]), min_size=4, max_size=12, unique=True)


@given(groups, st.lists(st.tuples(st.integers(0, 11), st.integers(0, 1)), max_size=30))
def test_labels_added_to_fields_move_no_field_to_the_other_side(names: list[str], more: list[tuple[int, int]]) -> None:
    rows = [(name, label) for name in names for label in (0, 1)]
    added = rows + [(names[i % len(names)], label) for i, label in more]
    assert sides(split_by_group(fields(rows))) == sides(split_by_group(fields(added)))


@given(groups, st.lists(st.integers(0, 11), max_size=30))
def test_labels_added_to_wells_of_one_class_move_no_well(names: list[str], more: list[int]) -> None:
    rows = [(name, i % 2) for i, name in enumerate(names)]
    added = rows + [rows[i % len(rows)] for i in more]
    assert sides(split_by_group(fields(rows))) == sides(split_by_group(fields(added)))


@given(groups, st.integers(0, 99))
def test_a_field_that_is_added_moves_at_most_one_other(names: list[str], new: int) -> None:
    rows = [(name, label) for name in names for label in (0, 1)]
    before = sides(split_by_group(fields(rows)))
    after = sides(split_by_group(fields([*rows, (f"new {new}", 0), (f"new {new}", 1)])))
    assert sum(before[name] != after[name] for name in names) <= 1


def test_the_first_tile_of_a_rare_class_tears_its_own_field_only() -> None:
    rows = [(f"well {i}", label) for i in range(6) for label in (0, 1)]
    before = sides(split_by_group(fields(rows)))
    after = sides(split_by_group(fields([*rows, *[("well 0", 2)] * 12])))
    assert {name for name in before if before[name] != after[name]} <= {"well 0"}
    assert {TRAIN, VALIDATION} <= after["well 0"]


def test_a_class_in_two_fields_is_on_both_sides_without_tearing_them() -> None:
    rows = [(f"well {i}", label) for i in range(6) for label in (0, 1)] + [("well 1", 2), ("well 4", 2)]
    split = split_by_group(fields(rows))
    assert all(len(found) == 1 for found in sides(split).values())
    assert set(split.split[split.labels == 2]) == {TRAIN, VALIDATION}


def test_the_hash_of_the_name_decides_whatever_the_order() -> None:
    rows = [(f"well {i}", label) for i in range(9) for label in (0, 1)]
    split = split_by_group(fields(rows))
    turned = split_by_group(replace(fields(rows[::-1])))
    assert sides(split) == sides(turned)
    with pytest.raises(DatasetError, match="cannot be split by group"):
        split_by_group(fields([("one", 0), ("two", 1)]))


def test_where_all_tiles_are_trained_on_the_rule_names_the_cross_validation() -> None:
    data = train_on_all(split_by_group(fields([("a", 0), ("b", 0), ("c", 1), ("d", 1)])))
    assert (data.split == TRAIN).all()
    assert data.split_rule == "all tiles are trained on; leave-one-group-out cross-validation over 4 groups"
    single = train_on_all(fields([("a", 0), ("b", 0), ("c", 1)]))
    assert "leave-one-out cross-validation of single tiles" in single.split_rule
    assert classes_of_one_group(single) == [single.scheme.names[1]]
