"""What a model carries of its training tiles: features as its network sees them, thumbnails, and places."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.images.display import stretch_contrast, to_rgb
from napari_cellclass.core.models.linear_head import held_out_folds
from napari_cellclass.core.models.training_tiles import TrainingTiles, choose_tiles, thumbnail_side
from napari_cellclass.core.stats.novelty import ClassDistances, FeatureSpace, fit_space, held_out_distances
from napari_cellclass.core.tiles.preprocess import resize_weights
from napari_cellclass.engine.inference.class_layer import with_features
from napari_cellclass.engine.inference.openvino_graph import (
    OpenVinoNetwork,
    TileFormat,
    identity_preprocessing,
    read_network,
)
from napari_cellclass.engine.training.tile_pixels import has_colour
from napari_cellclass.engine.training.training_run import TrainingRun

_BATCH, _FOLDS = 64, 16
_CHECKED = 4
_TOLERANCE = 1e-2  # of standardised features that were computed before
_FEWEST = 10  # known tiles, for p-values to mean something


def known_tiles(run: TrainingRun, network: Mapping[str, bytes]) -> TrainingTiles | None:
    """Collect what a model carries of its training tiles.

    Features that do not depend on the labels, those of linear models, are compared with those of other groups by
    cross-validation over groups; of a network that was trained, the held-out tiles are compared with the
    training tiles, which it may have memorised.

    Parameters
    ----------
    run
        The training.
    network
        Files of its float32 network, ``model.xml`` and ``model.bin``.

    Returns
    -------
    TrainingTiles or None
        None where the network has no dense layer of classes, or too few tiles are held out.

    Raises
    ------
    CancelledError
        The run was cancelled.
    """
    data, indices = run.data, run.pixels.tile_indices
    usable = np.ones(len(indices), bool) if data.provenance is None else ~data.provenance.rotated[indices]
    fixed = _has_fixed_features(run)
    labels, groups = data.labels[indices].astype(np.int16), data.groups[indices].astype(str)
    known = np.flatnonzero(usable) if fixed else np.setdiff1d(run.train[usable[run.train]], run.val)
    known = known[choose_tiles(labels[known], groups[known])]
    held_out = np.zeros(0, np.int64) if fixed else run.val[choose_tiles(labels[run.val], groups[run.val])]
    features = _features(run, network, np.concatenate([known, held_out]))
    if features is None or len(known) < _FEWEST:
        return None
    own, others = np.split(_compared(run, features), [len(known)])
    space = fit_space(own, labels[known])
    examples = space.apply(own)
    by_group = True
    if fixed:
        folds, by = held_out_folds(labels[known], groups[known], _FOLDS)
        by_group, scores = by == "group", held_out_distances(own, labels[known], folds)
    else:
        scores = ClassDistances.of(examples, labels[known]).apply(space.apply(others))
    scores = np.sort(scores[np.isfinite(scores)])
    if len(scores) < _FEWEST:
        return None
    tile, space = indices[known], _padded(space, features.shape[1])
    return TrainingTiles(
        space.mean, space.matrix, examples, labels[known], data.image[tile].astype(np.int32),
        data.boxes[tile].astype(np.int32), groups[known], scores, np.array(by_group), _thumbnails(run, known),
    )  # fmt: skip


def _has_fixed_features(run: TrainingRun) -> bool:
    """Whether the features of a tile are the same whether it was trained on or not."""
    if run.head is None:
        return run.params.network == "mobilenet"
    return run.head.network is None or not run.head.network.joined


def _features(run: TrainingRun, network: Mapping[str, bytes], rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """Compute what the network's layer of classes takes, unless training has done so; None where it has none.

    ``run.known_features`` is forgotten where the network orders its features in another way.
    """
    run.task.progress("comparing training tiles", 0, len(rows))
    x = run.pixels.batch(rows[:1])
    try:
        model = with_features(read_network(network["model.xml"], network["model.bin"]))
    except ValueError:
        return None
    compute = OpenVinoNetwork(model, identity_preprocessing(x.shape[1:]), TileFormat.of(x))
    classes = len(run.data.scheme)
    if run.known_features is not None:
        before = run.known_features[rows]
        first = compute(run.pixels.batch(rows[:_CHECKED]))[:, classes:]
        if first.shape[1] == before.shape[1] and np.abs(first - before[:_CHECKED]).max() < _TOLERANCE:
            return before
        run.known_features = None
    parts = []
    for start in range(0, len(rows), _BATCH):
        run.task.check("cancelled while training tiles were compared; nothing was written")
        run.task.progress("comparing training tiles", start, len(rows))
        parts.append(compute(run.pixels.batch(rows[start : start + _BATCH]))[:, classes:])
    return np.concatenate(parts)


def _compared(run: TrainingRun, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features that tiles are compared by: the pretrained ones alone, where there are texture features, too.

    They tell new classes of blood cells better from known ones than both sets do, see ``benchmarks/novelty.py``.
    """
    if run.known_features is None or run.features is None or not run.features.columns[0]:
        return features
    return features[:, : run.features.columns[0]]


def _padded(space: FeatureSpace, features: int) -> FeatureSpace:
    """Return the same space for more features, of which the last ones do not count."""
    rest = features - len(space.mean)
    return FeatureSpace(np.pad(space.mean, (0, rest)), np.pad(space.matrix, ((0, rest), (0, 0))))


def _thumbnails(run: TrainingRun, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return tiles as small RGB images (n, h, w, 3); none of them where the user wants none."""
    if not run.params.thumbnails:
        return np.zeros((0, 1, 1, 3), np.uint8)
    height, width = run.pixels.tiles.shape[1:3]
    scale = min(1.0, thumbnail_side(len(rows)) / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    vertical, horizontal = resize_weights(height, size[0]), resize_weights(width, size[1])
    colour = has_colour(run.data, run.params)
    shown = np.empty((len(rows), *size, 3), np.uint8)
    for i, row in enumerate(rows):
        rgb = _rgb(run.pixels.tiles[row], colour).astype(np.float32)
        small = np.tensordot(vertical, rgb, (1, 0))
        small = np.tensordot(horizontal, small, (1, 1)).swapaxes(0, 1)
        shown[i] = np.clip(np.round(small), 0, 255)
    return shown


def _rgb(tile: NDArray[np.generic], colour: bool) -> NDArray[np.uint8]:
    if colour and tile.dtype == np.uint8:
        return to_rgb(tile.astype(np.uint8, copy=False))
    return to_rgb(stretch_contrast(tile, jointly=colour))
