"""Hold out whole groups for validation, stable when others are added; folds of them; and, to compare, single tiles."""

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
    rule = f"{len(held)} of {len(members)} groups held out, by a hash of their names"
    if by_region:
        rule += f"; {', '.join(sorted(by_region))} alone in a class: right-hand part held out, with a gap"
    return _originals_judged(replace(data, split=split, split_rule=rule))


def split_fold(data: TileDataset, fold: int, folds: int) -> TileDataset:
    """Hold out one part of the groups of a cross-validation, in which every group is held out once.

    Parameters
    ----------
    data
        The tiles; an earlier split is replaced. Rotated copies are trained on, never validated on.
    fold, folds
        Which part, from 0, of how many, 2 or more. Groups are dealt out class by class, ranked by a hash of
        their names.

    Raises
    ------
    DatasetError
        A class has fewer groups than there are folds, so that some fold would have none of it to hold out.
    """
    held: list[str] = []
    for label, name in enumerate(data.scheme.names):
        groups = sorted({str(group) for group in data.groups[data.labels == label]}, key=_rank)
        if len(groups) < folds:
            raise DatasetError(
                f"class {name!r} has {len(groups)} group(s), too few for {folds} folds; use --folds {len(groups)} or "
                "less, add fields, or choose another --group-by"
            )
        # A group of several classes is dealt out with the first of them.
        seen = {str(group) for group in data.groups[data.labels < label]}
        held += [group for i, group in enumerate(g for g in groups if g not in seen) if i % folds == fold]
    split = np.where(np.isin(data.groups.astype(str), held), VALIDATION, TRAIN).astype(object)
    rule = (
        f"fold {fold + 1} of {folds}: {len(held)} of {len(set(data.groups))} groups held out, by a hash of their names"
    )
    return _originals_judged(replace(data, split=split, split_rule=rule))


def split_by_tile(data: TileDataset, fraction: float = 0.25, seed: int = 0) -> TileDataset:
    """Hold out tiles at random, class by class, whatever group they are from: for comparison only.

    Tiles of one field share cells, light and culture, so what is held out like this is half known already. How much
    that flatters a network is seen beside :func:`split_by_group`; no model is judged by it.

    Parameters
    ----------
    data
        The tiles; an earlier split is replaced. Rotated copies of held-out tiles are left out.
    fraction
        Part of each class's tiles that is held out, at least one.
    seed
        Of the draw.

    Raises
    ------
    DatasetError
        A class has one tile only.
    """
    rng = np.random.default_rng(seed)
    units = tile_units(data)
    split = np.full(len(data), TRAIN, object)
    for label in range(len(data.scheme)):
        mine = np.unique(units[data.labels == label])
        held = rng.permutation(mine)[: max(1, round(fraction * len(mine)))]
        split[np.isin(units, held)] = VALIDATION
    rule = f"{fraction:.0%} of the tiles held out at random, without regard to groups"
    return _originals_judged(replace(data, split=split, split_rule=rule))


def tile_units(data: TileDataset) -> NDArray[np.int64]:
    """Count the tiles so that a tile and its rotated copies have the same number; shape (N,)."""
    known = data.provenance
    if known is None:
        return np.arange(len(data))
    places = np.column_stack([known.field, known.boxes])
    return np.unique(places, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def _originals_judged(data: TileDataset) -> TileDataset:
    """Take rotated copies out of what is validated on, and check that every class is on both sides."""
    if data.provenance is not None:
        data.split[data.provenance.rotated & (data.split == VALIDATION)] = ""
    _check_split(data)
    return data


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
