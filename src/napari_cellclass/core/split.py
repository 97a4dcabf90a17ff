"""Hold out whole groups for validation, stable when others are added."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.contracts import DatasetError
from napari_cellclass.core.dataset import TRAIN, VALIDATION, TileDataset


def _rank(group: str) -> bytes:
    return hashlib.blake2b(group.encode(), digest_size=8).digest()


def split_by_group(data: TileDataset, fraction: float = 0.25) -> TileDataset:
    """Hold out whole groups for validation, class by class.

    Groups are ranked by a hash of their name, so that a group stays on its side when others are added.
    A class that has one group only cannot give one away: its tiles are held out by region instead, the
    right-hand part of each field, with the tiles that touch it left out of both. Rotated copies are trained
    on beside their tile, but never validated on: they would count a tile several times.

    Parameters
    ----------
    data
        The tiles; an earlier split is replaced.
    fraction
        Part of the groups (of the width, by region) that is held out, at least one.

    Raises
    ------
    DatasetError
        A class would have no tile to train on or none to validate on.
    """
    members: dict[str, set[int]] = defaultdict(set)
    for group, label in zip(data.groups, data.labels, strict=True):
        members[group].add(int(label))
    strata: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for group, classes in members.items():
        strata[tuple(sorted(classes))].append(group)
    held: set[str] = set()
    by_region: list[str] = []
    for groups in strata.values():
        if len(groups) == 1:
            by_region += groups
        else:
            held |= set(sorted(groups, key=_rank)[: max(1, min(len(groups) - 1, round(fraction * len(groups))))])
    split = np.where(np.isin(data.groups.astype(str), list(held)), VALIDATION, TRAIN).astype(object)
    known = data.provenance
    boxes, field = (known.boxes, known.field) if known else (data.boxes, data.image)
    for group in by_region:
        mine = np.flatnonzero(data.groups == group)
        split[mine] = _split_region(boxes[mine], field[mine], fraction)
    if known:
        split[known.rotated & (split == VALIDATION)] = ""
    rule = f"{len(held)} of {len(members)} groups held out, by a hash of their names"
    if by_region:
        rule += f"; {', '.join(sorted(by_region))} alone in a class: right-hand part held out, with a gap"
    result = replace(data, split=split, split_rule=rule)
    _check_split(result)
    return result


def _split_region(boxes: NDArray[np.int32], image: NDArray[np.int32], fraction: float) -> NDArray[np.object_]:
    split = np.full(len(boxes), TRAIN, object)
    for number in np.unique(image):
        mine = np.flatnonzero(image == number)
        cut = np.quantile(boxes[mine, 1], 1 - fraction, method="higher")
        right = boxes[mine, 1] >= cut
        split[mine[right]] = VALIDATION
        split[mine[~right & (boxes[mine, 3] >= cut)]] = ""
    return split


def _check_split(data: TileDataset) -> None:
    for label, name in enumerate(data.scheme.names):
        mine = data.split[data.labels == label]
        for part, use in ((TRAIN, "train on"), (VALIDATION, "validate on")):
            if not (mine == part).any():
                raise DatasetError(
                    f"class {name!r} has no tile to {use}: its {len(mine)} tile(s) cannot be split by group "
                    f"({data.split_rule}); add images, cut smaller tiles, or choose another --group-by"
                )
