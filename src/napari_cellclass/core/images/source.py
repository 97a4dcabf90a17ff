"""The record of an image, whether it is from a file or a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.content_hash import RowHash

_KEPT_BYTES = 1 << 30


@dataclass(eq=False)
class _CachedId:
    """Cache of the content hash of one image, which costs reading its pixels."""

    value: str | None = None


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One plane of an image with its channels, read lazily.

    Parameters
    ----------
    data
        Array-like of shape (Y, X, C) in the image's own dtype, indexed as NumPy is; pixels are only
        fetched by indexing. A grey image has C = 1, alpha is never among the channels.
    name
        The image's name, usually the file's name without its folder.
    path
        The file it came from, or None.
    pixel_size_um
        (y, x) size of a pixel in µm, or None where it is not known.
    channel_names
        C names, or empty.
    rgb
        Whether the three channels are red, green, blue.
    source_axes, source_shape
        Axes letters and lengths of what was opened, before a plane was chosen; ``S`` is RGB samples.
    plane
        The index on every axis that is neither Y, X nor a channel, e.g. ``{"T": 0}``.
    notes
        Sentences on how the file was read that a user should know: what of it was left out.
    scene
        Which image of its file it is, from 0.
    """

    data: Any
    name: str = "image"
    path: Path | None = None
    pixel_size_um: tuple[float, float] | None = None
    channel_names: tuple[str, ...] = ()
    rgb: bool = False
    source_axes: str = "YXC"
    source_shape: tuple[int, ...] = ()
    plane: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    scene: int = 0
    _cached_id: _CachedId = field(default_factory=_CachedId, init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.data.shape) != 3:
            raise ImageError(f"{self.name}: expected axes (Y, X, C), but the shape is {tuple(self.data.shape)}")
        if min(self.data.shape) == 0:
            raise ImageError(f"{self.name}: the image is empty, its shape is {tuple(self.data.shape)}")
        if self.dtype.kind not in "uifb":
            raise ImageError(f"{self.name}: pixels of type {self.dtype} are not numbers; convert the image")

    @property
    def axes(self) -> str:
        """Axes of :attr:`data`, always ``"YXC"``."""
        return "YXC"

    @property
    def dtype(self) -> np.dtype:
        """The pixels' dtype."""
        return np.dtype(self.data.dtype)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px."""
        return int(self.data.shape[0]), int(self.data.shape[1])

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return int(self.data.shape[2])

    @property
    def chunk_rows(self) -> int:
        """Height of the chunks that the pixels are stored in, 1 where rows can be read one by one."""
        return chunk_height(self.data)

    def read(self, y0: int, x0: int, y1: int, x1: int) -> NDArray[Any]:
        """Fetch ``[y0, y1) x [x0, x1)``; what lies past the image is filled by reflection.

        Returns
        -------
        ndarray, shape (y1 - y0, x1 - x0, C)
            Pixels in the image's dtype.

        Raises
        ------
        ImageError
            The pixels cannot be read: a truncated or damaged file.
        """
        height, width = self.shape
        ya, yb = max(0, min(y0, height)), max(0, min(y1, height))
        xa, xb = max(0, min(x0, width)), max(0, min(x1, width))
        try:
            pixels = as_numpy(self.data[ya:yb, xa:xb])
        except ImageError:
            raise
        except Exception as error:  # codecs and reader plugins raise anything
            raise ImageError(
                f"{self.name}: the pixels cannot be read ({type(error).__name__}: {error}); the file may be damaged"
            ) from error
        if pixels.shape[:2] == (y1 - y0, x1 - x0):
            return pixels
        pads = ((ya - y0, y1 - yb), (xa - x0, x1 - xb), (0, 0))
        return np.pad(pixels, pads, mode="symmetric")

    def release_rows(self, y0: int, may_return: bool = False) -> None:
        """Release rows above ``y0``, which are not needed for now: files that are decoded from the top keep their rows.

        Parameters
        ----------
        y0
            The first row that is needed.
        may_return
            They may be read again: those of a field below a gigabyte are kept.
        """
        height, width = self.shape
        if not may_return or height * width * self.channels * self.dtype.itemsize > _KEPT_BYTES:
            release_rows(self.data, y0)

    def select(self, channels: Sequence[int]) -> SourceImage:
        """Keep some channels, in the order given.

        Raises
        ------
        ImageError
            There is no such channel.
        """
        missing = [channel for channel in channels if not 0 <= channel < self.channels]
        if missing:
            raise ImageError(
                f"{self.name} has no channel {missing[0]}; it has {counted(self.channels, 'channel')}, counted from 0"
            )
        names = tuple(self.channel_names[channel] for channel in channels) if self.channel_names else ()
        return replace(self, data=_Channels(self.data, tuple(channels)), channel_names=names, rgb=False)

    @property
    def image_id(self) -> str:
        """Hash of shape, dtype and pixels: the same for a file and the layer made of it.

        Of images above 64 MiB only 64 evenly spaced bands of rows are read, of 1 MiB each, and the id says so by
        beginning with ``s``. It is computed once, see :meth:`identify`.
        """
        return self.identify()

    @property
    def known_id(self) -> str | None:
        """:attr:`image_id` where the pixels have been read for it already, else None."""
        return self._cached_id.value

    def row_hash(self) -> RowHash:
        """Begin a hash of the pixels, to be given to :meth:`hash_rows` and :meth:`identify`."""
        height, width = self.shape
        return RowHash((height, width, self.channels), self.dtype)

    def hash_rows(self, row_hash: RowHash, y0: int, pixels: NDArray[Any]) -> None:
        """Add rows that were read anyway to a hash; any that it needs from above them are read.

        Parameters
        ----------
        row_hash
            See :meth:`row_hash`.
        y0
            The first of the rows.
        pixels
            Shape (n, width, C).

        Raises
        ------
        ImageError
            The pixels cannot be read.
        """
        for top, bottom in row_hash.missing_rows(0, y0):
            row_hash.update(top, self.read(top, 0, bottom, self.shape[1]))
        row_hash.update(y0, pixels)

    def identify(
        self,
        task: Task = NO_TASK,
        row_hash: RowHash | None = None,
    ) -> str:
        """Compute :attr:`image_id`, which reads the pixels, with progress and cancelling.

        Parameters
        ----------
        task
            Reports the rows that were read, and may be cancelled.
        row_hash
            Was given the rows that were read anyway; the rest is read now.

        Raises
        ------
        ImageError
            The pixels cannot be read.
        CancelledError
            The task was cancelled.
        """
        if self._cached_id.value is None:
            row_hash = row_hash or self.row_hash()
            for top, bottom in task.track(row_hash.missing_rows(), "reading the image"):
                self.release_rows(top, may_return=True)
                row_hash.update(top, self.read(top, 0, bottom, self.shape[1]))
            self._cached_id.value = row_hash.hexdigest()
        return self._cached_id.value


class _Channels:
    """Some channels of an array, still lazy."""

    def __init__(self, data: Any, channels: tuple[int, ...]) -> None:
        self._data, self._channels = data, channels
        self.shape = (*data.shape[:2], len(channels))
        self.chunk_rows = chunk_height(data)
        self.dtype = data.dtype

    def release_rows(self, y0: int) -> None:
        release_rows(self._data, y0)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.asarray(self._data[key])[..., self._channels]


def release_rows(array: Any, y0: int) -> None:
    """Release rows above ``y0`` of an array that keeps decoded rows; of any other, do nothing."""
    if (release := getattr(array, "release_rows", None)) is not None:
        release(y0)


def chunk_height(array: Any, axis: int = 0) -> int:
    """Return the length of an array's chunks along an axis, 1 where it has none; its own ``chunk_rows`` comes first."""
    own, chunks = getattr(array, "chunk_rows", None), getattr(array, "chunks", None)
    along = own or (chunks[axis] if chunks else 1)  # one length of zarr and HDF5, those of all chunks of dask
    return max(1, int(along[0] if isinstance(along, tuple) else along))


def as_numpy(array: Any) -> NDArray[Any]:
    """Load an array of any library into memory: also of CuPy, which NumPy does not convert."""
    if not isinstance(array, np.ndarray) and callable(getattr(array, "get", None)) and hasattr(array, "device"):
        array = array.get()
    return np.asarray(array)


def as_yxc(array: Any, axes: str) -> Any:
    """Bring an array of axes out of ``YXCS`` to (Y, X, C) without copying.

    Parameters
    ----------
    array
        NumPy, dask or zarr-like array with ``transpose`` and ``reshape`` (lazy arrays stay lazy).
    axes
        One letter per axis; Y and X must be among them, C and S may be.

    Raises
    ------
    ImageError
        Y or X is missing, or another axis is left.
    """
    if not {"Y", "X"} <= set(axes) or not set(axes) <= set("YXCS"):
        raise ImageError(f"cannot make a field of an array with axes {axes!r}; axes Y and X are needed")
    order = [axes.index(letter) for letter in "YXCS" if letter in axes]
    array = array.transpose(order)
    return array.reshape(*array.shape[:2], -1) if array.ndim != 3 else array
