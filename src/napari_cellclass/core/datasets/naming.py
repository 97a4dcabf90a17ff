"""File names of cut tiles that sort on every system, and the images of folders in natural order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.datasets.class_images import image_folders
from napari_cellclass.core.images.reading import list_images

_NUMBER_WIDTH, _POSITION_WIDTH, _ANGLE_WIDTH = 4, 2, 2
# Characters that Windows forbids in a file name.
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def natural_sort_key(path: Path) -> tuple[str, list[tuple[int, int, str]]]:
    """Sort key of a path: numbers within a name count as numbers, so that ``f2`` comes before ``f10``."""
    parts = re.findall(r"\d+|\D+", path.name)
    return str(path.parent), [(0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in parts]


def safe_prefix(text: str) -> str:
    """Return a text as a valid beginning of a file name: characters that Windows forbids become ``_``."""
    return _NOT_IN_NAMES.sub("_", text).strip(" .") or "tile"


def number_width(largest: int) -> int:
    """Return how many digits numbers up to ``largest`` get: 4, or more where needed."""
    return max(_NUMBER_WIDTH, len(str(largest)))


def tile_position_suffix(row: int, col: int, grid_shape: tuple[int, int]) -> str:
    """Return a tile's row and column as a suffix of its file name: ``"_r00_c03"``."""
    wide = [max(_POSITION_WIDTH, len(str(n - 1))) for n in grid_shape]
    return f"_r{row:0{wide[0]}d}_c{col:0{wide[1]}d}"


def angle_suffix(angle: int, angles: Sequence[int]) -> str:
    """Return a rotated copy's angle as a suffix of its file name: ``"_a+05"``, ``"_a-03"``; empty for 0."""
    width = max(_ANGLE_WIDTH, *(len(str(abs(a))) for a in angles)) if angles else _ANGLE_WIDTH
    return f"_a{angle:+0{width + 1}d}" if angle else ""


def folder_images(folder: Path, leave_out: Path | None = None) -> dict[str, list[Path]]:
    """List the images of a folder in natural order, by class where it holds class folders.

    Parameters
    ----------
    folder
        Holds images, or one sub-folder per class.
    leave_out
        A sub-folder that is no class, such as the one for the results.

    Returns
    -------
    dict
        Images per class; a folder of images has the one class ``""``.

    Raises
    ------
    DatasetError
        There are no images, or both loose ones and sub-folders with images.
    ImageError
        The folder cannot be read.
    """
    loose = list_images(folder)
    classes = {
        name: images
        for name, images in image_folders(folder).items()
        if leave_out is None or images[0].parent.resolve() != leave_out.resolve()
    }
    if loose and classes:
        raise DatasetError(
            f"{folder} holds both loose images ({loose[0].name}, …) and sub-folders with images "
            f"({', '.join(classes)}); move the loose ones, or give one of the sub-folders"
        )
    found = {"": loose} if loose else classes
    if not found:
        raise DatasetError(f"{folder} holds no image; give a folder of images, or of one sub-folder per class")
    return {name: sorted(images, key=natural_sort_key) for name, images in found.items()}
