"""Lazily read planes of image files, and functions that all readers use."""

from __future__ import annotations

import operator
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.common.limits import limit, limit_variable
from napari_cellclass.core.images.source import as_numpy, as_yxc, chunk_height

_BAND_BYTES = 1 << 28


def describe_error(error: BaseException) -> str:
    """Describe a library's exception in at most 160 characters of one line."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    text = " ".join(str(error).split()) or "no details given"
    text = f"{type(error).__name__}: {text}"
    return text if len(text) <= 160 else text[:157] + "..."


def check_decodable(name: str, height: int, width: int, what: str = "it") -> None:
    """Refuse to decode more pixels in one go than the limit ``image_pixels``.

    Raises
    ------
    ImageError
        There are more pixels, or none.
    """
    if height < 1 or width < 1:
        raise ImageError(f"cannot read {name}: the image is {width} x {height} px, which is empty; export it again")
    if height * width > (max_pixels := limit("image_pixels")):
        raise ImageError(
            f"cannot read {name}: {what} has {width:,} x {height:,} px, more than the {max_pixels:,} "
            f"that are decoded at once; save it as a tiled TIFF or OME-Zarr, or raise {limit_variable('image_pixels')}"
        )


def choose_plane(name: str, axes: str, shape: Sequence[int], t: int, z: int) -> dict[str, int]:
    """Say which index to take of every axis that is neither Y, X nor a channel.

    Parameters
    ----------
    name
        The image's name, for the error.
    axes, shape
        One letter and length per axis.
    t, z
        The index of T and of Z; other axes are taken at 0.

    Raises
    ------
    ImageError
        The image has no such time point or slice.
    """
    sizes = dict(zip(axes, shape, strict=True))
    for letter, index, word in (("T", t, "time point"), ("Z", z, "slice")):
        n = sizes.get(letter, 1)
        if not 0 <= index < n:
            have = f"{n} {word}s, 0 to {n - 1}" if n > 1 else f"only {word} 0"
            raise ImageError(f"{name} has no {word} {index}; it has {have}")
    wanted = {"T": t, "Z": z}
    return {a: wanted.get(a, 0) for a in axes if a not in "YXCS"}


def name_stack_axes(axes: str) -> str:
    """Call unknown stack axes (``I``, ``Q``) T, then Z, and make every letter occur once."""
    taken = set(axes) - set("IQ")
    spare = iter("TZIQPRABDEFGHJKLMNOUVW")
    named = []
    for letter in axes:
        unclear = letter in "IQ" or letter in named
        named.append(next(a for a in spare if a not in taken and a not in named) if unclear else letter)
    return "".join(named)


def guess_axes(name: str, shape: Sequence[int]) -> str:
    """Guess the axes of an array that does not name them.

    Two axes are YX. Of three, the last is the channel axis when it is 4 or shorter, else the first
    when it is 16 or shorter. Anything else is ambiguous.

    Raises
    ------
    ImageError
        The rule does not fit the shape.
    """
    if len(shape) == 2:
        return "YX"
    if len(shape) == 3 and shape[2] <= 4:
        return "YXC"
    if len(shape) == 3 and shape[0] <= 16:
        return "CYX"
    raise ImageError(
        f"the axes of {name} are ambiguous from its shape {tuple(shape)}; save it as (Y, X), "
        "(Y, X, channels up to 4) or (channels up to 16, Y, X), or as OME-TIFF"
    )


class LazyPlane:
    """An array of shape (Y, X, C) whose pixels are fetched when it is indexed.

    A subclass gives :meth:`_fetch`. No file stays open between two reads, and reading from several
    threads at once is safe.

    Parameters
    ----------
    name
        The image's name, for errors.
    shape
        (height, width, channels).
    dtype
        The pixels' dtype; pixels are returned in native byte order.
    """

    chunk_rows = 1
    """Height of the chunks of the file; see :attr:`~napari_cellclass.core.images.source.SourceImage.chunk_rows`."""

    def __init__(self, name: str, shape: Sequence[int], dtype: Any) -> None:
        self.name = name
        self.shape = (int(shape[0]), int(shape[1]), int(shape[2]))
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.ndim = 3
        self.size = self.shape[0] * self.shape[1] * self.shape[2]

    def _fetch(self, y0: int, x0: int, y1: int, x1: int) -> NDArray[Any]:
        """Read the box, which lies inside the image and is not empty, as (h, w, C)."""
        raise NotImplementedError

    def release_rows(self, y0: int) -> None:
        """Release rows above ``y0``, which are not needed for now; planes that keep decoded rows do so."""

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.shape} {self.dtype}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        key_y, key_x, key_c = _full_key(key)
        y0, y1, key_y = _span(key_y, self.shape[0])
        x0, x1, key_x = _span(key_x, self.shape[1])
        if y1 <= y0 or x1 <= x0:
            return np.empty((max(0, y1 - y0), max(0, x1 - x0), self.shape[2]), self.dtype)[key_y, key_x, key_c]
        row_bytes = (x1 - x0) * self.shape[2] * self.dtype.itemsize
        step = key_y.step if isinstance(key_y, slice) and key_y.step else 1
        if step > 1 and (y1 - y0) * row_bytes > _BAND_BYTES:  # an overview must not load the whole field
            band = max(1, _BAND_BYTES // (row_bytes * step)) * step
            parts = [self._box(y, x0, min(y1, y + band), x1)[::step, key_x, key_c].copy() for y in range(y0, y1, band)]
            return np.concatenate(parts)
        return self._box(y0, x0, y1, x1)[key_y, key_x, key_c]

    def _box(self, y0: int, x0: int, y1: int, x1: int) -> NDArray[Any]:
        try:
            part = self._fetch(y0, x0, y1, x1)
            if part.shape != (y1 - y0, x1 - x0, self.shape[2]):
                raise ValueError(f"the file has pixels of shape {part.shape}")
            return part.astype(self.dtype, copy=False)
        except ImageError:
            raise
        except Exception as error:  # codecs and plugins' readers raise anything
            raise ImageError(
                f"{self.name}: the pixels cannot be read ({describe_error(error)}); "
                "the file may be damaged or incomplete, copy or export it again"
            ) from error


def _full_key(key: Any) -> tuple[Any, Any, Any]:
    """Bring a NumPy index to one entry per axis."""
    keys = list(key) if isinstance(key, tuple) else [key]
    ellipses = [i for i, k in enumerate(keys) if k is Ellipsis]
    if len(ellipses) > 1 or len(keys) - len(ellipses) > 3:
        raise IndexError(f"too many indices for (Y, X, C): {key!r}")
    at = ellipses[0] if ellipses else len(keys)
    fill = [slice(None)] * (3 - (len(keys) - len(ellipses)))
    keys[at : at + len(ellipses)] = fill
    return keys[0], keys[1], keys[2]


def _span(key: Any, length: int) -> tuple[int, int, Any]:
    """Return the range that ``key`` touches and the same key inside that range."""
    if not isinstance(key, slice):
        try:
            at = operator.index(key)
        except TypeError:
            return 0, length, key
        if not -length <= at < length:
            raise IndexError(f"index {at} is out of bounds for a length of {length}")
        return at % length, at % length + 1, 0
    picked = range(*key.indices(length))
    if not picked:
        return 0, 0, slice(None)
    if picked.step < 0:
        return picked[-1], picked[0] + 1, slice(None, None, picked.step)
    return picked[0], picked[-1] + 1, slice(None, None, picked.step)


class DecodedPlane(LazyPlane):
    """A plane of a format that can only be decoded whole: decoded once, at the first read."""

    def __init__(self, name: str, shape: Sequence[int], dtype: Any) -> None:
        super().__init__(name, shape, dtype)
        self._lock = threading.Lock()
        self._pixels: NDArray[Any] | None = None

    def _decode(self) -> NDArray[Any]:
        """Decode all pixels as (Y, X, C)."""
        raise NotImplementedError

    def _fetch(self, y0: int, x0: int, y1: int, x1: int) -> NDArray[Any]:
        with self._lock:
            if self._pixels is None:
                pixels = self._decode()
                if pixels.shape != self.shape:
                    raise ValueError(f"the header promises {self.shape}, but there are {pixels.shape}")
                pixels = np.ascontiguousarray(pixels, self.dtype)
                pixels.flags.writeable = False  # views of it are handed out
                self._pixels = pixels
        return self._pixels[y0:y1, x0:x1]


class ArrayPlane(LazyPlane):
    """One plane of an array of any axes: a zarr array, a memory map, or another reader's lazy array.

    Parameters
    ----------
    name
        The image's name, for errors.
    array
        Indexed with integers and slices.
    axes
        One letter per axis of ``array``.
    plane
        The index of every axis that is neither Y, X nor a channel.
    drop_alpha
        Whether the last of four samples is left out.
    """

    def __init__(self, name: str, array: Any, axes: str, plane: dict[str, int], drop_alpha: bool = False) -> None:
        sizes = dict(zip(axes, array.shape, strict=True))
        if not {"Y", "X"} <= set(axes):
            raise ImageError(f"cannot read {name}: its axes are {axes}, but Y and X are needed")
        channels = sizes.get("C", 1) * sizes.get("S", 1)
        self._samples = 3 if drop_alpha and channels == 4 else channels
        super().__init__(name, (sizes["Y"], sizes["X"], self._samples), array.dtype)
        self._array, self._axes, self._plane = array, axes, plane
        self.chunk_rows = chunk_height(array, axes.index("Y"))

    def _source(self) -> Any:
        return self._array

    def _fetch(self, y0: int, x0: int, y1: int, x1: int) -> NDArray[Any]:
        box = {"Y": slice(y0, y1), "X": slice(x0, x1), **self._plane}
        part = as_numpy(self._source()[tuple(box.get(a, slice(None)) for a in self._axes)])
        left = "".join(a for a in self._axes if a not in self._plane)
        return np.asarray(as_yxc(part, left))[..., : self._samples]
