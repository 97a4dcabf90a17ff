"""A data-set folder opened in napari: a contact sheet per class, whose tiles are read when they come into view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CellClassError, DatasetError
from napari_cellclass.core.datasets.detection import DatasetFolder, is_dataset_folder, read_dataset_folder
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.viewer.common.layers import KEY

LayerData = tuple[Any, dict[str, Any], str]

MAX_TILES = 100
"""Most tiles shown of a class, the first by name."""
_COLUMNS = 10
_MAX_CELL_PX = 512  # a larger image is subsampled
_GAP_PX = 8


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """Give napari's reader for a data-set folder or its ``tiles.csv``; None for any other folder."""
    if not isinstance(path, str):
        return None
    folder = Path(path)
    if not is_dataset_folder(folder if folder.is_dir() else folder.parent):
        return None
    return lambda given: dataset_layers(Path(given if isinstance(given, str) else given[0]))


def dataset_layers(path: Path) -> list[LayerData]:
    """Make the contact sheets of a data set, one below the other, and their titles.

    Parameters
    ----------
    path
        The folder, or the ``tiles.csv`` in it.

    Returns
    -------
    list of layer data
        An Image per class, at most ``MAX_TILES`` tiles in rows of ten, padded with zeros to one size, in their
        own dtype; then a Points layer with the classes' names. The images' metadata hold folder, files and
        what could not be shown.

    Raises
    ------
    DatasetError
        It is not a data set, or none of its images can be shown.
    """
    dataset = read_dataset_folder(path)
    opened = {name: _open(files[:MAX_TILES]) for name, files in dataset.files.items()}
    tiles = {name: sources for name, (sources, _) in opened.items() if sources}
    if not tiles:
        raise DatasetError(f"{dataset.folder} contains no image that can be shown; check whether they open one by one")
    cell = np.max([source.shape for sources in tiles.values() for source in sources], axis=0)
    step = int(np.ceil(cell.max() / _MAX_CELL_PX))
    height, width = (int(-(-side // step)) + _GAP_PX for side in cell)
    layers: list[LayerData] = []
    corners, top = [], 0.0
    for name, sources in tiles.items():
        sheet = _sheet(sources, (height, width), step)
        metadata = _metadata(dataset, name, sources, opened[name][1])
        options: dict[str, Any] = {
            "name": f"{name} ({len(sources)} of {len(dataset.files[name])})",
            "translate": (top, 0.0),
        }
        options |= {"rgb": sources[0].rgb, "metadata": {KEY: metadata}}
        if sheet.ndim == 3 and not sources[0].rgb:
            options["translate"] = (0.0, top, 0.0)
        layers.append((sheet, options, "image"))
        corners.append((top - height / 4, 0.0))
        top += -(-len(sources) // _COLUMNS) * height + height / 2
    return [*layers, _titles(corners, list(tiles), dataset)]


def _open(files: Sequence[Path]) -> tuple[list[SourceImage], list[str]]:
    """Open the images of a class, without their pixels, and keep those of the most frequent format."""
    sources, skipped = [], []
    for file in files:
        try:
            sources.append(read_image(file))
        except CellClassError as error:
            skipped.append(str(error))
    formats = Counter((source.channels, source.dtype, source.rgb) for source in sources)
    most_frequent = max(formats, key=lambda kind: formats[kind]) if formats else None
    usable = [source for source in sources if (source.channels, source.dtype, source.rgb) == most_frequent]
    skipped += [
        f"{source.name} differs in format from most"
        for source in sources
        if not any(source is other for other in usable)
    ]
    return usable, skipped


def _sheet(sources: Sequence[SourceImage], cell: tuple[int, int], step: int) -> Any:
    """Lay tiles out in rows, lazily: (Y, X), (Y, X, 3) of RGB, or (C, Y, X)."""
    import dask.array as da

    first = sources[0]
    columns = min(_COLUMNS, len(sources))
    rows = -(-len(sources) // columns)

    def block(block_info: Any = None) -> NDArray[Any]:
        row, col = block_info[None]["chunk-location"][:2]
        index = row * columns + col
        pixels = np.zeros((*cell, first.channels), first.dtype)
        if index < len(sources):
            tile = _pixels(sources[index], step)
            pixels[: tile.shape[0], : tile.shape[1]] = tile
        return pixels

    chunks = ((cell[0],) * rows, (cell[1],) * columns, (first.channels,))
    sheet = da.map_blocks(block, chunks=chunks, dtype=first.dtype, meta=np.zeros((0, 0, 0), first.dtype))
    if first.rgb:
        return sheet
    return sheet[..., 0] if first.channels == 1 else sheet.transpose(2, 0, 1)


def _pixels(source: SourceImage, step: int) -> NDArray[Any]:
    """Read a tile; a damaged one stays black, since napari has no way to report it."""
    try:
        return source.read(0, 0, *source.shape)[::step, ::step]
    except CellClassError:
        return np.zeros((0, 0, source.channels), source.dtype)


def _metadata(dataset: DatasetFolder, name: str, sources: Sequence[SourceImage], skipped: list[str]) -> dict[str, Any]:
    return {
        "kind": "dataset",
        "folder": str(dataset.folder),
        "class_name": name,
        "files": [str(source.path) for source in sources],
        "count": len(dataset.files[name]),
        "skipped": skipped,
    }


def _titles(corners: list[tuple[float, float]], names: list[str], dataset: DatasetFolder) -> LayerData:
    options = {
        "name": f"{dataset.folder.name} classes",
        "features": {"label": names},
        "text": {"string": "{label}", "color": "white", "size": 12, "anchor": "upper_left"},
        "size": 0.001,
        "face_color": "transparent",
        "border_color": "transparent",
        "metadata": {KEY: {"kind": "dataset-titles", "folder": str(dataset.folder)}},
    }
    return np.array(corners), options, "points"
