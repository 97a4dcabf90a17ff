"""What is confounded with the class: file format, image size, folder, position on the plate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.findings import Finding, counted, first_few
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.plates.wells import plate_format, wells_in_names

MIN_TILES = 20
MIN_GROUPS = 3
_FORMATS = {".tiff": "TIFF", ".tif": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG"}


@dataclass(frozen=True)
class Covariate:
    """A property of every image that is not in its pixels.

    Parameters
    ----------
    code, name
        For programs and for people: ``"format"``, ``"file format"``.
    values
        One per image and class that occurs on it.
    units
        What counts as one observation each: the image, or its well.
    replicated
        Whether a value must have been seen in several units to say anything: each well has a column, but only
        one that holds several wells can be confounded with the class.
    """

    code: str
    name: str
    values: tuple[Hashable, ...]
    units: tuple[Hashable, ...]
    replicated: bool = True


def file_format(suffix: str) -> str:
    """Name a file's format by its suffix: ``.tif`` and ``.tiff`` are ``TIFF``."""
    return _FORMATS.get(suffix.lower(), suffix.lstrip(".").upper() or "no suffix")


def find_confounds(data: TileDataset) -> tuple[Finding, ...]:
    """Find the covariates that are confounded with a class.

    A class is confounded with a covariate where none of its images has a value that images of another class have,
    and the values are few enough that this is not to be expected anyway.
    """
    pairs = np.unique(np.stack([data.image, data.labels.astype(np.int32)]), axis=1).T
    names = [data.scheme.names[label] for _, label in pairs]
    return tuple(
        finding
        for covariate in _covariates(data, pairs[:, 0].tolist(), names)
        if (finding := _confounding(covariate, names)) is not None
    )


def _covariates(data: TileDataset, images: Sequence[int], names: Sequence[str]) -> Iterator[Covariate]:
    paths = [data.paths[i] for i in images]
    units = tuple(images)
    yield Covariate("format", "file format", tuple(file_format(path.suffix) for path in paths), units, replicated=False)
    shapes = image_shapes(data)
    yield Covariate("size", "image size", tuple(f"{shapes[i, 1]} x {shapes[i, 0]} px" for i in images), units)
    if any(path.parent.name != name for path, name in zip(paths, names, strict=True)):
        yield Covariate("folder", "folder", tuple(str(path.parent) for path in paths), units)
    group = dict(zip(data.image.tolist(), data.groups, strict=True))
    wells = wells_in_names([path.name for path in paths]) or wells_in_names([str(group[i]) for i in images])
    if wells:
        plate = plate_format(wells)
        yield Covariate("plate-row", "row of the plate", tuple(well.row for well in wells), tuple(wells))
        yield Covariate("plate-column", "column of the plate", tuple(well.column for well in wells), tuple(wells))
        edge = tuple("the edge" if well.on_edge(plate) else "the inside" for well in wells)
        yield Covariate("plate-edge", "edge of the plate", edge, tuple(wells))


def image_shapes(data: TileDataset) -> NDArray[np.int64]:
    """Return (height, width) in px of every image: int64, shape (M, 2).

    An image with one tile that begins in its corner is assumed to be that tile, so that a folder of many tiles is
    not opened once more; where a tile was cut off, that is smaller than the image.

    Raises
    ------
    ImageError
        A file has become unreadable since the data set was made.
    """
    shapes = np.zeros((len(data.paths), 2), np.int64)
    np.maximum.at(shapes, data.image, data.boxes[:, 2:])
    whole = np.bincount(data.image, minlength=len(shapes)) == 1
    whole[data.image[(data.boxes[:, :2] != 0).any(axis=1)]] = False
    for i in np.flatnonzero(~whole):
        shapes[i] = data.read(data.paths[i]).shape
    return shapes


def _confounding(covariate: Covariate, names: Sequence[str]) -> Finding | None:
    values: dict[str, set[Hashable]] = defaultdict(set)
    units: dict[str, set[Hashable]] = defaultdict(set)
    for name, value, unit in zip(names, covariate.values, covariate.units, strict=True):
        values[name].add(value)
        units[name].add(unit)
    alone = [name for name in values if _apart(name, values, units, covariate.replicated)]
    if not alone:
        return None
    listed = "; ".join(
        f"{counted(len(units[name]), 'image' if 'plate' not in covariate.code else 'well')} of {name!r}: "
        f"{first_few(sorted(map(str, values[name])))}"
        for name in sorted(values)
    )
    return Finding(
        "warning",
        f"confounded-{covariate.code}",
        f"the class is confounded with the {covariate.name} ({listed}): a network may learn the {covariate.name} "
        "instead of the cells",
    )


def _apart(name: str, values: dict[str, set[Hashable]], units: dict[str, set[Hashable]], replicated: bool) -> bool:
    rest = set().union(*(values[other] for other in values if other != name))
    others = set().union(*(units[other] for other in units if other != name))
    if not rest or values[name] & rest:
        return False
    few = 2 * len(values[name]) <= len(units[name]) and 2 * len(rest) <= len(others)
    return few or not replicated


def check_groups(data: TileDataset) -> Iterator[Finding]:
    """Report how classes are distributed over groups, and classes with too few tiles or groups."""
    classes: dict[str, set[str]] = defaultdict(set)
    for group, label in zip(data.groups.astype(str), data.labels, strict=True):
        classes[group].add(data.scheme.names[label])
    single = sorted(group for group, mine in classes.items() if len(mine) == 1)
    if len(single) == len(classes) > 2:
        yield Finding(
            "note",
            "groups-of-one-class",
            f"each of the {len(classes)} groups holds one class only: what differs between groups for another reason "
            "(day, dye, focus) cannot be distinguished from the class; the more groups per class, the better",
        )
    elif single and len(single) < len(classes):
        yield Finding(
            "note",
            "groups-of-one-class",
            f"{len(single)} of {len(classes)} groups hold one class only ({first_few(single)}), while others hold "
            "several",
        )
    for label, name in enumerate(data.scheme.names):
        mine = data.labels == label
        tiles, groups = int(mine.sum()), sorted(set(data.groups[mine].astype(str)))
        if 0 < tiles < MIN_TILES:
            yield Finding(
                "warning",
                "few-tiles",
                f"class {name!r} has {counted(tiles, 'tile')}; with fewer than {MIN_TILES} a network learns little, "
                "so add images or cut smaller tiles",
            )
        if len(groups) == 1:
            yield Finding(
                "warning",
                "one-group",
                f"class {name!r} has one group only ({groups[0]}): its held-out tiles come from where its training "
                "tiles come from, and the accuracy will look better than it is; add another field or well",
            )
        elif 0 < len(groups) < MIN_GROUPS:
            yield Finding(
                "warning",
                "few-groups",
                f"class {name!r} has {len(groups)} groups only ({first_few(groups)}): one of them is held out, and "
                "says little about others; add fields or wells",
            )
