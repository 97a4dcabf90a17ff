"""Names of cut tiles that sort, on every system, and the images of folders in the order people expect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.datasets.class_images import image_folders
from napari_cellclass.core.images.reading import list_images

_NUMBER_WIDTH, _PLACE_WIDTH, _ANGLE_WIDTH = 4, 2, 2
# What Windows does not take in a file name.
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def natural_sort_key(path: Path) -> tuple[str, list[tuple[int, int, str]]]:
    """Sort key of a path: numbers within a name count as numbers, so that ``f2`` stands before ``f10``."""
    parts = re.findall(r"\d+|\D+", path.name)
    return str(path.parent), [(0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in parts]


def safe_prefix(text: str) -> str:
    """Make a text fit to begin a file name with: what Windows does not take becomes ``_``."""
    return _NOT_IN_NAMES.sub("_", text).strip(" .") or "tile"


def number_width(largest: int) -> int:
    """Digits of the running number: 4, or more where they are needed."""
    return max(_NUMBER_WIDTH, len(str(largest)))


def tile_position_suffix(row: int, col: int, grid_shape: tuple[int, int]) -> str:
    """Say where a tile lies: ``"_r00_c03"``."""
    wide = [max(_PLACE_WIDTH, len(str(n - 1))) for n in grid_shape]
    return f"_r{row:0{wide[0]}d}_c{col:0{wide[1]}d}"


def angle_suffix(angle: int, angles: Sequence[int]) -> str:
    """Mark a rotated copy: ``"_a+05"``, ``"_a-03"``; empty for the tile itself."""
    width = max(_ANGLE_WIDTH, *(len(str(abs(a))) for a in angles)) if angles else _ANGLE_WIDTH
    return f"_a{angle:+0{width + 1}d}" if angle else ""


def folder_images(folder: Path, leave_out: Path | None = None) -> dict[str, list[Path]]:
    """List the images of a folder in natural order, by class where it holds class folders.

    Parameters
    ----------
    folder
        Holds images, or one sub-folder per class.
    leave_out
        A sub-folder that is no class, such as the one that results go to.

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
        if leave_out is None or (folder / name).resolve() != leave_out.resolve()
    }
    if loose and classes:
        raise DatasetError(
            f"{folder} holds both loose images ({loose[0].name}, …) and sub-folders with images "
            f"({', '.join(classes)}); move the loose ones, or name what you mean"
        )
    found = {"": loose} if loose else classes
    if not found:
        raise DatasetError(f"{folder} holds no image; give a folder of images, or of one sub-folder per class")
    return {name: sorted(images, key=natural_sort_key) for name, images in found.items()}
