"""Data sets for an experiment's comparisons: shuffled labels as the null model, and fewer tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.datasets.dataset import TRAIN, TileDataset
from napari_cellclass.core.datasets.split import unrotated_tile_ids


def shuffle_training_labels(data: TileDataset, seed: int) -> TileDataset:
    """Shuffle the labels of the training tiles, so that a network can only memorise them.

    The held-out tiles keep theirs. After Zhang et al., ICLR 2017 (arXiv:1611.03530).

    Parameters
    ----------
    data
        Tiles that have been split. A tile and its rotated copies get one label.
    seed
        Of the permutation.
    """
    train = data.tile_indices(TRAIN)
    _, first, unit = np.unique(unrotated_tile_ids(data)[train], return_index=True, return_inverse=True)
    dealt = np.random.default_rng(seed).permutation(data.labels[train][first])
    labels = data.labels.copy()
    labels[train] = dealt[unit.ravel()]
    return replace(data, labels=labels, split_rule=f"{data.split_rule}; training labels shuffled, seed {seed}")


def subsample_training_tiles(data: TileDataset, fraction: float, seed: int) -> TileDataset:
    """Keep a random fraction of the training tiles, class by class and irrespective of the group.

    Tiles, not groups, are sampled: a learning curve over such subsets is about more tiles of the same groups.

    Parameters
    ----------
    data
        Tiles that have been split.
    fraction
        How much is kept, 0 to 1. With one seed, a smaller subset lies within a larger one.
    seed
        Of the random subset.

    Raises
    ------
    DatasetError
        No tile of a class would be left.
    """
    train = data.tile_indices(TRAIN)
    units = unrotated_tile_ids(data)
    rank = np.random.default_rng(seed).permutation(int(units.max()) + 1)
    split = data.split.copy()
    for label, name in enumerate(data.scheme.names):
        mine = np.unique(units[train[data.labels[train] == label]])
        count = round(fraction * len(mine))
        if count < 1:
            raise DatasetError(
                f"class {name!r} has {counted(len(mine), 'training tile')}, so {fraction:g} of them is none"
            )
        dropped = mine[np.argsort(rank[mine])][count:]
        split[train[np.isin(units[train], dropped)]] = ""
    return replace(data, split=split, split_rule=f"{data.split_rule}; {fraction:g} of the training tiles, seed {seed}")
