"""TIFF in all its kinds: strips and tiles are read and decoded one by one, as they are needed."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images.planes import LazyPlane, check_decodable, choose_plane, name_stack_axes
from napari_cellclass.core.images.scenes import Scene, choose_scene
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.images.tiff_metadata import Colour, channel_names, pixel_size_um, read_colour
from napari_cellclass.core.images.tiff_scenes import ome_image_numbers, own_indices, own_note, scenes_in_tiff
from napari_cellclass.core.images.tiff_validation import check_directories, check_lzw

_CACHE_BYTES = 128 << 20  # a row of tiles of a very wide slide
# No real data is packed tighter than this; a damaged header that promises more is not believed.
_MAX_RATIO = {5: 2_000, 8: 2_000, 32773: 200, 32946: 2_000}
_MAX_RATIO_OTHERS = 100_000

_log_silenced: contextvars.ContextVar[bool] = contextvars.ContextVar("quiet_tifffile", default=False)


def _is_not_silenced(record: logging.LogRecord) -> bool:
    return not _log_silenced.get()


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep tifffile's log of this thread from the user: what matters is raised, the rest is noise."""
    logger = logging.getLogger("tifffile")
    if _is_not_silenced not in logger.filters:
        logger.addFilter(_is_not_silenced)
    token = _log_silenced.set(True)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        _log_silenced.reset(token)


def read_tiff(path: Path, *, t: int, z: int, scene: int | None) -> SourceImage:
    """Open one plane of a TIFF at full resolution.

    Axes that the file does not name, as of a plain multi-page TIFF, are T, then Z. Pixels keep their
    values, with these exceptions: white-is-zero integers are inverted, palettes, CMYK and YCbCr become
    RGB, 1-bit pixels 0 and 255, and alpha is dropped. An orientation tag is not applied.

    Parameters
    ----------
    path
        The file.
    t, z
        Which time point and slice.
    scene
        Which of the file's images, that differ in size or kind; the first field where it is None.

    Raises
    ------
    ImageError
        The file is damaged, of a kind that cannot be read, or has no such plane.
    """
    import tifffile

    check_directories(path)
    with _silenced(), tifffile.TiffFile(path) as tif:
        scene, notes = choose_scene(path.name, scenes_in_tiff(tif, path), scene)
        series = tif.series[scene]
        cut = _split_axes(path.name, series)
        own = own_indices(tif, series, cut.axes[: cut.at], cut.shape[: cut.at])
        shape = tuple(len(own[a]) if a in own else n for a, n in zip(cut.axes, cut.shape, strict=True))
        chosen = choose_plane(path.name, cut.axes, shape, t, z)
        indices = list(_page_indices(cut.axes[: cut.at], cut.shape[: cut.at], chosen, own))
        pages = [_page(path, series, index) for index in indices]
        layout = _layout(path.name, series.keyframe)
        for page in pages:
            _check_listed(path.name, page, layout)
        colour = read_colour(path.name, tif, series.keyframe, [page.palette for page in pages])
        depth = next((chosen[a] for a in cut.axes[cut.at :] if a in chosen), 0)
        plane = _TiffPlane(path.name, pages, layout=layout, colour=colour, z=depth, transform=series.transform)
        image = ome_image_numbers(tif, path)[scene]
        names = channel_names(tif, image, indices)
        if "C" in own and len(names) == len(own["C"]) != plane.shape[2]:
            names = ()
        elif "C" in own and len(names) > max(own["C"]):
            names = tuple(names[i] for i in own["C"])
        size, one_sided = pixel_size_um(tif, series, image)
        return SourceImage(
            data=plane, name=path.name, path=path, rgb=colour.rgb and len(pages) == 1, pixel_size_um=size,
            channel_names=names if len(names) == plane.shape[2] else (),
            source_axes=cut.axes, source_shape=shape, plane=chosen, scene=scene,
            notes=(*notes, *one_sided, *own_note(own, dict(zip(cut.axes, cut.shape, strict=True)))),
        )  # fmt: skip


def tiff_scenes(path: Path) -> list[Scene]:
    """List the images of a TIFF.

    Raises
    ------
    ImageError
        The file is damaged.
    """
    import tifffile

    check_directories(path)
    with _silenced(), tifffile.TiffFile(path) as tif:
        return scenes_in_tiff(tif, path)


@dataclass(frozen=True)
class _Cut:
    """Axes of a series and their lengths; those before ``at`` count pages, the rest lies in a page."""

    axes: str
    shape: tuple[int, ...]
    at: int


def _split_axes(name: str, series: Any) -> _Cut:
    """Separate the axes that count pages from those within a page, and leave out those of length 1."""
    axes, shape = series.get_axes(False), tuple(int(n) for n in series.get_shape(False))
    inner = tuple(int(n) for n in series.keyframe.shape)
    if not {"Y", "X"} <= set(axes):
        raise ImageError(f"cannot read {name}: its axes are {axes}, but Y and X are needed; save it as (Y, X)")
    at = min(axes.index("Y"), axes.index("X"))
    while at > 0 and math.prod(shape[at:]) < math.prod(inner):
        at -= 1
    keep = [i for i, a in enumerate(axes) if shape[i] > 1 or a in "YX"]
    named = name_stack_axes("".join(axes[i] for i in keep))
    cut = _Cut(named, tuple(shape[i] for i in keep), sum(i < at for i in keep))
    lost = series.keyframe.shaped[1] > 1 and not set(cut.axes[cut.at :]) - set("YXCS")
    if lost or tuple(n for n in shape[at:] if n > 1) != tuple(n for n in inner if n > 1):
        raise ImageError(
            f"cannot read {name}: pages of shape {inner} do not make up axes {axes} of shape {shape}; "
            "save it as OME-TIFF"
        )
    return cut


def _page_indices(
    axes: str, lengths: Sequence[int], chosen: dict[str, int], own: dict[str, list[int]]
) -> Iterator[int]:
    """Return the page of every channel of the chosen plane; indices count those that the file itself holds."""
    ranges = []
    for a, n in zip(axes, lengths, strict=True):
        at = own.get(a, range(n))
        ranges.append(tuple(at) if a in "CS" else (at[chosen[a]],))
    for index in itertools.product(*ranges):
        yield int(np.ravel_multi_index(index, tuple(lengths))) if index else 0


@dataclass(frozen=True)
class _Page:
    """Where the strips or tiles of one page lie, and how they are decoded.

    ``shift`` bytes are added to every offset: of contiguous stacks only the first page is listed.
    ``contiguous`` says that strips follow one another without a gap.
    """

    path: Path
    offsets: Sequence[int]
    counts: Sequence[int]
    shift: int
    decode: Callable[..., Any]
    jpeg: dict[str, Any]
    palette: NDArray[Any] | None
    contiguous: bool


def _page(path: Path, series: Any, index: int) -> _Page:
    contiguous = series.dataoffset is not None
    page = series[0 if contiguous else index]
    if page is None:
        raise ImageError(f"{path.name}: this plane is missing from the file; it may not have been written completely")
    key = page.keyframe
    palette = None
    if int(key.photometric) == 3:  # pages of one series may differ in their palettes
        page = page.aspage()
        palette = page.colormap
    return _Page(
        path=Path(page.parent.filehandle.path),  # an OME-TIFF may be spread over several files
        offsets=page.dataoffsets,
        counts=page.databytecounts,
        shift=index * int(page.nbytes) if contiguous else 0,
        decode=key.decode,
        jpeg={"jpegtables": page.jpegtables, "jpegheader": key.jpegheader},
        palette=palette,
        contiguous=_is_contiguous(page.dataoffsets, page.databytecounts),
    )


@dataclass(frozen=True)
class _Layout:
    """How a page is cut: shapes are (sample planes, depth, height, width, samples), chunks (depth, h, w)."""

    shape: tuple[int, int, int, int, int]
    chunk: tuple[int, int, int]
    dtype: np.dtype
    stored: np.dtype | None  # dtype in the file where pixels lie there as in memory, row after row
    tiled: bool
    ratio: int
    lzw_order: int  # fill order of LZW data, 0 for other codecs
    ends_marked: bool  # JPEG, whose decoder makes up what is missing before the end marker

    @property
    def grid(self) -> tuple[int, int, int]:
        return tuple(-(-n // c) for n, c in zip(self.shape[1:4], self.chunk, strict=True))  # type: ignore[return-value]


def _layout(name: str, key: Any) -> _Layout:
    shape = tuple(int(n) for n in key.shaped)
    if key.dtype is None:
        raise ImageError(
            f"cannot read {name}: pixels of {key.bitspersample} bits and sample format {key.sampleformat} "
            "are not supported; save it with 8 or 16 bits"
        )
    cut = (key.tiledepth, key.tilelength, key.tilewidth) if key.is_tiled else (1, key.rowsperstrip, key.imagewidth)
    chunk = (int(cut[0]), int(cut[1]), int(cut[2]))
    if min(shape) < 1 or min(chunk) < 1:
        raise ImageError(
            f"cannot read {name}: its header is damaged (image {shape[1:4]}, tiles {chunk}); export it again"
        )
    stored = np.dtype(key.dtype).newbyteorder(key.parent.byteorder) if key.is_final else None
    if stored is None:
        check_decodable(name, chunk[1] * chunk[0], chunk[2], "one strip or tile of it")
    ratio = _MAX_RATIO.get(int(key.compression), _MAX_RATIO_OTHERS)
    marked = int(key.compression) == 7 and key.jpegheader is None
    lzw_order = int(key.fillorder) if int(key.compression) == 5 else 0
    return _Layout(shape, chunk, np.dtype(key.dtype), stored, bool(key.is_tiled), ratio, lzw_order, marked)  # type: ignore[arg-type]


class _TiffPlane(LazyPlane):
    """A plane that is made of one page, or of one page per channel."""

    def __init__(
        self, name: str, pages: list[_Page], *, layout: _Layout, colour: Colour, z: int, transform: Any
    ) -> None:
        height, width = layout.shape[2:4]
        dtype = transform(np.zeros(1, colour.dtype)).dtype if transform else colour.dtype
        super().__init__(name, (height, width, colour.channels * len(pages)), dtype)
        self._pages, self._layout, self._colour = pages, layout, colour
        self._z, self._transform = z, transform
        self.chunk_rows = layout.chunk[1]
        self._cache: OrderedDict[tuple[int, int], NDArray[Any] | None] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()

    def _fetch(self, y0: int, x0: int, y1: int, x1: int) -> NDArray[Any]:
        with _silenced():
            parts = [self._page_box(i, (y0, x0, y1, x1)) for i in range(len(self._pages))]
        part = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
        return self._transform(part) if self._transform else part

    def _page_box(self, number: int, box: tuple[int, int, int, int]) -> NDArray[Any]:
        page = self._pages[number]
        if self._layout.stored is not None and page.contiguous:
            part = self._mapped(page, box, self._layout.stored)
        else:
            with page.path.open("rb") as stream:
                part = self._decoded(number, stream, box)
        return self._colour.convert(part, page.palette)

    def _mapped(self, page: _Page, box: tuple[int, int, int, int], stored: np.dtype) -> NDArray[Any]:
        """Read a box of a page whose pixels lie in the file as they do in memory."""
        y0, x0, y1, x1 = box
        layout = self._layout
        pixels = np.memmap(page.path, stored, "r", offset=int(page.offsets[0]) + page.shift, shape=layout.shape)
        part = pixels[:, self._z, y0:y1, x0:x1]
        planes = [np.array(part[p]) for p in self._colour.planes(layout.shape[0])]
        return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)

    def _decoded(self, number: int, stream: IO[bytes], box: tuple[int, int, int, int]) -> NDArray[Any]:
        """Read a box of a page from the strips or tiles that it touches."""
        y0, x0, y1, x1 = box
        layout = self._layout
        tall, wide = layout.chunk[1:]
        samples = layout.shape[4]
        planes = self._colour.planes(layout.shape[0])
        out = np.empty((y1 - y0, x1 - x0, len(planes) * samples), layout.dtype)
        depths, rows, cols = layout.grid
        for i, sample in enumerate(planes):
            target = out[..., i * samples : (i + 1) * samples]
            for row in range(y0 // tall, -(-y1 // tall)):
                for col in range(x0 // wide, -(-x1 // wide)):
                    index = ((sample * depths + self._z // layout.chunk[0]) * rows + row) * cols + col
                    top, left = row * tall, col * wide
                    a, b = max(y0, top), min(y1, top + tall)
                    c, d = max(x0, left), min(x1, left + wide)
                    whole = layout.chunk[0] == 1 and (b - a, d - c) == (tall, wide)
                    chunk = self._chunk(number, index, stream, keep=not whole)
                    slot = target[a - y0 : b - y0, c - x0 : d - x0]
                    if chunk is None:
                        slot[...] = 0
                    else:
                        slot[...] = chunk[self._z % layout.chunk[0], a - top : b - top, c - left : d - left]
        return out

    def _chunk(self, number: int, index: int, stream: IO[bytes], keep: bool) -> NDArray[Any] | None:
        """Return a decoded strip or tile (depth, h, w, samples), or None where a tile was left out.

        ``keep`` it for the next box that touches it; one that has been used whole rarely is again.
        """
        with self._lock:
            if (number, index) in self._cache:
                self._cache.move_to_end((number, index))
                return self._cache[number, index]
        chunk = self._decode_chunk(self._pages[number], index, stream)
        if not keep:
            return chunk
        with self._lock:
            if (number, index) not in self._cache:
                self._cache[number, index] = chunk
                self._cached_bytes += chunk.nbytes if chunk is not None else 0
            while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
                _, old = self._cache.popitem(last=False)
                self._cached_bytes -= old.nbytes if old is not None else 0
        return chunk

    def _decode_chunk(self, page: _Page, index: int, stream: IO[bytes]) -> NDArray[Any] | None:
        layout = self._layout
        what = "tile" if layout.tiled else "strip"
        if index >= min(len(page.offsets), len(page.counts)):
            return None  # of the last row of tiles, see _check_listed
        offset, count = int(page.offsets[index]), int(page.counts[index])
        # Slide scanners leave out tiles without tissue; a strip that is nowhere was never written.
        if count == 0 and layout.tiled and any(page.counts):
            return None
        if offset <= 0 or count <= 0:
            raise ImageError(f"{self.name} is damaged: {what} {index} was never written; export it again")
        size = math.prod(layout.chunk) * layout.shape[4] * layout.dtype.itemsize
        if size > count * layout.ratio + 4096:
            raise ImageError(
                f"{self.name} is damaged: {what} {index} cannot hold {size:,} bytes of pixels in {count:,}; "
                "copy or export it again"
            )
        stream.seek(offset + page.shift)
        data = stream.read(count)
        if len(data) < count:
            raise ImageError(
                f"{self.name} is truncated: {what} {index} ends {count - len(data):,} bytes past the end "
                "of the file; copy or export it again"
            )
        if layout.lzw_order:
            check_lzw(data, layout.lzw_order)
        if layout.ends_marked and b"\xff\xd9" not in data:
            raise ImageError(f"{self.name} is damaged: {what} {index} ends too early; copy or export it again")
        chunk = np.asarray(page.decode(data, index, **page.jpeg)[0])
        chunk.flags.writeable = False
        return chunk


def _check_listed(name: str, page: _Page, layout: _Layout) -> None:
    """Refuse a page that lists fewer strips or tiles than it is cut into.

    The last row of tiles may be missing, as in files of a slide scanner of Philips.
    """
    if layout.stored is not None and page.contiguous:
        return
    wanted = layout.shape[0] * int(np.prod(layout.grid, dtype=np.int64))
    listed = min(len(page.offsets), len(page.counts))
    if listed < wanted - (layout.grid[2] if layout.tiled and wanted > layout.grid[2] else 0):
        raise ImageError(
            f"cannot read {name}: it is damaged, {wanted:,} strips or tiles are needed, but it lists {listed:,}; "
            "copy or export it again"
        )


def _is_contiguous(offsets: Sequence[int], counts: Sequence[int]) -> bool:
    if len(offsets) < 2:
        return len(offsets) == 1 and offsets[0] > 0
    first, size = np.asarray(offsets, np.int64), np.asarray(counts, np.int64)
    return bool(len(first) == len(size) and first[0] > 0 and (first[:-1] + size[:-1] == first[1:]).all())
