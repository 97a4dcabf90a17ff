"""The features of a model's training tiles, with thumbnails and where they are from; a member of the model's file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.models.npz import read_npz
from napari_cellclass.core.stats.neighbours import NeighbourIndex
from napari_cellclass.core.stats.novelty import ClassDistances, FeatureSpace, conformal_p_values

MOST_TILES = 2000
"""Tiles that a model keeps; of more it keeps some of every class and group."""
THUMBNAIL_PX = 64
"""Longest side of a thumbnail in px."""
_THUMBNAIL_BYTES = 6 << 20  # of all thumbnails of a model, before compression
_LEAST_PX = 16
_MOST_FEATURES, _MOST_COORDINATES, _MOST_SCORES = 100_000, 512, 1_000_000


@dataclass(frozen=True, eq=False)
class TrainingTiles:
    """Training tiles of a model in the space in which distances are measured.

    Attributes
    ----------
    mean, matrix
        Of the :class:`~napari_cellclass.core.stats.novelty.FeatureSpace`: float32, shapes (F,) and (F, D).
    examples
        float32, shape (n, D): the tiles in that space.
    labels
        int16, shape (n,): their classes.
    images
        int32, shape (n,): which of the model's training images each is from.
    boxes
        int32, shape (n, 4): y0, x0, y1, x1 in px of the image.
    groups
        str, shape (n,): what each was held out with, such as its well.
    scores
        float32, ascending: distances of known tiles from tiles of other groups.
    by_group
        bool, shape (): whether groups were held out, rather than single tiles beside their neighbours.
    thumbnails
        uint8, shape (n, h, w, 3): RGB; n is 0 where none are kept.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]
    examples: NDArray[np.float32]
    labels: NDArray[np.int16]
    images: NDArray[np.int32]
    boxes: NDArray[np.int32]
    groups: NDArray[np.str_]
    scores: NDArray[np.float32]
    by_group: NDArray[np.bool_]
    thumbnails: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def space(self) -> FeatureSpace:
        """From features to the space of the examples."""
        return FeatureSpace(self.mean, self.matrix)

    def distances(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return how far tiles are from the classes of the training tiles, for features (m, F): float32, shape (m,)."""
        return self._classes.apply(self.space.apply(features))

    def p_values(self, distances: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the conformal p-values of distances; see :func:`conformal_p_values`."""
        return conformal_p_values(self.scores, distances)

    @cached_property
    def _classes(self) -> ClassDistances:
        return ClassDistances.of(self.examples, self.labels)

    @cached_property
    def index(self) -> NeighbourIndex:
        """For finding the training tiles that are most similar to a tile."""
        return NeighbourIndex(self.examples)

    def describe(self) -> str:
        """Describe them in a few words."""
        left_out = "groups" if self.by_group else "single tiles, beside their neighbours,"
        pictures = "with thumbnails" if len(self.thumbnails) else "without thumbnails"
        return (
            f"{counted(len(self), 'training tile')} {pictures}; p-values from {counted(len(self.scores), 'tile')} of "
            f"{left_out} held out"
        )

    def to_bytes(self) -> bytes:
        """Return the content of the member, an npz archive."""
        content = io.BytesIO()
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez_compressed(content, **arrays)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, most_bytes: int, classes: int) -> TrainingTiles:
        """Read what :meth:`to_bytes` gave; the content may be anybody's.

        Parameters
        ----------
        content
            The archive.
        most_bytes
            How large it may be, unpacked.
        classes
            Number of the model's classes.

        Raises
        ------
        ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error
            It is damaged; with ``ValueError``, in a few words why.
        """
        arrays = read_npz(content, most_bytes)
        found = cls(**{field.name: arrays[field.name] for field in fields(cls)})
        found.check(classes)
        return found

    def check(self, classes: int) -> None:
        """Raise ``ValueError`` where arrays do not fit each other."""
        n, (features, coordinates) = len(self.examples), _two(self.matrix.shape)
        wanted: Sequence[tuple[str, str, tuple[int, ...]]] = (
            ("mean", "f", (features,)), ("matrix", "f", (features, coordinates)), ("examples", "f", (n, coordinates)),
            ("labels", "i", (n,)), ("images", "i", (n,)), ("boxes", "i", (n, 4)), ("groups", "U", (n,)),
            ("scores", "f", (len(self.scores) if self.scores.ndim else 0,)), ("by_group", "b", ()),
        )  # fmt: skip
        for name, kind, shape in wanted:
            array = getattr(self, name)
            if array.dtype.kind != kind or array.shape != shape:
                raise ValueError(f"{name} of shape {array.shape} and type {array.dtype} do not fit the others")
            if kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"a number of {name} is not finite")
        shown = self.thumbnails
        if shown.dtype != np.uint8 or shown.ndim != 4 or len(shown) not in (0, n) or shown.shape[3] != 3:
            raise ValueError(f"thumbnails of shape {shown.shape} do not fit {n} tiles")
        too_many = n > MOST_TILES or features > _MOST_FEATURES or coordinates > _MOST_COORDINATES
        if not n or not len(self.scores) or too_many or len(self.scores) > _MOST_SCORES:
            raise ValueError(f"{n} tiles with {features} features and {len(self.scores)} scores are not possible")
        if max(shown.shape[1:3]) > THUMBNAIL_PX:
            raise ValueError(f"thumbnails of shape {shown.shape} are too large")
        if self.labels.min() < 0 or self.labels.max() >= classes or self.images.min() < 0:
            raise ValueError("a tile is of a class or an image that there is not")
        if (np.diff(self.scores) < 0).any():
            raise ValueError("its scores are not in order")


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"a matrix has the shape {shape}")
    return shape[0], shape[1]


def choose_tiles(labels: NDArray[np.integer[Any]], groups: NDArray[Any], most: int = MOST_TILES) -> NDArray[np.int64]:
    """Choose tiles such that every class, and every group in it, has its share: indices, ascending.

    Parameters
    ----------
    labels, groups
        Shape (n,), of all tiles.
    most
        How many at most.
    """
    n = len(labels)
    if n <= most:
        return np.arange(n)
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1]
    rng = np.random.default_rng(0)
    order = rng.permutation(n)
    within_group = _rank(order, labels.astype(np.int64) * (int(numbers.max()) + 1) + numbers)
    # The first of every group of a class, then the second ones, and so on; and the classes in turn.
    by_class = _rank(order[np.argsort(within_group[order], kind="stable")], labels.astype(np.int64))
    return np.sort(np.lexsort((within_group, by_class))[:most])


def _rank(order: NDArray[np.int64], kind: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each tile which one of its kind it is in an order."""
    ranks = np.empty(len(order), np.int64)
    sorted_kind = kind[order]
    places = np.argsort(sorted_kind, kind="stable")
    starts = np.searchsorted(sorted_kind[places], sorted_kind[places])
    ranks[order[places]] = np.arange(len(order)) - starts
    return ranks


def thumbnail_side(count: int) -> int:
    """Return the longest side of a thumbnail in px, so that those of all tiles are not too large together."""
    return int(np.clip((_THUMBNAIL_BYTES / (3 * max(1, count))) ** 0.5, _LEAST_PX, THUMBNAIL_PX))
