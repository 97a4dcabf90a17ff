"""``tiles.csv`` of cut tiles: the field and box that each file was cut from, for the split and for later slicing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.csv_tables import read_numbers, read_table
from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.files import atomic_write

TILE_LIST = "tiles.csv"
COLUMNS = ("file", "class_name", "source", "row", "col", "y0", "x0", "y1", "x1", "angle", "group", "hash")
_NUMBERS = ("row", "col", "y0", "x0", "y1", "x1", "angle")


@dataclass(frozen=True)
class TileOrigin:
    """The field and box that a tile was cut from.

    Parameters
    ----------
    source
        The image it was cut from, as a path with forward slashes.
    row, col
        Its position in the grid.
    box
        y0, x0, y1, x1 in px of ``source``, half-open.
    angle
        Degrees that it was rotated by, 0 for the tile itself.
    group
        What a split must keep together: the field.
    class_name
        Its class when it was cut, or empty.
    """

    source: str
    row: int
    col: int
    box: tuple[int, int, int, int]
    angle: int
    group: str
    class_name: str = ""

    @property
    def name(self) -> Path:
        """Name of the image it was cut from, for patterns on file names."""
        return Path(PurePosixPath(self.source).name)


def empty_tile_list() -> pd.DataFrame:
    """Return a list of no tiles."""
    return pd.DataFrame({name: pd.Series(dtype=np.int64 if name in _NUMBERS else object) for name in COLUMNS})


def is_tile_list(frame: pd.DataFrame) -> bool:
    """Return whether a table lists files that are whole tiles, rather than boxes in fields."""
    return "path" not in frame.columns and set(COLUMNS[:-1]) <= set(frame.columns)


def read_tile_list(folder: Path, name: str = TILE_LIST) -> pd.DataFrame | None:
    """Read the list of tiles that lies in a folder; None where there is none, or a table of another kind.

    Raises
    ------
    DatasetError
        It cannot be read, or a value is not a number.
    """
    path = Path(folder) / name
    if not path.is_file():
        return None
    frame = read_table(path)
    return parse_tile_list(frame, path) if is_tile_list(frame) else None


def parse_tile_list(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Convert a table of text to the columns of a list of tiles, numbers as int64.

    Raises
    ------
    DatasetError
        A value is not a number; the error names the line.
    """
    values = read_numbers(frame, _NUMBERS, path) if len(frame) else np.zeros((0, len(_NUMBERS)))
    far = np.flatnonzero((np.abs(values) > 2**31 - 1).any(axis=1))
    if len(far):
        raise DatasetError(f"{path}, line {frame.index[far[0]] + 2}: a number is beyond 2^31; correct it")
    frame = frame.reindex(columns=list(COLUMNS), fill_value="")
    return frame.assign(**{name: values[:, i].astype(np.int64) for i, name in enumerate(_NUMBERS)})


def write_tile_list(folder: Path, frame: pd.DataFrame) -> None:
    """Write the list of a folder's tiles, whole or not at all.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    with atomic_write(Path(folder) / TILE_LIST) as temporary:
        temporary.write_bytes(tile_list_to_csv(frame).encode("utf-8", "backslashreplace"))


def tile_list_to_csv(frame: pd.DataFrame) -> str:
    """Return a list of tiles as CSV."""
    return str(escape_formulas(frame).to_csv(index=False, lineterminator="\n"))


class TileOrigins:
    """Where the tiles of some folders come from, by file or, for files that were moved or renamed, by content.

    Parameters
    ----------
    folders
        Folders that may have a list of tiles; those without one are ignored.
    name
        The list's file name.

    Raises
    ------
    DatasetError
        A list is damaged.
    """

    def __init__(self, folders: Iterable[Path] = (), name: str = TILE_LIST) -> None:
        self._by_file: dict[Path, tuple[TileOrigin, str]] = {}
        self._by_hash: dict[str, TileOrigin | None] = {}
        self._resolved: dict[Path, Path] = {}
        for folder in dict.fromkeys(folders):
            frame = read_tile_list(folder, name)
            if frame is not None:
                self._add(folder, frame)

    def __len__(self) -> int:
        return len(self._by_file)

    def _add(self, folder: Path, frame: pd.DataFrame) -> None:
        for row in frame.itertuples(index=False):
            origin = TileOrigin(
                row.source, row.row, row.col, (row.y0, row.x0, row.y1, row.x1), row.angle, row.group, row.class_name
            )
            self._by_file[self._resolve(folder / row.file)] = origin, row.hash
            other = self._by_hash.setdefault(row.hash, origin)
            if other is None or other.group != origin.group:
                self._by_hash[row.hash] = None  # the same pixels in two fields identify neither

    def find(self, path: Path, content_hash: str = "") -> TileOrigin | None:
        """Return where a file was cut from; None where no list has it.

        Parameters
        ----------
        path
            The file.
        content_hash
            Its :attr:`SourceImage.image_id`; a listed name counts even if the content has changed since.
        """
        listed = self._by_file.get(self._resolve(path))
        if content_hash and (listed is None or listed[1] != content_hash):
            moved = self._by_hash.get(content_hash)
            if moved is not None:
                return moved
        return listed[0] if listed else None

    def _resolve(self, path: Path) -> Path:
        """Return a path that is the same however the file was named; folders are looked up once."""
        if path.parent not in self._resolved:
            self._resolved[path.parent] = path.parent.resolve()
        return self._resolved[path.parent] / path.name


def tile_list_to_boxes(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Convert a list of tiles to one of boxes in images: every file is one box of its own size.

    Returns
    -------
    DataFrame
        Columns path, y0, x0, y1, x1 (text, as :func:`read_table` gives them), class_name and group.

    Raises
    ------
    DatasetError
        A value is not a number, or no tile has a class.
    """
    tiles = parse_tile_list(frame, path)
    if len(tiles) and (tiles["class_name"].str.strip() == "").all():
        raise DatasetError(f"{path}: no tile has a class; fill in class_name, or sort the tiles into class folders")
    columns: dict[str, Any] = {"path": tiles["file"], "y0": "0", "x0": "0"}
    columns |= {end: (tiles[end] - tiles[start]).astype(str) for start, end in (("y0", "y1"), ("x0", "x1"))}
    return pd.DataFrame(columns | {"class_name": tiles["class_name"], "group": tiles["group"]}, index=frame.index)


@dataclass(frozen=True, eq=False)
class Provenance:
    """The boxes of N tiles of a data set in the fields that they were cut from.

    Parameters
    ----------
    field
        int32, shape (N,): index of each tile's field.
    boxes
        int32, shape (N, 4): y0, x0, y1, x1 in px of the field.
    rotated
        bool, shape (N,): whether a tile is a rotated copy of another.
    """

    field: NDArray[np.int32]
    boxes: NDArray[np.int32]
    rotated: NDArray[np.bool_]

    @classmethod
    def of(
        cls, origins: list[TileOrigin | None], image: NDArray[np.int32], boxes: NDArray[np.int32]
    ) -> Provenance | None:
        """Combine the origins of M images with the boxes in them; None where no image has one.

        Parameters
        ----------
        origins
            One per image, None where it is a field itself.
        image
            int32, shape (N,): which image each box lies in.
        boxes
            int32, shape (N, 4) in px of that image.
        """
        if not any(origins):
            return None
        names: dict[tuple[str, Any], int] = {}
        keys = [("cut", o.source) if o else ("whole", i) for i, o in enumerate(origins)]
        field = np.array([names.setdefault(key, len(names)) for key in keys], np.int32)
        shift = np.array([o.box[:2] * 2 if o else (0, 0, 0, 0) for o in origins], np.int32).reshape(-1, 4)
        rotated = np.array([bool(o and o.angle) for o in origins])
        return cls(field[image], boxes + shift[image], rotated[image])

    def take(self, index: NDArray[Any]) -> Provenance:
        """Keep the tiles of ``index``, tile indices or a mask."""
        return Provenance(self.field[index], self.boxes[index], self.rotated[index])
