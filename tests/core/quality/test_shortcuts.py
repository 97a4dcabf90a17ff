from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_cellclass.core.datasets.dataset import TileDataset, read_folders
from napari_cellclass.core.datasets.split import split_by_group
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.quality.shortcuts import (
    Shortcut,
    evaluate_shortcuts,
    evenly_spaced,
    grouped_folds,
    position_features,
    shortcut_alarms,
    shortcut_features,
    shortcut_table,
)
from napari_cellclass.core.samples.synthetic import separable_plate
from napari_cellclass.core.stats.metrics import Estimate
from napari_cellclass.core.tiles.grid import TileGrid


def dataset(fields: dict[str, np.ndarray], label_of: Callable[[str, int, int], int], tile: int = 16) -> TileDataset:
    """Tiles of fields by file name, their class by name and place; the file is the group."""
    paths = tuple(Path(name) for name in fields)
    grids = [TileGrid.regular(pixels.shape[:2], tile) for pixels in fields.values()]
    boxes = np.concatenate([grid.boxes for grid in grids])
    image = np.repeat(np.arange(len(paths)), [len(grid) for grid in grids]).astype(np.int32)
    labels = [label_of(paths[i].name, *box[:2]) for i, box in zip(image, boxes.tolist(), strict=True)]
    return TileDataset(
        paths,
        tuple(map(str, range(len(paths)))),
        image,
        boxes,
        np.array(labels, np.int16),
        np.array([paths[i].name for i in image], object),
        np.full(len(boxes), "", object),
        ClassScheme(("alpha", "beta")),
        1,
        np.dtype(np.uint8),
        read=lambda path: SourceImage(fields[path.name][..., None], name=path.name),
    )


def noise(names: list[str], side: int = 64) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 200, (side, side)).astype(np.uint8) for name in names}


def alarms(data: TileDataset) -> set[str]:
    return {alarm.code for alarm in shortcut_alarms(evaluate_shortcuts(data, shortcut_features(data)))}


def plate_data(seed: int) -> TileDataset:
    fields = list(separable_plate(seed, wells_per_class=3, sites_per_well=1, field_px=64))
    kinds = {field.file_name: int(field.class_name == "globs") for field in fields}
    pixels = {field.file_name: field.pixels for field in fields}
    return dataset(pixels, lambda name, y, x: kinds[name], 32)


@pytest.mark.parametrize("seed", range(20))
def test_no_alarm_on_a_clean_plate(seed: int) -> None:
    assert alarms(plate_data(seed)) == set()


def test_darker_wells_of_one_class_are_an_alarm_of_brightness() -> None:
    data = plate_data(0)
    dark = {name for name, label in zip(data.groups, data.labels, strict=True) if label == 1}
    read = data.read

    def halved(path: Path) -> SourceImage:
        source = read(path)
        return replace(source, data=source.data // 4) if path.name in dark else source

    assert alarms(replace(data, read=halved)) == {"shortcut-brightness"}


@pytest.mark.realdata
def test_halving_the_puncta_fields_is_an_alarm_of_brightness(real_data: Path) -> None:
    def read(path: Path) -> SourceImage:
        source = read_image(path)
        return replace(source, data=source.data[:] // 2) if path.parent.name == "puncta" else source

    data = read_folders(real_data / "transfluor", lambda one: TileGrid.regular(one.shape, 128), "^(...)", read)
    found = evaluate_shortcuts(data.take(np.arange(0, len(data), 6)), {"brightness": brightness(data)[::6]})
    (alarm,) = shortcut_alarms(found)
    assert alarm.code == "shortcut-brightness"
    assert alarm.text.startswith("Brightness alone reaches 0.9")
    assert "check the exposure" in alarm.text


def brightness(data: TileDataset) -> np.ndarray:
    return np.array([tile.mean(axis=(0, 1)) for _, tile in data.tiles(np.arange(len(data)))])


def test_a_class_that_follows_the_column_of_the_field_is_an_alarm_of_position() -> None:
    data = dataset(noise([f"f{i}.png" for i in range(8)]), lambda name, y, x: int(x >= 32))
    assert alarms(data) == {"shortcut-position"}


def test_a_class_that_follows_the_column_of_the_plate_is_an_alarm_of_position() -> None:
    # columns alternate, as nobody would find with a gradient
    names = [f"{row}{column:02d}.png" for row in "CDE" for column in range(3, 7)]
    assert alarms(dataset(noise(names, 32), lambda name, y, x: int(name[2]) % 2)) == {"shortcut-position"}


def test_a_format_for_each_class_is_an_alarm_of_the_file() -> None:
    names = [f"f{i}.png" for i in range(4)] + [f"g{i}.tif" for i in range(4)]
    assert alarms(dataset(noise(names, 32), lambda name, y, x: int(name.endswith("tif")))) == {"shortcut-file"}


def test_with_four_groups_nothing_is_said() -> None:
    names = ["f0.png", "f1.png", "g0.tif", "g1.tif"]
    assert alarms(dataset(noise(names, 32), lambda name, y, x: int(name.endswith("tif")))) == set()


def test_a_group_is_never_in_two_folds_and_each_fold_has_both_classes_where_it_can() -> None:
    groups = np.repeat([f"w{i}" for i in range(40)], 3)
    labels = np.repeat(np.arange(40) % 2, 3)
    folds = grouped_folds(labels, groups)
    for group in set(groups):
        assert len(set(folds[groups == group])) == 1
    assert len(set(folds)) == 10
    for fold in range(10):
        assert set(labels[folds == fold]) == {0, 1}


def test_the_position_of_tiles_that_were_cut_before_is_read_from_their_names() -> None:
    data = dataset(noise([f"Control_1_r0{i}_c0{j}.tif" for i in range(2) for j in range(3)], 16), lambda *_: 0)
    np.testing.assert_allclose(
        position_features(data)[:, :2].tolist(), [[i, j / 2] for i in range(2) for j in range(3)]
    )


def test_the_same_split_as_the_training_is_used_where_there_is_one() -> None:
    data = split_by_group(dataset(noise([f"f{i}.png" for i in range(8)]), lambda name, y, x: int(x >= 32)))
    (found,) = evaluate_shortcuts(data, {"position": position_features(data)})
    assert found.held_out is not None
    assert found.estimate.value == 1
    row = shortcut_table([found], Estimate(0.7, 0.5, 0.9)).iloc[1]
    assert (row["balanced_accuracy"], row["all_groups"]) == (1, 1)


def test_a_network_below_the_texture_baseline_is_reported() -> None:
    baseline = Shortcut("texture", 33, None, Estimate(0.95, 0.9, 0.98), 12, 100, 2)
    assert [one.code for one in shortcut_alarms([baseline], Estimate(0.85, 0.8, 0.9))] == ["below-texture"]
    assert shortcut_alarms([baseline], Estimate(0.93, 0.8, 0.9)) == ()


@pytest.mark.parametrize(
    ("estimate", "groups", "heard"),
    [
        (Estimate(0.93, 0.8, 0.98), 12, True),
        (Estimate(0.93, 0.45, 1.0), 12, False),  # it may be chance
        (Estimate(0.62, 0.56, 0.68), 60, False),  # surely there, but of little use
        (Estimate(0.93, 0.8, 0.98), 4, False),
        (Estimate(0.93, None, None), 12, False),
    ],
)
def test_an_alarm_needs_a_sure_and_a_large_effect(estimate: Estimate, groups: int, heard: bool) -> None:
    assert bool(shortcut_alarms([Shortcut("brightness", 1, None, estimate, groups, 100, 2)])) == heard


def test_many_tiles_are_thinned_evenly() -> None:
    assert evenly_spaced(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spaced(101, 5).tolist() == [0, 25, 50, 75, 100]
    assert evenly_spaced(0, 5).tolist() == []
