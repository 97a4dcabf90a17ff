"""Whether tiles are to be standardised to one brightness, decided from what distinguishes their classes."""

from __future__ import annotations

import numpy as np

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.findings import Finding
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.quality.shortcuts import (
    MIN_GROUPS,
    evaluate_shortcuts,
    evenly_spaced,
    is_informative,
    measure_brightness_and_texture,
)
from napari_cellclass.core.tiles.statistics import channel_stats

_MAX_TILES = 300


def check_classes_by_brightness(data: TileDataset, task: Task = NO_TASK) -> Finding | None:
    """Warn where classes differ in brightness and contrast, but not in texture.

    Two linear models are evaluated on groups that they have not seen, on up to 300 tiles: one is given every channel's
    mean and standard deviation, the other texture features of tiles of one brightness. The classes differ in
    brightness alone where the first one's 95 % confidence interval lies above what the second reaches, and its value
    is 60 % or more of the way from chance to 1. Whether that is biology or exposure cannot be measured. With fewer than
    6 groups there is no warning.

    Parameters
    ----------
    data
        The tiles, all splits.
    task
        Reports and is checked once per tile.

    Raises
    ------
    ImageError
        A file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    if len(np.unique(data.groups.astype(str))) < MIN_GROUPS:
        return None
    sample = data.take(evenly_spaced(len(data), _MAX_TILES))
    stats, texture_features = measure_brightness_and_texture(sample, "measuring brightness", task)
    try:
        both = evaluate_shortcuts(sample, {"brightness": stats.reshape(len(sample), -1), "texture": texture_features})
    except DatasetError:  # no tile has finite pixels, which is reported elsewhere
        return None
    bright, texture = (one.all_groups for one in both)
    if not is_informative(both[0]) or bright.lo is None or bright.lo <= texture.value:
        return None
    text = (
        "the classes differ in brightness rather than texture: brightness and contrast alone reach "
        f"{bright.value:.2f} on held-out groups (95 % confidence interval {bright.lo:.2f} to {bright.hi:.2f}), the "
        "texture of "
        f"tiles of one brightness {texture.value:.2f}; so brightness is kept. Check that all classes were exposed "
        "equally; if not, train with standardise set to tile"
    )
    return Finding("warning", "classes-by-brightness", text)


def check_brightness_alone(data: TileDataset, task: Task = NO_TASK) -> Finding | None:
    """Warn where brightness and contrast alone predict the classes, for a model that sees them.

    A linear model on the mean and standard deviation of up to 300 tiles is evaluated on groups that it has not seen.
    With fewer than 6 groups there is no warning.

    Parameters
    ----------
    data
        The tiles, all splits.
    task
        Reports and is checked once per tile.

    Raises
    ------
    ImageError
        A file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    if len(np.unique(data.groups.astype(str))) < MIN_GROUPS:
        return None
    sample = data.take(evenly_spaced(len(data), _MAX_TILES))
    values = np.empty((len(sample), 2 * data.channels))
    for i, tile in sample.tiles(np.arange(len(sample)), "measuring brightness", task):
        values[i] = channel_stats(tile[None])[0].ravel()
    try:
        (found,) = evaluate_shortcuts(sample, {"brightness": values})
    except DatasetError:  # no tile has finite pixels, which is reported elsewhere
        return None
    bright = found.all_groups
    if not is_informative(found):
        return None
    text = (
        f"brightness and contrast alone reach {bright.value:.2f} on held-out groups (95 % confidence interval "
        f"{bright.lo:.2f} to {bright.hi:.2f}), and the model sees them: if the classes were not exposed equally, it "
        "distinguishes exposures. Check that, or train with standardise set to tile"
    )
    return Finding("warning", "brightness-alone", text)
