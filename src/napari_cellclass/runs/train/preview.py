"""Preview a training: the split of its tiles, and some of them as network input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.findings import counted, first_few
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, TileDataset
from napari_cellclass.core.datasets.split import classes_of_one_group, split_by_group, train_on_all
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.quality.dataset_check import check_dataset
from napari_cellclass.core.tiles.histograms import GreyHistogram
from napari_cellclass.core.workspace.project_file import is_project, read_project
from napari_cellclass.engine.training.augment import augmented_batch
from napari_cellclass.engine.training.tile_pixels import TilePixels, load_pixels
from napari_cellclass.runs.common.dataset_opening import (
    grid_maker,
    image_reader,
    resolve_auto_settings,
    resolve_network,
)
from napari_cellclass.runs.common.project_data import open_dataset
from napari_cellclass.runs.train.annotated_fields import TrainRequest, annotated_dataset
from napari_cellclass.runs.train.train import read_tests

SHOWN = 25
TEST = "test"
# Enough to find the grey-value range that training will find, or nearly.
_SAMPLE_TILES = 200


@dataclass(frozen=True, eq=False)
class TrainingPreview:
    """How a training set is split, and what some of its tiles look like as network input.

    Parameters
    ----------
    table
        A row per class: class_name, then tiles and groups of train, validation and test (``train``,
        ``train_groups`` …), left_out.
    groups
        A row per group: group, and tiles of train, validation, test and ``""`` (left out).
    warnings
        What would make the accuracy of such a training misleading, a sentence each.
    skipped
        How many files were left out.
    tiles
        float32, shape (n, H, W, C): training tiles as network input, about 0 to 1.
    titles
        Their classes.
    before, after
        Grey values of training tiles as they are in the files, and as they go into the network.
    params
        How will be trained, with all automatic settings resolved.
    origin
        What the preview was made of; None where a data set was given.
    cross_validated
        Whether all tiles are trained on and evaluated by leave-one-group-out cross-validation.
    about_network
        Why the automatic network is the compact one; empty where it is not.
    """

    table: pd.DataFrame
    groups: pd.DataFrame
    warnings: tuple[str, ...]
    skipped: int
    tiles: NDArray[np.float32]
    titles: tuple[str, ...]
    before: GreyHistogram
    after: GreyHistogram
    params: TrainParams
    origin: PreviewOrigin | None = None
    cross_validated: bool = False
    about_network: str = ""

    @property
    def held_out(self) -> int:
        """How many tiles are held out; in cross-validation every one is, once."""
        return int(self.table[TRAIN if self.cross_validated else VALIDATION].sum())

    def resolved(self, request: TrainRequest) -> TrainRequest:
        """Return a request with the automatic settings as the preview resolved them, so that no tile is read again."""
        found = {"standardise": self.params.standardise, "network": self.params.network}
        params = request.params.model_copy(update=found)
        return replace(request, params=params)

    def summary(self) -> str:
        """Say in a sentence how the tiles are split."""
        held_out, trained = int((self.groups[VALIDATION] > 0).sum()), int((self.groups[TRAIN] > 0).sum())
        text = (
            f"All {self.table[TRAIN].sum():,} tiles of {counted(trained, 'group')} are trained on; validation is by "
            "leave-one-group-out cross-validation."
            if self.cross_validated
            else f"{self.table[TRAIN].sum():,} tiles of {counted(trained, 'group')} are trained on; "
            f"{self.table[VALIDATION].sum():,} of {counted(held_out, 'group')} are held out for validation."
        )
        text += f" {self.about_network[0].upper()}{self.about_network[1:]}." if self.about_network else ""
        return text + (f" {counted(self.skipped, 'file')} left out as unusable." if self.skipped else "")


@dataclass(frozen=True, eq=False)
class PreviewOrigin:
    """What a preview was made of.

    Parameters
    ----------
    request
        What was to be trained on.
    images
        The files that were read.
    states
        Path, size in bytes and time of change in ns of these files, and of all that lie in their folders.
    """

    request: TrainRequest
    images: tuple[Path, ...]
    states: frozenset[tuple[str, int, int]]

    @classmethod
    def of(cls, request: TrainRequest, images: Iterable[Path]) -> PreviewOrigin:
        """Note the state of the files of a request."""
        files = tuple(images)
        params = request.params
        given = [*params.test, *([] if request.fields else [params.data])]
        given += [path for path in (params.initial, params.teacher) if path is not None]
        found = (*(entry for path in given for entry in _entries(path)), *files)
        return cls(request, files, frozenset(filter(None, map(_state, found))))

    def is_current(self, request: TrainRequest) -> bool:
        """Whether a request is the same, and no file has changed since."""
        return self.request.equals(request) and self.of(request, self.images).states == self.states


def _entries(path: Path) -> Iterator[Path]:
    """List a file itself, or the entries of a folder and of its sub-folders."""
    yield path
    if is_project(path):
        with contextlib.suppress(CellClassError):
            yield from _entries(path.parent / read_project(path).folder)  # its labels
    with contextlib.suppress(OSError):
        for entry in path.iterdir() if path.is_dir() else ():
            yield entry
            if entry.is_dir():
                yield from entry.iterdir()


def _state(path: Path) -> tuple[str, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return str(path), found.st_size, found.st_mtime_ns


def preview_training(
    request: TrainRequest, task: Task = NO_TASK, previous: TrainingPreview | None = None
) -> TrainingPreview:
    """Preview a training on class folders, listed tiles or annotated fields; nothing is written.

    Parameters
    ----------
    request
        What to train on and how.
    task
        Reports and is checked per image and tile.
    previous
        Returned as it is where it is of the same request and files.

    Raises
    ------
    CellClassError
        In one line, why these tiles cannot be trained on.
    """
    if previous is not None and previous.origin is not None and previous.origin.is_current(request):
        return previous
    params, before = request.params, PreviewOrigin.of(request, ())
    if request.fields:
        data = annotated_dataset(request.fields, params.group_by, task)
    else:
        data = open_dataset(params.data, grid_maker(params), params.group_by, image_reader(params), task=task)
    found = preview_dataset(data, params, task)
    origin = PreviewOrigin.of(request, () if request.fields else data.paths)
    # A file that was changed while it was read has two states here, and is never current.
    return replace(found, origin=replace(origin, states=origin.states | before.states))


def preview_dataset(data: TileDataset, params: TrainParams, task: Task = NO_TASK) -> TrainingPreview:
    """Split a data set as training will, read its test sets, count tiles, and prepare some of them.

    Raises
    ------
    DatasetError
        A class would have no tile to train on, or none to validate on; a test set cannot be used.
    """
    params, about_network = resolve_network(params)
    cross_validated = params.network == "pretrained"
    data = train_on_all(data) if cross_validated else split_by_group(data, params.val_fraction)
    tests = list(read_tests(params, data, task).values())
    params, about_settings = resolve_auto_settings(params, data, task)
    sample, pixels = _sample(data, params, task)
    trained = np.flatnonzero(sample.split[pixels.tile_indices] == TRAIN)
    rng = np.random.default_rng(params.seed)
    augment = "none" if cross_validated else params.augment
    tiles = augmented_batch(pixels, trained[:SHOWN], augment, rng, params.degrees, params.standardise == "none")
    titles = tuple(sample.scheme.names[sample.labels[i]] for i in pixels.tile_indices[trained[:SHOWN]])
    raw = pixels.golden if pixels.preprocessed else pixels.tiles[trained]
    before, after = GreyHistogram.of(raw), GreyHistogram.of(pixels.batch(trained))
    table, groups = split_table(data), group_table(data)
    for column in ("", "_groups"):
        table[TEST + column] = sum((split_table(test)[TEST + column] for test in tests), start=table[TEST + column])
    if cross_validated:
        for column in ("", "_groups"):
            table[VALIDATION + column] = table[TRAIN + column]
        groups[VALIDATION] = groups[TRAIN]
    groups = pd.concat([groups, *map(group_table, tests)], ignore_index=True)
    found = (one.text for one in check_dataset(data) if one.severity == "warning" and one.code != "one-group")
    overlaps = filter(None, (_test_on_training_warning(data, test) for test in tests))
    warnings = (
        *(cross_validation_warnings(data) if cross_validated else split_warnings(data)),
        *about_settings,
        *overlaps,
        *found,
    )  # the split's own warnings say more of a class in one group
    return TrainingPreview(
        table, groups, warnings, len(data.skipped), tiles, titles, before, after, params,
        cross_validated=cross_validated, about_network=about_network,
    )  # fmt: skip


def split_table(data: TileDataset) -> pd.DataFrame:
    """Count tiles and groups per class and split; those of a set that is not split count as test."""
    rows = []
    for label, name in enumerate(data.scheme.names):
        mine = data.labels == label
        row: dict[str, Any] = {"class_name": name}
        for split in (TRAIN, VALIDATION, TEST):
            there = mine & (_split(data) == split)
            row[split] = int(there.sum())
            row[f"{split}_groups"] = len(set(data.groups[there]))
        rows.append(row | {"left_out": int((mine & (_split(data) == "")).sum())})
    return pd.DataFrame(rows)


def group_table(data: TileDataset) -> pd.DataFrame:
    """Count the tiles of every group per split."""
    frame = pd.DataFrame({"group": data.groups.astype(str), "split": _split(data).astype(str)})
    table = frame.groupby(["group", "split"]).size().unstack(fill_value=0)
    return table.reindex(columns=[TRAIN, VALIDATION, TEST, ""], fill_value=0).reset_index()


def _split(data: TileDataset) -> NDArray[np.object_]:
    """Return the split of every tile; a set that is not split is a test set."""
    return data.split if (data.split != "").any() else np.full(len(data), TEST, object)


def split_warnings(data: TileDataset) -> tuple[str, ...]:
    """Say what keeps the held-out tiles from being a fair test."""
    groups = group_table(data)
    divided = groups["group"][(groups[TRAIN] > 0) & (groups[VALIDATION] > 0)].tolist()
    warnings = []
    if divided:
        classes = sorted({data.scheme.names[i] for i in np.unique(data.labels[np.isin(data.groups, divided)])})
        warnings.append(
            f"no other field holds the same classes as {first_few(divided)}, so {first_few(classes)} is validated on "
            "the right-hand part of the field that it is trained on: the accuracy will look better than it is on a "
            "new field. Label a second field to be sure"
        )
    few = [row.class_name for row in split_table(data).itertuples() if row.validation < 5]
    if few:
        warnings.append(f"fewer than 5 tiles of {first_few(few)} are held out: the accuracy will be imprecise")
    return tuple(warnings)


def cross_validation_warnings(data: TileDataset) -> tuple[str, ...]:
    """Say where cross-validation leaves out single tiles instead of groups."""
    single = classes_of_one_group(data)
    if not single:
        return ()
    return (
        f"all tiles of {first_few(single)} are of one field, so cross-validation leaves out single tiles instead of "
        "groups: the accuracy will look better than it is on a new field. Label a second field to be sure",
    )


def _test_on_training_warning(data: TileDataset, test: TileDataset) -> str:
    """Say how many images of a test set are trained on, or nothing."""
    trained = {data.image_ids[i] for i in np.unique(data.image[data.split != ""])}
    shared = sum(image_id in trained for image_id in test.image_ids)
    if not shared:
        return ""
    return (
        f"{shared} of {len(test.image_ids)} images to test on are also trained or validated on: the figures on them "
        "say nothing about new fields. Choose other images to test on"
    )


def _sample(data: TileDataset, params: TrainParams, task: Task) -> tuple[TileDataset, TilePixels]:
    """Take some training tiles and their pixels, drawn with the training's seed."""
    chosen = np.random.default_rng(params.seed).permutation(data.tile_indices(TRAIN))
    # One tile of each class, then the next of each, so that rare ones are among them; and, as reading the pixels needs
    # it, a validation tile of each.
    rank = np.zeros(len(chosen), np.int64)
    for label in range(len(data.scheme)):
        mine = data.labels[chosen] == label
        rank[mine] = np.arange(mine.sum())
    chosen = chosen[np.argsort(rank, kind="stable")][:_SAMPLE_TILES]
    validation = data.tile_indices(VALIDATION)
    held_out = [validation[data.labels[validation] == k][:1] for k in range(len(data.scheme))]
    sample = data.take(np.concatenate([chosen, *held_out]))
    return sample, load_pixels(sample, params, task)
