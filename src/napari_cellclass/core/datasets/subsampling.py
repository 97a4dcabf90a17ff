"""The data sets of an experiment's comparisons: shuffled labels as the null, and fewer tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.datasets.dataset import TRAIN, TileDataset
from napari_cellclass.core.datasets.split import unrotated_tile_ids


def shuffle_training_labels(data: TileDataset, seed: int) -> TileDataset:
    """Deal the labels of the training tiles out anew: what is learned then is memory and nothing else.

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


def subsample_training_tiles(data: TileDataset, part: float, seed: int) -> TileDataset:
    """Leave a part of the training tiles, class by class and over all training groups alike.

    Tiles, not groups, are drawn: what is learned from it is about more tiles of the groups there are.

    Parameters
    ----------
    data
        Tiles that have been split.
    part
        How much is kept, 0 to 1. With one seed, a smaller part lies within a larger one.
    seed
        Of the draw.

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
        keep = round(part * len(mine))
        if keep < 1:
            raise DatasetError(f"class {name!r} has {len(mine)} training tile(s), so {part:g} of them is none")
        dropped = mine[np.argsort(rank[mine])][keep:]
        split[train[np.isin(units[train], dropped)]] = ""
    return replace(data, split=split, split_rule=f"{data.split_rule}; {part:g} of the training tiles, seed {seed}")
