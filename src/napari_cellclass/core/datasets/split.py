"""Split a data set: whole groups held out, stable when others are added; folds; and, to compare, single tiles."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, TileDataset


def _rank(group: str) -> bytes:
    return hashlib.blake2b(group.encode(), digest_size=8).digest()


def split_by_group(data: TileDataset, fraction: float = 0.25) -> TileDataset:
    """Hold out whole groups for validation, class by class.

    Groups are ranked by a hash of their name, those of each class by themselves, and those of several classes
    together. So a group keeps its side whatever tiles are added to it, unless it gets its first of a further class;
    and each new group can move one other of its stratum to the other side. Where a class has one group only, the
    tiles of that group are held out by region instead, the right-hand part of each field. Training tiles that overlap
    a held-out one are left out of both, also where a list assigns them to different groups. Rotated copies are trained
    on beside their tile, but never validated on, where they would count a tile several times.

    Parameters
    ----------
    data
        The tiles; an earlier split is replaced.
    fraction
        Fraction of the groups (of the width, by region) that is held out, at least one.

    Raises
    ------
    DatasetError
        A class would have no tile to train on or none to validate on.
    """
    members: dict[str, set[int]] = defaultdict(set)
    for group, label in zip(data.groups, data.labels, strict=True):
        members[str(group)].add(int(label))
    strata: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for group, classes in members.items():
        # Those of several classes are one stratum, or a field's first tile of a rare class would move it.
        strata[tuple(classes) if len(classes) == 1 else ()].append(group)
    held: set[str] = set()
    for groups in strata.values():
        if len(groups) > 1:
            held |= set(sorted(groups, key=_rank)[: max(1, min(len(groups) - 1, round(fraction * len(groups))))])
    torn = _on_both_sides(members, held)
    split = np.where(np.isin(data.groups.astype(str), list(held)), VALIDATION, TRAIN).astype(object)
    boxes, field = _field_boxes(data)
    for group in torn:
        mine = np.flatnonzero(data.groups == group)
        split[mine] = _split_region(boxes[mine], field[mine], fraction)
    rule = f"{len(held)} of {len(members)} groups held out, by a hash of their names"
    if torn:
        rule += f"; {', '.join(torn)} alone in a class: right-hand part held out, with a gap"
    return _without_rotated_validation(_with_gap(replace(data, split=split, split_rule=rule)))


def train_on_all(data: TileDataset) -> TileDataset:
    """Put all tiles into training, for a fit that is evaluated by leave-one-group-out cross-validation.

    Parameters
    ----------
    data
        The tiles; an earlier split is replaced.
    """
    data = replace(data, split=np.full(len(data), TRAIN, object))
    groups = len(set(data.groups.astype(str)))
    rule = f"all tiles are trained on; leave-one-group-out cross-validation over {counted(groups, 'group')}"
    if single := classes_of_one_group(data):
        rule = (
            f"all tiles are trained on; leave-one-out cross-validation of single tiles, as "
            f"{', '.join(map(repr, single))} {'has' if len(single) == 1 else 'have'} tiles of one group only"
        )
    return replace(data, split_rule=rule)


def classes_of_one_group(data: TileDataset) -> list[str]:
    """Return the names of the classes whose tiles are all of one group."""
    names = data.scheme.names
    return [name for k, name in enumerate(names) if len(set(data.groups[data.labels == k].astype(str))) == 1]


def _on_both_sides(members: dict[str, set[int]], held: set[str]) -> list[str]:
    """Move whole groups, in ``held``, until each class is on both sides; return those that must be split for that."""
    torn: set[str] = set()
    labels = sorted(set().union(*members.values()))
    for label in [*labels, *labels]:  # twice, as what is moved for one class may have been another's
        mine = sorted((group for group, classes in members.items() if label in classes), key=_rank)
        out = [group for group in mine if group in held]
        if torn.intersection(mine) or 0 < len(out) < len(mine):
            continue
        if len(mine) == 1:
            torn.add(mine[0])
            held.discard(mine[0])
        elif out:
            held.discard(mine[-1])
        else:
            held.add(mine[0])
    return sorted(torn)


def _field_boxes(data: TileDataset) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the tiles' boxes in their fields, and the field index of each."""
    known = data.provenance
    return (known.boxes, known.field) if known else (data.boxes, data.image)


def _with_gap(data: TileDataset) -> TileDataset:
    """Leave out training tiles that overlap a held-out tile: they contain some of its pixels."""
    boxes, field = _field_boxes(data)
    sides = data.split
    both = np.intersect1d(field[sides == TRAIN], field[sides == VALIDATION])
    dropped = 0
    for number in both:
        held = boxes[(field == number) & (sides == VALIDATION)]
        for i in np.flatnonzero((field == number) & (sides == TRAIN)):
            y0, x0, y1, x1 = boxes[i]
            if ((held[:, 0] < y1) & (held[:, 2] > y0) & (held[:, 1] < x1) & (held[:, 3] > x0)).any():
                sides[i] = ""
                dropped += 1
    if not dropped:
        return data
    overlapping = counted(dropped, "training tile that overlaps", "training tiles that overlap")
    rule = f"{data.split_rule}; {overlapping} held-out ones left out"
    return replace(data, split_rule=rule)


def split_by_fold(data: TileDataset, fold: int, folds: int) -> TileDataset:
    """Hold out one fold of the groups in a cross-validation, in which every group is held out once.

    Parameters
    ----------
    data
        The tiles; an earlier split is replaced. Rotated copies are trained on, never validated on.
    fold, folds
        Which fold, from 0, of how many, 2 or more. Groups are assigned class by class, ranked by a hash of
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
                f"class {name!r} has {counted(len(groups), 'group')}, too few for {folds} folds; "
                f"use --folds {len(groups)} or "
                "less, add fields, or choose another --group-by"
            )
        # A group of several classes is assigned with the first of them.
        seen = {str(group) for group in data.groups[data.labels < label]}
        held += [group for i, group in enumerate(g for g in groups if g not in seen) if i % folds == fold]
    split = np.where(np.isin(data.groups.astype(str), held), VALIDATION, TRAIN).astype(object)
    rule = (
        f"fold {fold + 1} of {folds}: {len(held)} of {len(set(data.groups))} groups held out, by a hash of their names"
    )
    return _without_rotated_validation(_with_gap(replace(data, split=split, split_rule=rule)))


def split_by_tile(data: TileDataset, fraction: float = 0.25, seed: int = 0) -> TileDataset:
    """Hold out tiles at random, class by class, whatever group they are from: for comparison only.

    Tiles of one field share cells, light and culture, so that the accuracy is overestimated. How much is seen in
    comparison with :func:`split_by_group`; no model is evaluated by it.

    Parameters
    ----------
    data
        The tiles; an earlier split is replaced. Rotated copies of held-out tiles are left out. Tiles that overlap are
        on both sides, as in any split that ignores fields: that is what is demonstrated.
    fraction
        Fraction of each class's tiles that is held out, at least one.
    seed
        Of the random split.

    Raises
    ------
    DatasetError
        A class has one tile only.
    """
    rng = np.random.default_rng(seed)
    units = unrotated_tile_ids(data)
    split = np.full(len(data), TRAIN, object)
    for label in range(len(data.scheme)):
        mine = np.unique(units[data.labels == label])
        held = rng.permutation(mine)[: max(1, round(fraction * len(mine)))]
        split[np.isin(units, held)] = VALIDATION
    rule = f"{fraction:.0%} of the tiles held out at random, without regard to groups"
    return _without_rotated_validation(replace(data, split=split, split_rule=rule))


def unrotated_tile_ids(data: TileDataset) -> NDArray[np.int64]:
    """Return an id per tile that a tile and its rotated copies have in common; int64, shape (N,)."""
    known = data.provenance
    if known is None:
        return np.arange(len(data))
    positions = np.column_stack([known.field, known.boxes])
    return np.unique(positions, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def _without_rotated_validation(data: TileDataset) -> TileDataset:
    """Leave rotated copies out of the validation tiles, and check that every class is on both sides."""
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
                    f"class {name!r} has no tile to {use}: its {counted(len(mine), 'tile')} cannot be split by group "
                    f"({data.split_rule}); add images, cut smaller tiles, or choose another --group-by"
                )
