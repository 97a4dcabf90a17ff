"""The pixels that a network is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError, ModelError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, TileDataset
from napari_cellclass.core.models.feature_scale import read_feature_scale
from napari_cellclass.core.models.feature_spec import FEATURE_INPUT_PX, feature_preprocess, is_colour
from napari_cellclass.core.params.train import NetworkName, TrainParams
from napari_cellclass.core.tiles.preprocess import DEFAULT_PERCENTILES, PreprocessSpec, grey_range
from napari_cellclass.core.tiles.statistics import THUMBNAIL_PX, channel_stats, tile_fingerprint
from napari_cellclass.engine.common.tile_input import is_finite
from napari_cellclass.engine.networks.transfer import LARGEST_PX

_INPUT_PX: dict[NetworkName, int] = {"compact": 128, "mobilenet": LARGEST_PX}
ARTICLE_INPUT_PX = 256
# Enough pixels for a 99.8th percentile.
_SAMPLE_VALUES = 4_000_000


@dataclass(frozen=True, eq=False)
class TilePixels:
    """The tiles of a data set in memory.

    Parameters
    ----------
    tiles
        Shape (n, h, w, C): raw, in the images' dtype (or at their fields' range, float32), or float32
        network input where ``preprocessed``.
    tile_indices
        int64, shape (n,): index of each tile in the data set.
    spec
        Preprocessing from raw tiles to network input.
    preprocessed
        Whether ``spec`` has been applied already, as it is for tiles of several shapes.
    nonfinite
        int64: indices of the tiles that were skipped, as they hold NaN or infinite pixels.
    golden
        Shape (g, h, w, C): a few raw tiles of the most frequent shape, spread over the classes; at their
        fields' range where ``spec`` asks for that.
    stats
        float64, shape (n, 2, C): mean and sd of every tile and channel, see :func:`channel_stats`.
    hashes, thumbnails
        uint64, shape (n,), and int8, shape (n, 256): compared to find near-duplicates, see
        :func:`~napari_cellclass.core.quality.near_duplicates.find_near_duplicates`.
    """

    tiles: NDArray[np.generic]
    tile_indices: NDArray[np.int64]
    spec: PreprocessSpec
    preprocessed: bool
    nonfinite: NDArray[np.int64]
    golden: NDArray[np.generic]
    stats: NDArray[np.float64]
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.int8]

    def batch(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return network input for some tiles, shape (n, H, W, C)."""
        return np.asarray(self.tiles[rows], np.float32) if self.preprocessed else self.spec.apply(self.tiles[rows])

    def scaled(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return some tiles in their own size (n, h, w, C), with grey values of 0 to 1, each in its dihedral view."""
        tiles, dtype = self.tiles[rows], self.tiles.dtype
        if tiles.shape[3] > 1:  # whole pixels are moved, in half the time
            tiles = tiles.view((np.void, tiles.shape[3] * dtype.itemsize))
        tiles = np.stack([dihedral(tile, int(view)) for tile, view in zip(tiles, views, strict=True)]).view(dtype)
        return np.asarray(tiles, np.float32) if self.preprocessed else self.spec.scale(tiles)

    @property
    def views(self) -> int:
        """Number of the eight dihedral views that keep a tile's shape."""
        return 8 if self.tiles.shape[1] == self.tiles.shape[2] else 4


def dihedral(tile: NDArray[np.generic], view: int) -> NDArray[np.generic]:
    """Mirror a tile (h, w, C) up-down (1), left-right (2) and at its diagonal (4); bits of ``view``."""
    if view & 1:
        tile = tile[::-1]
    if view & 2:
        tile = tile[:, ::-1]
    return tile.swapaxes(0, 1) if view & 4 else tile


def network_input_size(tile_px: tuple[int, int], network: NetworkName, input_px: int | None) -> tuple[int, int]:
    """Return a network's input size with the tile's aspect ratio; its longer side is ``input_px``, or a default.

    The default is at most 128 px for ``"compact"``, 224 px for ``"mobilenet"``, and 256 px, also for smaller tiles, for
    the article's networks.
    """
    longer = max(tile_px)
    default = min(longer, _INPUT_PX[network]) if network in _INPUT_PX else ARTICLE_INPUT_PX
    scale = (default if input_px is None else input_px) / longer
    return max(1, round(tile_px[0] * scale)), max(1, round(tile_px[1] * scale))


def load_pixels(
    data: TileDataset, params: TrainParams, task: Task, input_px: tuple[int, int] | None = None
) -> TilePixels:
    """Read the training and validation tiles of a data set, each once; ``input_px`` is that of a user's backbone.

    Raises
    ------
    DatasetError
        A class has no finite tile in one of the splits, or there are no tiles at all.
    ImageError
        A file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    raw, nonfinite = _read(data, _spec(data, params, []), task)
    resized = {} if input_px is None else {"input_px": input_px}
    indices = np.array(sorted(raw), np.int64)
    _check_classes(data, indices)
    spec = _spec(data, params, [raw[p] for p in indices if data.split[p] == TRAIN]).model_copy(update=resized)
    golden = np.stack([raw[p] for p in _golden_indices(data, indices)])
    one_shape = len({tile.shape for tile in raw.values()}) == 1
    shape = golden.shape[1:] if one_shape else (*spec.input_px, data.channels)
    tiles = np.empty((len(indices), *shape), golden.dtype if one_shape else np.float32)
    stats = np.empty((len(indices), 2, data.channels))
    hashes, thumbnails = np.empty(len(indices), np.uint64), np.empty((len(indices), THUMBNAIL_PX**2), np.int8)
    for row, p in enumerate(indices.tolist()):
        tile = raw.pop(p)  # so that memory holds every tile about once
        stats[row] = channel_stats(tile[None])[0]
        hashes[row], thumbnails[row] = tile_fingerprint(tile)
        tiles[row] = tile if one_shape else spec.apply(tile[None])[0]
    return TilePixels(
        tiles, indices, spec, not one_shape, np.array(nonfinite, np.int64), golden, stats, hashes, thumbnails
    )


def _read(data: TileDataset, spec: PreprocessSpec, task: Task) -> tuple[dict[int, NDArray[np.generic]], list[int]]:
    """Read tiles by index, at their field's range where ``spec`` needs that; and the indices of non-finite ones."""
    wanted = np.flatnonzero(np.isin(data.split.astype(str), (TRAIN, VALIDATION)))
    if len(wanted) == 0:
        raise DatasetError("there is no tile to train on; add images or cut smaller tiles")
    raw: dict[int, NDArray[np.generic]] = {}
    nonfinite = []
    levels = data.levels_lookup(spec, task)
    for index, tile in data.tiles(wanted, "reading tiles", task):
        if is_finite(tile[None])[0]:
            levelled = spec.apply_levels(tile, levels(index))
            raw[index] = levelled.astype(levelled.dtype.newbyteorder("="))
        else:
            nonfinite.append(index)
    return raw, nonfinite


def _spec(data: TileDataset, params: TrainParams, training: list[NDArray[np.generic]]) -> PreprocessSpec:
    """Return the preprocessing; a grey-value range that is to be measured needs the ``training`` tiles."""
    pretrained = params.network == "pretrained"
    size = FEATURE_INPUT_PX if pretrained else network_input_size(data.tile_px, params.network, params.input_px)
    if pretrained and params.feature_scale is not None:
        return _scaled_as_before(data, params.feature_scale)
    if params.normalisation == "percentiles":
        percentiles = params.grey_range or DEFAULT_PERCENTILES
        return PreprocessSpec(
            channels=data.channels, input_px=size, normalisation="percentiles", percentiles=percentiles, low=0, high=1
        )
    if params.grey_range is not None:
        low, high = params.grey_range
    elif pretrained:
        sample = _sample(training) if training else None
        return feature_preprocess(data.dtype, data.channels, has_colour(data, params), sample)
    else:
        low, high = grey_range(data.dtype, _sample(training) if training else None)
    return PreprocessSpec(channels=data.channels, input_px=size, low=low, high=high)


def _scaled_as_before(data: TileDataset, path: Path) -> PreprocessSpec:
    """Return the grey-value ranges of a labelling session."""
    spec = read_feature_scale(path).spec.preprocess
    if spec.channels != data.channels:
        raise ModelError(
            f"{path} is of {counted(spec.channels, 'channel')}, but the tiles have {data.channels}; leave it out"
        )
    return spec


def _check_classes(data: TileDataset, indices: NDArray[np.int64]) -> None:
    for label, name in enumerate(data.scheme.names):
        for split, use in ((TRAIN, "train on"), (VALIDATION, "validate on")):
            wanted = (data.split == split).any()  # leave-one-group-out needs no validation tiles
            if wanted and not ((data.labels[indices] == label) & (data.split[indices] == split)).any():
                raise DatasetError(
                    f"class {name!r} has no tile to {use} that is free of NaN and infinite pixels; add images"
                )


def has_colour(data: TileDataset, params: TrainParams) -> bool:
    """Return whether the channels of the tiles are red, green and blue, as the first image says or the user does.

    Raises
    ------
    ImageError
        The image has become unreadable.
    """
    return data.channels == 3 and is_colour(data.read(data.paths[int(data.image[0])]), params.colour)


def _sample(tiles: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Sample pixels evenly from training tiles, shape (n, C)."""
    every = max(1, sum(tile.size for tile in tiles) // _SAMPLE_VALUES)
    pixels = [tile.reshape(-1, tile.shape[2]) for tile in tiles]
    return np.concatenate([values[i % every :: every] for i, values in enumerate(pixels)])


def _golden_indices(data: TileDataset, indices: NDArray[np.int64], count: int = 8) -> list[int]:
    """Choose up to ``count`` tiles of the most frequent shape, alternating between classes; at most 64 MB."""
    sizes = data.boxes[indices, 2:] - data.boxes[indices, :2]
    fitting = indices[(sizes == data.tile_px).all(axis=1)]
    tile_bytes = data.tile_px[0] * data.tile_px[1] * data.channels * data.dtype.itemsize
    count = max(1, min(count, (64 << 20) // tile_bytes))
    by_class = [fitting[data.labels[fitting] == label] for label in range(len(data.scheme))]
    # From each class the tiles at 1/3, 2/3 … of its list rather than neighbours in one field.
    per_class = -(-count // len(by_class))
    spread = [
        [own[(2 * i + 1) * len(own) // (2 * per_class)] for own in by_class if len(own)] for i in range(per_class)
    ]
    return list(dict.fromkeys(int(index) for one_each in spread for index in one_each))[:count]
