"""Labelled tiles without their pixels: where each lies, its class, its group and its split."""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.classes import ClassScheme
from napari_cellclass.core.contracts import (
    CancelCheck,
    CancelledError,
    CellClassError,
    DatasetError,
    Progress,
    ProgressCallback,
    never_cancelled,
    no_progress,
)
from napari_cellclass.core.grid import TileGrid
from napari_cellclass.core.image import SourceImage
from napari_cellclass.core.preprocess import PreprocessSpec, field_levels
from napari_cellclass.core.readers import is_image_name, list_images, read_image
from napari_cellclass.core.tile_list import Provenance, TileOrigin, TileOrigins

TRAIN, VALIDATION = "train", "validation"
# A side that only a field has: such images are cut, not squeezed into one tile.
_LARGEST_TILE_PX = 768

GridOf = Callable[[SourceImage], TileGrid]
ReadImage = Callable[[Path], SourceImage]


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
        int16, shape (N,): places in ``scheme``.
    groups
        N names of what must not be torn apart by a split: a well, a field, a region.
    split
        N of ``"train"``, ``"validation"`` or ``""`` (a gap tile, or not split yet).
    scheme
        The classes.
    channels, dtype, pixel_size_um
        What all images share.
    skipped
        (path, reason) of what lay in the folders and was left out.
    split_rule
        In words, how the split was made.
    read
        Opens one of ``paths``.
    provenance
        Where the tiles lie in the fields that their files were cut from, or None where no list tells it.
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
        """The commonest (height, width) of a tile in px."""
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

    def where(self, split: str) -> NDArray[np.int64]:
        """Places of the tiles of a split."""
        return np.flatnonzero(self.split == split)

    def originals(self) -> TileDataset:
        """Leave out rotated copies: a tile is to be judged once."""
        if self.provenance is None or not self.provenance.rotated.any():
            return self
        return self.take(np.flatnonzero(~self.provenance.rotated))

    def tiles(self, index: Sequence[int] | NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Read tiles, image by image, each image opened once.

        Yields
        ------
        place : int
            One of ``index``; the order is by image.
        pixels : ndarray, shape (h, w, C)
            In the image's dtype.

        Raises
        ------
        ImageError
            A file has become unreadable since the data set was made.
        """
        index = np.asarray(index, np.int64)
        for number in np.unique(self.image[index]):
            source = self.read(self.paths[number])
            for place in index[self.image[index] == number]:
                yield int(place), source.read(*(int(v) for v in self.boxes[place]))

    def levels(
        self, spec: PreprocessSpec, cancelled: CancelCheck = never_cancelled
    ) -> Callable[[int], NDArray[np.float64] | None]:
        """Give a function from a tile's place to its field's levels, see :func:`field_levels`.

        Each image is read once more, where ``spec`` asks for its percentiles.
        """
        found = functools.cache(lambda image: field_levels(spec, self.read(self.paths[image]), cancelled))
        return lambda place: None if spec.percentiles is None else found(int(self.image[place]))

    def take(self, places: NDArray[np.int64]) -> TileDataset:
        """Keep some tiles, in that order."""
        names = ("image", "boxes", "labels", "groups", "split")
        provenance = None if self.provenance is None else self.provenance.take(places)
        return replace(self, **{name: getattr(self, name)[places] for name in names}, provenance=provenance)

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


@dataclass(frozen=True)
class ImageEntry:
    """A file that was opened, with the class and group of its tiles, and what it was cut from, if known."""

    path: Path
    class_name: str
    group: str
    source: SourceImage
    origin: TileOrigin | None = None


def image_folders(folder: Path) -> dict[str, list[Path]]:
    """List the sub-folders with images and their images, both sorted by name.

    Hidden and phantom entries (``.DS_Store``, ``._*``, ``Thumbs.db``, ``__MACOSX``) are neither.

    Raises
    ------
    DatasetError
        The folder cannot be opened.
    """
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be opened ({error.strerror}); check its permissions") from error
    found: dict[str, list[Path]] = {}
    for entry in entries:
        if entry.is_dir() and not entry.name.startswith((".", "__")) and entry.suffix != ".zarr":
            images = list_images(entry)
            if images:
                found[entry.name] = images
    return found


@dataclass(frozen=True)
class OpenedImages:
    """The images of a data set: those that can be used, and why others cannot.

    Parameters
    ----------
    entries
        What training uses.
    unreadable, odd, doubled, contested
        (path, reason) of files that cannot be read, whose channels or dtype differ from most, that have the
        pixels of another one, and that have those of one of another class.
    """

    entries: tuple[ImageEntry, ...]
    unreadable: tuple[tuple[Path, str], ...]
    odd: tuple[tuple[Path, str], ...]
    doubled: tuple[tuple[Path, str], ...]
    contested: tuple[tuple[Path, str], ...]

    @property
    def skipped(self) -> tuple[tuple[Path, str], ...]:
        """(path, reason) of all that are left out."""
        return self.unreadable + self.odd + self.doubled + self.contested


Opened = Callable[[OpenedImages], None]


def no_look(images: OpenedImages) -> None:
    """Look at nothing: the default of every ``opened=``."""


def class_folders(folder: Path, classes: Sequence[str] | None = None) -> dict[str, list[Path]]:
    """List the class folders of ``folder`` and their images, both sorted by name.

    Hidden and phantom entries (``.DS_Store``, ``._*``, ``Thumbs.db``, ``__MACOSX``) are neither classes
    nor images.

    Raises
    ------
    DatasetError
        The folder is missing, unreadable, or holds fewer than two class folders with images (one, where the
        ``classes`` of a model are given), or one that is no class of the model.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; give a folder that holds one sub-folder per class")
    found = image_folders(folder)
    if len(found) < (2 if classes is None else 1):
        names = ", ".join(found) or "none"
        loose = sum(is_image_name(entry.name) for entry in folder.iterdir())
        hint = f"; its {loose} loose images belong into such folders" if loose else ""
        raise DatasetError(
            f"{folder} needs at least two sub-folders with images, one per class, but has {len(found)} ({names}){hint}"
        )
    unknown = [name for name in found if classes is not None and name not in classes]
    if unknown:
        raise DatasetError(
            f"{folder} has the class {unknown[0]!r}, which the model does not know; its classes are "
            f"{', '.join(classes or ())}"
        )
    return found


def group_name(path: Path, pattern: str | None) -> str:
    """Give the group of an image: the first group of ``pattern`` on its name, or its own name.

    Raises
    ------
    DatasetError
        ``pattern`` is no regular expression, has no group in parentheses, or does not match.
    """
    if pattern is None:
        return path.name
    try:
        match = re.search(pattern, path.name)
    except re.error as error:
        raise DatasetError(f"--group-by {pattern!r} is not a regular expression: {error}") from error
    if match is None:
        raise DatasetError(f"--group-by {pattern!r} does not match the file name {path.name!r}; change the pattern")
    if not match.groups() or match.group(1) is None:
        raise DatasetError(f"--group-by {pattern!r} needs a part in parentheses that names the group, e.g. '^(...)'")
    return match.group(1)


def read_folders(
    folder: Path,
    grid: GridOf | None = None,
    group_by: str | None = None,
    read: ReadImage = read_image,
    classes: Sequence[str] | None = None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
    opened: Opened = no_look,
) -> TileDataset:
    """Make a data set of class folders, every image read once to know that it can be.

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
    progress, cancelled
        Called once per image.
    opened
        Told which images can be used, before anything is raised for want of them.

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
        ``cancelled`` said so.
    """
    folders = class_folders(folder, classes)
    origins = TileOrigins([folder, *(folder / name for name in folders)])
    images = usable_images(folders, group_by, read, progress, cancelled, origins)
    opened(images)
    entries, skipped = images.entries, images.skipped
    scheme = ClassScheme(tuple(classes or folders))
    image, boxes, labels, groups = [], [], [], []
    for number, entry in enumerate(entries):
        cut = grid(entry.source) if grid else _whole(entry.source)
        boxes.append(cut.boxes)
        image.append(np.full(len(cut), number, np.int32))
        labels.append(np.full(len(cut), scheme.index(entry.class_name), np.int16))
        groups += [entry.group] * len(cut)
    left = {entry.class_name for entry in entries}
    if left != set(folders):
        lost = next(name for name in folders if name not in left)
        reason = next((why for path, why in skipped if path.parent.name == lost), "no image was left")
        raise DatasetError(f"no image of class {lost!r} can be used: {reason}")
    n = sum(map(len, boxes))
    numbers, cuts = np.concatenate(image), np.concatenate(boxes)
    return TileDataset(
        tuple(entry.path for entry in entries),
        tuple(entry.source.image_id for entry in entries),
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


def usable_images(
    folders: dict[str, list[Path]],
    group_by: str | None,
    read: ReadImage,
    progress: ProgressCallback,
    cancelled: CancelCheck,
    origins: TileOrigins | None = None,
) -> OpenedImages:
    """Open the images of each class, see :func:`open_images`, and sort out those that cannot be used."""
    entries, unreadable = open_images(folders, group_by, read, progress, cancelled, origins)
    entries, odd = alike(entries)
    entries, doubled, contested = unlike(entries)
    return OpenedImages(tuple(entries), tuple(unreadable), tuple(odd), tuple(doubled), tuple(contested))


def open_images(
    folders: dict[str, list[Path]],
    group_by: str | None,
    read: ReadImage,
    progress: ProgressCallback,
    cancelled: CancelCheck,
    origins: TileOrigins | None = None,
) -> tuple[list[ImageEntry], list[tuple[Path, str]]]:
    """Open the images of each class; give them, and (path, reason) of those that cannot be read.

    A tile that ``origins`` lists belongs to the group of its field, and a pattern is matched with the
    field's name, so that rotated copies and neighbours are never torn apart.
    """
    entries, skipped = [], []
    pairs = [(name, path) for name, paths in folders.items() for path in paths]
    for done, (name, path) in enumerate(pairs):
        if cancelled():
            raise CancelledError("cancelled while reading the images")
        try:
            source = read(path)
            found = origins.find(path, source.image_id) if origins else None
            _ = source.image_id  # reads every pixel, so a damaged file is found here
        except CellClassError as error:
            skipped.append((path, str(error)))
        else:
            group = group_name(found.name if found else path, group_by)
            if group_by is None:
                group = found.group if found else f"{name}/{group}"
            # The pixels just read are dropped; a data set may be larger than memory.
            entries.append(ImageEntry(path, name, group, _reopened(source, path, read), found))
        progress(Progress("reading", done + 1, len(pairs)))
    return entries, skipped


def _reopened(source: SourceImage, path: Path, read: ReadImage) -> SourceImage:
    fresh = read(path)
    fresh.__dict__["image_id"] = source.image_id
    return fresh


def alike(entries: list[ImageEntry]) -> tuple[list[ImageEntry], list[tuple[Path, str]]]:
    """Keep the images with the commonest channels and dtype."""
    kinds = Counter((entry.source.channels, entry.source.dtype.newbyteorder("=")) for entry in entries)
    if not kinds:
        return [], []
    (channels, dtype), _ = kinds.most_common(1)[0]
    kept, odd = [], []
    for entry in entries:
        kind = entry.source.channels, entry.source.dtype.newbyteorder("=")
        if kind == (channels, dtype):
            kept.append(entry)
        else:
            odd.append(
                (
                    entry.path,
                    f"{entry.path.name} has {kind[0]} channel(s) of {kind[1]}, unlike most: {channels} of {dtype}",
                )
            )
    return kept, odd


def unlike(
    entries: list[ImageEntry],
) -> tuple[list[ImageEntry], list[tuple[Path, str]], list[tuple[Path, str]]]:
    """Keep one of several images with the same pixels, and none of them where their classes differ.

    Returns
    -------
    kept, doubled, contested
        The images; and (path, reason) of copies within a class, and of all copies across classes.
    """
    same: dict[str, list[ImageEntry]] = defaultdict(list)
    for entry in entries:
        same[entry.source.image_id].append(entry)
    kept, doubled, contested = [], [], []
    for entry in entries:
        others = same[entry.source.image_id]
        if len({other.class_name for other in others}) > 1:
            other = next(other for other in others if other.class_name != entry.class_name)
            reason = f"{entry.path.name} has the same pixels as {other.path.name} of class {other.class_name!r}"
            contested.append((entry.path, f"{reason}; decide for one class"))
        elif entry is others[0]:
            kept.append(entry)
        else:
            doubled.append((entry.path, f"{entry.path.name} has the same pixels as {others[0].path.name}"))
    return kept, doubled, contested


def _whole(source: SourceImage) -> TileGrid:
    if min(source.shape) > _LARGEST_TILE_PX:
        height, width = source.shape
        raise DatasetError(
            f"{source.name} has {width} x {height} px and looks like a field, not a tile; "
            "say with --tile-px how large the tiles to cut from it are"
        )
    return TileGrid.regular(source.shape, source.shape)
