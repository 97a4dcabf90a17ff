"""Labelled tiles without their pixels: the box, class, group and split of each."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.class_images import (
    OpenedCallback,
    ReadImage,
    class_folders,
    ignore_images,
    open_usable_images,
)
from napari_cellclass.core.datasets.tile_provenance import Provenance, TileOrigins
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.preprocess import PreprocessSpec, field_levels

TRAIN, VALIDATION = "train", "validation"
# Larger images are fields: they are cut into tiles, not shrunk to one.
_LARGEST_TILE_PX = 768
_REPORT_EVERY = 32

GridOf = Callable[[SourceImage], TileGrid]


@dataclass(frozen=True, eq=False)
class TileDataset:
    """N labelled tiles of M images.

    Parameters
    ----------
    paths
        The M image files.
    image_ids
        Their M content hashes, see :attr:`SourceImage.image_id`.
    image
        int32, shape (N,): which image each tile is cut from.
    boxes
        int32, shape (N, 4): y0, x0, y1, x1 in px, half-open.
    labels
        int16, shape (N,): class indices in ``scheme``.
    groups
        N names of what a split must keep together: a well, a field, a region.
    split
        N of ``"train"``, ``"validation"`` or ``""`` (a gap tile, or not split yet).
    scheme
        The classes.
    channels, dtype, pixel_size_um
        Of all images.
    skipped
        (path, reason) of the images that were left out.
    split_rule
        Description of how the split was made.
    read
        Opens one of ``paths``.
    provenance
        The tiles' boxes in the fields that their files were cut from, or None where no list has them.
    """

    paths: tuple[Path, ...]
    image_ids: tuple[str, ...]
    image: NDArray[np.int32]
    boxes: NDArray[np.int32]
    labels: NDArray[np.int16]
    groups: NDArray[np.object_]
    split: NDArray[np.object_]
    scheme: ClassScheme
    channels: int
    dtype: np.dtype
    pixel_size_um: tuple[float, float] | None = None
    skipped: tuple[tuple[Path, str], ...] = ()
    split_rule: str = "not split"
    read: ReadImage = read_image
    provenance: Provenance | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def tile_px(self) -> tuple[int, int]:
        """The most frequent (height, width) of a tile in px."""
        sizes = Counter(map(tuple, (self.boxes[:, 2:] - self.boxes[:, :2]).tolist()))
        (height, width), _ = sizes.most_common(1)[0]
        return int(height), int(width)

    @property
    def data_hash(self) -> str:
        """Hash of every tile's pixels, box, label, group and split."""
        digest = hashlib.blake2b(digest_size=16)
        for i in range(len(self)):
            row = (self.image_ids[self.image[i]], self.boxes[i].tolist(), int(self.labels[i]))
            digest.update(repr((row, self.groups[i], self.split[i])).encode())
        return digest.hexdigest()

    def tile_indices(self, split: str) -> NDArray[np.int64]:
        """Return the indices of the tiles of a split."""
        return np.flatnonzero(self.split == split)

    def without_rotated_copies(self) -> TileDataset:
        """Leave out rotated copies, so that every tile is evaluated once."""
        if self.provenance is None or not self.provenance.rotated.any():
            return self
        return self.take(np.flatnonzero(~self.provenance.rotated))

    def tiles(
        self,
        index: Sequence[int] | NDArray[Any],
        phase: str = "reading tiles",
        task: Task = NO_TASK,
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Read tiles, image by image, each image opened once.

        Parameters
        ----------
        index
            Which tiles.
        phase
            What the caller does with them, for progress.
        task
            Reports the tiles that were worked on, and may be cancelled.

        Yields
        ------
        tile_index : int
            One of ``index``; the order is by image.
        pixels : ndarray, shape (h, w, C)
            In the image's dtype.

        Raises
        ------
        ImageError
            A file has become unreadable since the data set was made.
        CancelledError
            The task was cancelled.
        """
        return task.track(self._read_tiles(np.asarray(index, np.int64)), phase, len(index), _REPORT_EVERY)

    def _read_tiles(self, index: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[Any]]]:
        for number in np.unique(self.image[index]):
            source = self.read(self.paths[number])
            for i in index[self.image[index] == number]:
                yield int(i), source.read(*(int(v) for v in self.boxes[i]))

    def levels_lookup(self, spec: PreprocessSpec, task: Task = NO_TASK) -> Callable[[int], NDArray[np.float64] | None]:
        """Return a function from a tile's index to its field's levels, see :func:`field_levels`.

        Each image is read once more, where ``spec`` asks for its percentiles.
        """
        found = functools.cache(lambda image: field_levels(spec, self.read(self.paths[image]), task))
        return lambda tile_index: None if spec.percentiles is None else found(int(self.image[tile_index]))

    def take(self, tile_indices: NDArray[np.int64]) -> TileDataset:
        """Keep some tiles, in that order."""
        names = ("image", "boxes", "labels", "groups", "split")
        provenance = None if self.provenance is None else self.provenance.take(tile_indices)
        return replace(self, **{name: getattr(self, name)[tile_indices] for name in names}, provenance=provenance)

    def counts(self) -> pd.DataFrame:
        """Tiles and groups per class and split: columns class_name, split, tiles, groups."""
        frame = pd.DataFrame({"label": self.labels, "split": self.split, "group": self.groups})
        table = frame.groupby(["label", "split"], as_index=False).agg(
            tiles=("group", "size"), groups=("group", "nunique")
        )
        table.insert(0, "class_name", [self.scheme.names[i] for i in table.pop("label")])
        return table

    def frame(self) -> pd.DataFrame:
        """One row per tile: path, y0, x0, y1, x1, class_name, group, split."""
        columns: dict[str, Any] = {"path": [str(self.paths[i]) for i in self.image]}
        columns |= {name: self.boxes[:, i] for i, name in enumerate(("y0", "x0", "y1", "x1"))}
        columns["class_name"] = [self.scheme.names[i] for i in self.labels]
        return pd.DataFrame(columns | {"group": self.groups, "split": self.split})


def read_folders(
    folder: Path,
    grid: GridOf | None = None,
    group_by: str | None = None,
    read: ReadImage = read_image,
    classes: Sequence[str] | None = None,
    task: Task = NO_TASK,
    on_opened: OpenedCallback = ignore_images,
) -> TileDataset:
    """Make a data set of class folders, every image read once to check that it is readable.

    Parameters
    ----------
    folder
        One sub-folder per class.
    grid
        Cuts a field into tiles; None takes every image as one tile.
    group_by
        See :func:`group_name`.
    read
        Opens an image.
    classes
        The classes of a model: the folders must be among them, and labels count in their order.
    task
        Reports and is checked once per image.
    on_opened
        Called with the images that can be used, images can be used, before anything is raised for want of them.

    Returns
    -------
    TileDataset
        Not split yet. Unreadable images, and those whose channels or dtype differ from most, are in
        ``skipped``.

    Raises
    ------
    DatasetError
        Too few classes or images, or folders that are no class of the model.
    CancelledError
        The task was cancelled.
    """
    folders = class_folders(folder, classes)
    origins = TileOrigins([folder, *(paths[0].parent for paths in folders.values())])
    images = open_usable_images(folders, group_by, read, task, origins)
    on_opened(images)
    entries, skipped = images.entries, images.skipped
    scheme = ClassScheme(tuple(classes or folders))
    image, boxes, labels, groups = [], [], [], []
    for number, entry in enumerate(entries):
        cut = grid(entry.source) if grid else _whole(entry.source)
        boxes.append(cut.boxes)
        image.append(np.full(len(cut), number, np.int32))
        labels.append(np.full(len(cut), scheme.index(entry.class_name), np.int16))
        groups += [entry.group] * len(cut)
    _check_no_class_lost(folders, {entry.class_name for entry in entries}, skipped)
    n = sum(map(len, boxes))
    numbers, cuts = np.concatenate(image), np.concatenate(boxes)
    return TileDataset(
        tuple(entry.path for entry in entries),
        tuple(entry.image_id for entry in entries),
        numbers,
        cuts,
        np.concatenate(labels),
        np.array(groups, object),
        np.full(n, "", object),
        scheme,
        entries[0].source.channels,
        entries[0].source.dtype,
        entries[0].source.pixel_size_um,
        skipped,
        read=read,
        provenance=Provenance.of([entry.origin for entry in entries], numbers, cuts),
    )


def _check_no_class_lost(folders: Iterable[str], left: set[str], skipped: Iterable[tuple[Path, str]]) -> None:
    """Refuse class folders of which one has no image that can be used."""
    lost = next((name for name in folders if name not in left), None)
    if lost is not None:
        reason = next((why for path, why in skipped if path.parent.name == lost), "no image was left")
        raise DatasetError(f"no image of class {lost!r} can be used: {reason}")


def _whole(source: SourceImage) -> TileGrid:
    if min(source.shape) > _LARGEST_TILE_PX:
        height, width = source.shape
        raise DatasetError(
            f"{source.name} has {width} x {height} px and looks like a field, not a tile; "
            "give the size of the tiles to cut from it with --tile-px"
        )
    return TileGrid.regular(source.shape, source.shape)
