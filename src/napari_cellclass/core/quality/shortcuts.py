"""Shortcuts: how far a plain linear model gets with brightness, position or the file alone, beside the network."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.findings import Finding
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, TileDataset
from napari_cellclass.core.plates.wells import plate_format, tile_position_in_name, wells_in_names
from napari_cellclass.core.quality.confounds import file_format, image_shapes
from napari_cellclass.core.stats.logistic import fit_logistic
from napari_cellclass.core.stats.metrics import Estimate, evaluate
from napari_cellclass.core.tiles.statistics import channel_stats
from napari_cellclass.core.tiles.texture_features import texture_features

SHORTCUT_TITLES = {
    "brightness": "brightness alone",
    "contrast": "contrast alone",
    "position": "position alone",
    "file": "file properties alone",
    "file_size": "file size alone",
    "texture": "texture features",
}
# Contrast, texture and the size of a compressed file may be the biology itself, so there is no warning about them.
_ADVICE = {
    "brightness": "check the exposure, unless the classes do differ in brightness or stain colour",
    "position": "the classes lie in different positions of the field or plate; label both classes in all of them",
    "file": "the classes' files differ in format or size; save all images in the same way",
}
_FOLDS = 10
# With fewer, classes that do not differ are often separated by chance: 2 of 6 times with 2 groups each.
MIN_GROUPS = 6
# Fraction of the way from chance to perfect.
_LARGE_FRACTION = 0.6
MAX_TILES = 2000
_TILES_AT_ONCE = 32


@dataclass(frozen=True)
class Shortcut:
    """What a linear model reached with some features alone.

    Parameters
    ----------
    name
        One of :data:`SHORTCUT_TITLES`.
    features
        How many numbers it was given per tile.
    held_out
        Balanced accuracy on the held-out groups of the network's own split; None without such a split.
    all_groups
        The same over all groups, each predicted by a model that did not see it (up to 10 folds): more groups, so
        a narrower interval.
    groups, n
        Groups and tiles that ``all_groups`` is made of.
    classes
        How many classes there were.
    """

    name: str
    features: int
    held_out: Estimate | None
    all_groups: Estimate
    groups: int
    n: int
    classes: int

    @property
    def estimate(self) -> Estimate:
        """The estimate to compare with the network's: on the same tiles where that is possible."""
        return self.held_out or self.all_groups


def shortcut_features(data: TileDataset, task: Task = NO_TASK) -> dict[str, NDArray[np.float64]]:
    """Read every tile and return the features of each of :data:`SHORTCUT_TITLES`: float64, shape (N, F), by name.

    A tile with NaN or infinite pixels has NaN among its features. Texture is that of tiles of one brightness and
    contrast, and both of these beside it. File size is left out where the images are no files.

    Raises
    ------
    ImageError
        A file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    stats, texture = measure_brightness_and_texture(data, "measuring shortcuts", task)
    features = {
        "brightness": stats[:, 0],
        "contrast": stats[:, 1],
        "position": position_features(data),
        "file": file_features(data),
        "texture": np.concatenate([stats.reshape(len(data), -1), texture], axis=1),
    }
    if all(path.is_file() for path in data.paths):
        features["file_size"] = np.log([[data.paths[i].stat().st_size + 1] for i in data.image])
    return {name: features[name] for name in SHORTCUT_TITLES if name in features}


def measure_brightness_and_texture(
    data: TileDataset, phase: str, task: Task = NO_TASK
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure brightness, contrast and texture of every tile.

    Returns
    -------
    stats : ndarray of float64, shape (N, 2, C)
        See :func:`~napari_cellclass.core.tiles.statistics.channel_stats`.
    texture : ndarray of float64, shape (N, F)
        See :func:`~napari_cellclass.core.tiles.texture_features.texture_features`.

    Raises
    ------
    ImageError
        A file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    parts: list[tuple[NDArray[np.float64], NDArray[np.float32]]] = []
    order: list[int] = []
    # Many small tiles at once take a fifth of the time; fields may have tiles of other sizes.
    tiles = data.tiles(np.arange(len(data)), phase, task)
    for _, same in itertools.groupby(tiles, lambda one: (one[1].shape, one[1].dtype)):
        while batch := list(itertools.islice(same, _TILES_AT_ONCE)):
            order += [i for i, _ in batch]
            pixels = np.stack([tile for _, tile in batch])
            parts.append((channel_stats(pixels), texture_features(pixels)))
    rows = np.argsort(order)
    stats, texture = (np.concatenate(part)[rows] for part in zip(*parts, strict=True))
    return stats, texture.astype(np.float64)


def evaluate_quick_shortcuts(data: TileDataset, mean: NDArray[np.float64]) -> tuple[Shortcut, ...]:
    """Evaluate the shortcuts that need no more than the tiles' mean grey values, on up to 2 000 tiles.

    Parameters
    ----------
    data
        The tiles.
    mean
        Shape (N, C): every tile's mean grey values.

    Raises
    ------
    DatasetError
        No tile has finite means.
    """
    tile_indices = np.flatnonzero(np.isfinite(mean).all(axis=1))
    tile_indices = tile_indices[evenly_spaced(len(tile_indices), MAX_TILES)]
    sample = data.take(tile_indices)
    features = {
        "brightness": mean[tile_indices],
        "position": position_features(sample),
        "file": file_features(sample),
    }
    return evaluate_shortcuts(sample, features)


def evenly_spaced(n: int, most: int) -> NDArray[np.int64]:
    """Return the indices of all of n things, or of at most ``most``, evenly spaced."""
    return np.unique(np.linspace(0, max(0, n - 1), min(n, most)).round().astype(np.int64))


def position_features(data: TileDataset) -> NDArray[np.float64]:
    """Return every tile's position: in its field, 0 to 1 and squared, and on the plate where file names hold wells.

    Of the plate: row, column, edge, and an indicator of each row and column that holds several wells, as classes may
    alternate.
    """
    centre = (data.boxes[:, :2] + data.boxes[:, 2:]) / 2 / image_shapes(data)[data.image]
    named = [tile_position_in_name(path.name) for path in data.paths]
    if all(position is not None for position in named):  # tiles that were cut before
        positions = np.array(named, np.float64)
        centre = (positions / np.maximum(1, positions.max(axis=0)))[data.image]
    columns = [centre, (centre - 0.5) ** 2]
    wells = wells_in_names([path.name for path in data.paths])
    of_tile = [wells[i] for i in data.image] if wells else wells_in_names([str(group) for group in data.groups])
    if of_tile:
        plate = plate_format(of_tile)
        columns.append(np.array([(well.row, well.column, well.on_edge(plate)) for well in of_tile], np.float64))
        for values in ([well.row for well in of_tile], [well.column for well in of_tile]):
            held = Counter(value for value, _ in set(zip(values, of_tile, strict=True)))
            columns += [np.array(values)[:, None] == value for value in sorted(held) if held[value] > 1]
    return np.concatenate(columns, axis=1).astype(np.float64)


def file_features(data: TileDataset) -> NDArray[np.float64]:
    """Return the properties of every tile's file: its format, and the image's height and width in px."""
    formats = [file_format(path.suffix) for path in data.paths]
    kinds = np.stack([np.array(formats) == name for name in sorted(set(formats))], axis=1)
    return np.concatenate([kinds, image_shapes(data)], axis=1).astype(np.float64)[data.image]


def evaluate_shortcuts(data: TileDataset, features: Mapping[str, NDArray[np.float64]]) -> tuple[Shortcut, ...]:
    """Evaluate how well a linear model of each set of features predicts the classes of groups it has not seen.

    Parameters
    ----------
    data
        The tiles; where they are split, a model is also fitted to the training tiles and evaluated on the others.
    features
        See :func:`shortcut_features`.

    Raises
    ------
    DatasetError
        No tile has finite features.
    """
    finite = np.all([np.isfinite(x).all(axis=1) for x in features.values()], axis=0)
    labels, groups = data.labels.astype(np.int64)[finite], data.groups.astype(str)[finite]
    split = data.split[finite]
    train, held = split == TRAIN, split == VALIDATION
    folds = grouped_folds(labels, groups)
    found = []
    for name, values in features.items():
        x = values[finite]
        crossed = np.zeros((len(x), len(data.scheme)))
        for fold in np.unique(folds):
            out = folds == fold
            if not out.all():
                crossed[out] = fit_logistic(x[~out], labels[~out], len(data.scheme)).predict(x[out])
        report = evaluate(crossed, labels, list(groups), data.scheme.names)
        estimate = None
        if train.any() and held.any():
            prob = fit_logistic(x[train], labels[train], len(data.scheme)).predict(x[held])
            estimate = evaluate(prob, labels[held], list(groups[held]), data.scheme.names).balanced_accuracy
        occurring = len(np.unique(labels))
        found.append(Shortcut(name, x.shape[1], estimate, report.balanced_accuracy, report.groups, report.n, occurring))
    return tuple(found)


def grouped_folds(labels: NDArray[np.int64], groups: NDArray[np.str_]) -> NDArray[np.int64]:
    """Assign groups to up to 10 folds, class by class, by a hash of their names: int64, shape (n,)."""
    names, of_tile = np.unique(groups, return_inverse=True)
    classes = [tuple(np.unique(labels[of_tile == i])) for i in range(len(names))]
    ranked = sorted(range(len(names)), key=lambda i: (classes[i], hashlib.blake2b(str(names[i]).encode()).digest()))
    fold = np.zeros(len(names), np.int64)
    fold[ranked] = np.arange(len(names)) % _FOLDS
    return fold[of_tile]


def shortcut_alarms(shortcuts: Sequence[Shortcut], network: Estimate | None = None) -> tuple[Finding, ...]:
    """Warn of shortcuts that predict the classes, and where texture features beat the network.

    A shortcut is reported where its interval over all groups lies above chance and its value is 60 % or more of the
    way from there to 1; with fewer than 6 groups no interval means anything. Whether the classes differ in
    brightness by nature cannot be decided from the images, so this is a warning only.

    Parameters
    ----------
    shortcuts
        See :func:`evaluate_shortcuts`.
    network
        The network's balanced accuracy on the tiles of ``held_out``.
    """
    alarms = []
    for one in shortcuts:
        chance, value = 1 / max(1, one.classes), one.all_groups
        if one.name in _ADVICE and is_informative(one):
            title = SHORTCUT_TITLES[one.name]
            text = (
                f"{title[0].upper()}{title[1:]} reaches {value.value:.2f} on held-out groups (95 % confidence interval "
                f"{value.lo:.2f} to {value.hi:.2f}, chance {chance:.2f}): {_ADVICE[one.name]}"
            )
            alarms.append(Finding("warning", f"shortcut-{one.name}", text))
    texture = next((one.estimate for one in shortcuts if one.name == "texture"), None)
    if texture is not None and network is not None and (texture.lo or 0) > network.value:
        text = (
            f"a linear model on texture features reaches {texture.value:.2f}, the network {network.value:.2f} on the "
            "same tiles: train longer, or with more tiles"
        )
        alarms.append(Finding("warning", "below-texture", text))
    return tuple(alarms)


def is_informative(shortcut: Shortcut) -> bool:
    """Return whether a shortcut predicts the classes, with enough groups to be sure.

    Its interval over all groups lies above chance, and its value is 60 % or more of the way from there to 1.
    """
    chance, value = 1 / max(1, shortcut.classes), shortcut.all_groups
    enough = shortcut.groups >= MIN_GROUPS and value.lo is not None and value.lo > chance
    return enough and value.value >= chance + _LARGE_FRACTION * (1 - chance)


def shortcut_table(shortcuts: Sequence[Shortcut], network: Estimate | None = None) -> pd.DataFrame:
    """One row per bar: name, balanced_accuracy, lo, hi, and the same over all groups; the network first."""
    rows = []
    if network is not None:
        rows.append({"name": "network", "balanced_accuracy": network.value, "lo": network.lo, "hi": network.hi})
    for one in shortcuts:
        estimate, every = one.estimate, one.all_groups
        rows.append(
            {"name": one.name, "balanced_accuracy": estimate.value, "lo": estimate.lo, "hi": estimate.hi}
            | {"all_groups": every.value, "all_groups_lo": every.lo, "all_groups_hi": every.hi}
            | {"features": one.features}
        )
    return pd.DataFrame(rows)
