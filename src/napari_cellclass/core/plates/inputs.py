"""The images of a run: files, folders, patterns and lists, each image once and in an order that people expect."""

from __future__ import annotations

import csv
import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.files import is_pattern
from napari_cellclass.core.datasets.class_images import image_folders
from napari_cellclass.core.datasets.naming import natural_sort_key
from napari_cellclass.core.images.reading import is_image_name, list_images

PLATE_FIGURE, FIELD_TABLE, WELL_TABLE = "plate.png", "fields.csv", "wells.csv"
_LISTS = (".txt", ".csv")
_HEADERS = {"image", "path", "file", "filename"}


def find_images(given: Sequence[Path]) -> list[Path]:
    """Find the images that were named, each once.

    Parameters
    ----------
    given
        Images; folders, of which the images are taken, or those of its sub-folders where it has none itself;
        patterns such as ``plate/*_w1.tif`` or ``plate/**/*.png``; and lists, ``.txt`` or ``.csv`` with a path in
        each line, relative to the list. A file that is there is never taken for a pattern.

    Returns
    -------
    list of Path
        In the order given; those of a folder or a pattern in natural order. A file that was named is among them
        even where it does not exist: its absence is reported when it is opened.

    Raises
    ------
    ParamsError
        A folder, pattern or list without any image.
    ImageError, DatasetError
        A folder that cannot be read.
    """
    found: dict[Path, Path] = {}
    for one in given:
        for path in _images(Path(one)):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def is_list(path: Path) -> bool:
    """Return whether a path is a list of images, by its suffix."""
    return path.suffix.lower() in _LISTS


def _images(path: Path) -> Iterator[Path]:
    if path.is_dir() and path.suffix.lower() != ".zarr":
        yield from _in_folder(path)
    elif path.is_file() and is_list(path):
        yield from _listed(path)
    elif is_pattern(path):
        yield from _matching(path)
    else:
        yield path


def _in_folder(folder: Path) -> list[Path]:
    loose = [path for path in list_images(folder) if not _is_ours(path)]
    inner = [path for paths in image_folders(folder).values() for path in paths if not _is_ours(path)]
    found = loose or inner
    if not found:
        raise ParamsError(f"{folder} holds no image, nor does a folder in it; give images, or another folder")
    return sorted(found, key=natural_sort_key)


def _matching(pattern: Path) -> list[Path]:
    # Path.glob would need the part before the first star; this takes a pattern as a shell does.
    paths = (Path(name) for name in glob.glob(str(pattern), recursive=True))  # noqa: PTH207
    found = [path for path in paths if is_image_name(path.name) and not _is_ours(path)]
    if not found:
        raise ParamsError(f"{pattern} matches no image; check the pattern, and write it in quotes")
    return sorted(found, key=natural_sort_key)


def _is_ours(path: Path) -> bool:
    """Return whether an image is a result of this program: the figure beside a table of fields."""
    return path.name == PLATE_FIGURE and (path.parent / FIELD_TABLE).exists()


def _listed(path: Path) -> list[Path]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"cannot read the list {path} ({error}); save it as UTF-8 text, a path per line") from error
    names = _first_column(text) if path.suffix.lower() == ".csv" else text.splitlines()
    names = [name.strip() for name in names]
    found = [path.parent / name for name in names if name and not name.startswith("#")]
    if not found:
        raise ParamsError(f"the list {path} names no image; write a path per line")
    return found


def _first_column(text: str) -> list[str]:
    """Return the column of paths: the one that is called so in the first line, or the first."""
    rows = [row for row in csv.reader(text.splitlines()) if row]
    titles = [cell.strip().lower() for cell in rows[0]] if rows else []
    column = next((i for i, title in enumerate(titles) if title in _HEADERS), None)
    body = rows if column is None else rows[1:]
    return [row[column or 0] for row in body if len(row) > (column or 0)]
