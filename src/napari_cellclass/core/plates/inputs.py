"""The images of a run: files, folders, patterns and lists, each image once and in an order that people expect."""

from __future__ import annotations

import csv
import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_cellclass.core.common.csv_tables import decode_text, find_separator
from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.files import is_pattern
from napari_cellclass.core.common.names import listed_path, stem_of
from napari_cellclass.core.datasets.class_images import image_folders
from napari_cellclass.core.datasets.naming import natural_sort_key, safe_prefix
from napari_cellclass.core.images.reading import is_image, is_zarr, list_images, list_scenes
from napari_cellclass.core.images.scenes import Scene, fields_of, left_out_note
from napari_cellclass.core.images.zarr_images import PlateField, plate_field, plate_fields
from napari_cellclass.core.plates.wells import Well, parse_well

PLATE_FIGURE, PLANES_FIGURE, FIELD_TABLE, WELL_TABLE = "plate.png", "planes.png", "fields.csv", "wells.csv"
CONDITIONS_FIGURE, CONDITIONS_TABLE, CONDITIONS_TEXT = "conditions.png", "conditions_results.csv", "conditions.txt"
CONDITION_FILES = (
    CONDITIONS_FIGURE, "conditions.svg", CONDITIONS_TABLE, "conditions_replicates.csv", CONDITIONS_TEXT,
)  # fmt: skip
"""What is written beside the tables where conditions are compared."""
_LISTS = (".txt", ".csv")
_HEADERS = {"image", "path", "file", "filename"}


def find_images(given: Sequence[Path]) -> list[Path]:
    """Find the images that were named, each once.

    Parameters
    ----------
    given
        Images; folders, of which the images are taken, or those of its sub-folders where it has none itself;
        patterns such as ``plate/*_w1.tif`` or ``plate/**/*.png``; OME-Zarr plates and wells, of which all fields
        are taken; and lists, ``.txt`` or ``.csv`` with a path in
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
        for path in with_plates_opened(_images(Path(one))):
            found.setdefault(path.resolve(), path)
    return list(found.values())


@dataclass(frozen=True)
class InputField:
    """A field to classify: an image within a file, or a folder of an OME-Zarr plate.

    Parameters
    ----------
    path, scene
        Its file, and which of the images in it; see :func:`~napari_cellclass.core.images.reading.read_image`.
    name
        What its results are called, where that is not the file's name; empty where it is.
    well, site
        Where the plate's metadata say so.
    """

    path: Path
    scene: int = 0
    name: str = ""
    well: Well | None = None
    site: int | None = None


def find_fields(images: Sequence[Path], scene: int | None = None) -> tuple[list[InputField], tuple[str, ...]]:
    """Find the fields of images: all of a file that holds several, unless one is chosen.

    Parameters
    ----------
    images
        What :func:`find_images` gave.
    scene
        Which image of each file; None for all fields.

    Returns
    -------
    fields : list of InputField
        Overviews, labels and thumbnails are not among them.
    notes : tuple of str
        What was left out.
    """
    found: list[InputField] = []
    left_out: list[Scene] = []
    for path in images:
        plate = plate_field(path) if path.is_dir() else None
        if plate is not None:
            found.append(_of_plate(path, plate))
            continue
        try:
            scenes = list_scenes(path) if scene is None else (Scene(scene),)
        except OSError:
            scenes = (Scene(0),)
        fields = fields_of(scenes)
        left_out += [one for one in scenes if one not in fields] if len(scenes) > 1 else []
        names = _scene_names(fields) if len(fields) > 1 else [""] * len(fields)
        found += [
            InputField(path, one.index, f"{stem_of(path.name)}_{name}" if name else "")
            for one, name in zip(fields, names, strict=True)
        ]
    return found, left_out_note([*left_out, Scene(0)])


def _scene_names(fields: Sequence[Scene]) -> list[str]:
    """Name the fields of a file: by their own names where these differ, else by their numbers."""
    own = [safe_prefix(field.name) if field.name else "" for field in fields]
    unique = len({name.casefold() for name in own}) == len(own) and all(own)
    return own if unique else [f"image{field.index}" for field in fields]


def _of_plate(path: Path, field: PlateField) -> InputField:
    well = parse_well("".join(field.names))
    if well is None and field.row >= 0 and field.column >= 0:
        well = Well(field.row + 1, field.column + 1)
    site = int(field.field) if field.field.isdecimal() else None
    name = f"{stem_of(field.plate)}_{well.name if well else '_'.join(field.names)}_f{safe_prefix(field.field)}"
    return InputField(path, 0, name, well, site)


def with_plates_opened(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield paths, but of an OME-Zarr plate or well those of its fields."""
    for path in paths:
        fields = plate_fields(path) if path.is_dir() and is_zarr(path) else []
        yield from [field.path for field in fields] or [path]


def is_list(path: Path) -> bool:
    """Return whether a path is a list of images, by its suffix."""
    return path.suffix.lower() in _LISTS


def _images(path: Path) -> Iterator[Path]:
    if path.is_dir() and not is_image(path):
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
    found: list[Path] = []
    for text in (_existing_escaped(pattern), glob.escape(str(pattern)).replace("[*]", "*").replace("[?]", "?")):
        paths = (Path(name) for name in glob.glob(text, recursive=True))  # noqa: PTH207
        found = found or [path for path in paths if is_image(path) and not _is_ours(path)]
    if not found:
        raise ParamsError(f"{pattern} matches no image; check the pattern, and write it in quotes")
    return sorted(found, key=natural_sort_key)


def _existing_escaped(pattern: Path) -> str:
    """Escape the folders that a pattern begins with: one may be called ``plate [1]``."""
    folder, parts = Path(pattern.anchor), list(pattern.parts[1:] if pattern.anchor else pattern.parts)
    while len(parts) > 1 and (folder / parts[0]).is_dir():
        folder /= parts.pop(0)
    start = glob.escape(str(folder)) if str(folder) != "." else ""
    return str(Path(start, *parts))


def _is_ours(path: Path) -> bool:
    """Return whether an image is a result of this program: a figure beside a table of fields."""
    return path.name in (PLATE_FIGURE, PLANES_FIGURE, CONDITIONS_FIGURE) and (path.parent / FIELD_TABLE).exists()


def _listed(path: Path) -> list[Path]:
    try:
        text = decode_text(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"cannot read the list {path} ({error}); save it as UTF-8 text, a path per line") from error
    names = _first_column(text) if path.suffix.lower() == ".csv" else text.splitlines()
    names = [name for name in map(str.strip, names) if name]
    found = [listed_path(path.parent, name) for name in names]
    # A line that begins with # is a comment, unless a file is called so.
    pairs = zip(found, names, strict=True)
    found = [one for one, name in pairs if not name.startswith("#") or one.exists()]
    if not found:
        raise ParamsError(f"the list {path} names no image; write a path per line")
    return found


def _first_column(text: str) -> list[str]:
    """Return the column of paths: the one that is called so in the first line, or the first."""
    separator, skipped = find_separator(text)
    rows = [row for row in csv.reader(text.splitlines()[skipped:], delimiter=separator) if any(map(str.strip, row))]
    titles = [cell.strip().lower() for cell in rows[0]] if rows else []
    column = next((i for i, title in enumerate(titles) if title in _HEADERS), None)
    body = rows if column is None else rows[1:]
    return [row[column or 0] for row in body if len(row) > (column or 0)]
