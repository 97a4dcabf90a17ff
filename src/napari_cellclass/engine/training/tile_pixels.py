"""The pixels that a network is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, TileDataset
from napari_cellclass.core.params.train import NetworkName, TrainParams
from napari_cellclass.core.tiles.preprocess import DEFAULT_PERCENTILES, PreprocessSpec, grey_range
from napari_cellclass.core.tiles.statistics import THUMBNAIL_PX, channel_stats, tile_fingerprint
from napari_cellclass.engine.common.tile_input import is_finite
from napari_cellclass.engine.networks.transfer import LARGEST_PX

_INPUT_PX: dict[NetworkName, int] = {"compact": 128, "mobilenet": LARGEST_PX}
ARTICLE_INPUT_PX = 256
# Enough for a 99.8th percentile.
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
        int64, shape (n,): each tile's place in the data set.
    spec
        The way from raw tiles to the network.
    preprocessed
        Whether ``spec`` has been applied already, as it is for tiles of several shapes.
    nonfinite
        int64: places of the tiles that were left out, as they hold NaN or infinite pixels.
    golden
        Shape (g, h, w, C): a few raw tiles of the commonest shape, spread over the classes; at their
        fields' range where ``spec`` asks for that.
    stats
        float64, shape (n, 2, C): mean and sd of every tile and channel, see :func:`channel_stats`.
    hashes, thumbnails
        uint64, shape (n,), and int8, shape (n, 256): what is compared to find copies, see
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
        """Give network input of some tiles, shape (n, H, W, C)."""
        return np.asarray(self.tiles[rows], np.float32) if self.preprocessed else self.spec.apply(self.tiles[rows])

    def scaled(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give some tiles in their own size (n, h, w, C), grey values as 0 to 1, each seen as ``views`` says."""
        tiles, dtype = self.tiles[rows], self.tiles.dtype
        if tiles.shape[3] > 1:  # pixels are moved as a whole, in half the time
            tiles = tiles.view((np.void, tiles.shape[3] * dtype.itemsize))
        tiles = np.stack([dihedral(tile, int(view)) for tile, view in zip(tiles, views, strict=True)]).view(dtype)
        return np.asarray(tiles, np.float32) if self.preprocessed else self.spec.scale(tiles)

    @property
    def views(self) -> int:
        """How many of the eight dihedral views keep a tile's shape."""
        return 8 if self.tiles.shape[1] == self.tiles.shape[2] else 4


def dihedral(tile: NDArray[np.generic], view: int) -> NDArray[np.generic]:
    """Mirror a tile (h, w, C) up-down (1), left-right (2) and at its diagonal (4); bits of ``view``."""
    if view & 1:
        tile = tile[::-1]
    if view & 2:
        tile = tile[:, ::-1]
    return tile.swapaxes(0, 1) if view & 4 else tile


def network_input_size(tile_px: tuple[int, int], network: NetworkName, input_px: int | None) -> tuple[int, int]:
    """Choose a network's input, of the tile's shape: its longer side ``input_px``, or what the network is made for.

    That is at most 128 px for ``"compact"``, 224 px for ``"mobilenet"``, and 256 px, also of smaller tiles, for the
    article's networks.
    """
    longer = max(tile_px)
    own = min(longer, _INPUT_PX[network]) if network in _INPUT_PX else ARTICLE_INPUT_PX
    scale = (own if input_px is None else input_px) / longer
    return max(1, round(tile_px[0] * scale)), max(1, round(tile_px[1] * scale))


def load_pixels(data: TileDataset, params: TrainParams, task: Task) -> TilePixels:
    """Read the training and validation tiles of a data set, each once.

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
    places = np.array(sorted(raw), np.int64)
    _check_classes(data, places)
    spec = _spec(data, params, [raw[p] for p in places if data.split[p] == TRAIN])
    golden = np.stack([raw[p] for p in _golden_places(data, places)])
    one_shape = len({tile.shape for tile in raw.values()}) == 1
    shape = golden.shape[1:] if one_shape else (*spec.input_px, data.channels)
    tiles = np.empty((len(places), *shape), golden.dtype if one_shape else np.float32)
    stats = np.empty((len(places), 2, data.channels))
    hashes, thumbnails = np.empty(len(places), np.uint64), np.empty((len(places), THUMBNAIL_PX**2), np.int8)
    for row, p in enumerate(places.tolist()):
        tile = raw.pop(p)  # so that memory holds every tile about once
        stats[row] = channel_stats(tile[None])[0]
        hashes[row], thumbnails[row] = tile_fingerprint(tile)
        tiles[row] = tile if one_shape else spec.apply(tile[None])[0]
    return TilePixels(
        tiles, places, spec, not one_shape, np.array(nonfinite, np.int64), golden, stats, hashes, thumbnails
    )


def _read(data: TileDataset, spec: PreprocessSpec, task: Task) -> tuple[dict[int, NDArray[np.generic]], list[int]]:
    """Read tiles by place, at their field's range where ``spec`` asks for it; and the places of bad ones."""
    wanted = np.flatnonzero(np.isin(data.split.astype(str), (TRAIN, VALIDATION)))
    if len(wanted) == 0:
        raise DatasetError("there is no tile to train on; add images or cut smaller tiles")
    raw: dict[int, NDArray[np.generic]] = {}
    nonfinite = []
    levels = data.levels_lookup(spec, task)
    for place, tile in data.tiles(wanted, "reading tiles", task):
        if is_finite(tile[None])[0]:
            levelled = spec.apply_levels(tile, levels(place))
            raw[place] = levelled.astype(levelled.dtype.newbyteorder("="))
        else:
            nonfinite.append(place)
    return raw, nonfinite


def _spec(data: TileDataset, params: TrainParams, training: list[NDArray[np.generic]]) -> PreprocessSpec:
    """Make the way from raw tiles to the network; a range that is to be found needs the ``training`` tiles."""
    size = network_input_size(data.tile_px, params.network, params.input_px)
    if params.normalisation == "percentiles":
        percentiles = params.grey_range or DEFAULT_PERCENTILES
        return PreprocessSpec(
            channels=data.channels, input_px=size, normalisation="percentiles", percentiles=percentiles, low=0, high=1
        )
    if params.grey_range is not None:
        low, high = params.grey_range
    else:
        low, high = grey_range(data.dtype, _sample(training) if training else None)
    return PreprocessSpec(channels=data.channels, input_px=size, low=low, high=high)


def _check_classes(data: TileDataset, places: NDArray[np.int64]) -> None:
    for label, name in enumerate(data.scheme.names):
        for split, use in ((TRAIN, "train on"), (VALIDATION, "validate on")):
            if not ((data.labels[places] == label) & (data.split[places] == split)).any():
                raise DatasetError(
                    f"class {name!r} has no tile to {use} that is free of NaN and infinite pixels; add images"
                )


def _sample(tiles: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Take pixels evenly from training tiles, as a flat array."""
    every = max(1, sum(tile.size for tile in tiles) // _SAMPLE_VALUES)
    return np.concatenate([tile.ravel()[i % every :: every] for i, tile in enumerate(tiles)])


def _golden_places(data: TileDataset, places: NDArray[np.int64], count: int = 8) -> list[int]:
    """Choose up to ``count`` tiles of the commonest shape, class by class in turn; at most 64 MB."""
    sizes = data.boxes[places, 2:] - data.boxes[places, :2]
    fitting = places[(sizes == data.tile_px).all(axis=1)]
    tile_bytes = data.tile_px[0] * data.tile_px[1] * data.channels * data.dtype.itemsize
    count = max(1, min(count, (64 << 20) // tile_bytes))
    by_class = [fitting[data.labels[fitting] == label] for label in range(len(data.scheme))]
    # From each class the tiles at 1/3, 2/3 … of its list rather than neighbours of one field.
    per_class = -(-count // len(by_class))
    spread = [
        [mine[(2 * i + 1) * len(mine) // (2 * per_class)] for mine in by_class if len(mine)] for i in range(per_class)
    ]
    return list(dict.fromkeys(int(place) for turn in spread for place in turn))[:count]
