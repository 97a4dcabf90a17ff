"""Reading of CSV tables that users supply: as text, with columns found by name and numbers checked."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import unescape_formulas
from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.limits import limit, limit_variable
from napari_cellclass.core.common.names import normal_form

SEPARATORS = ",;\t"
_HEAD_BYTES = 1 << 16


def read_table(path: Path, lower: bool = True) -> pd.DataFrame:
    """Read a CSV file with a header as text; the index counts lines after the header from 0.

    Cells are separated by commas, semicolons or tabs; the text is UTF-8, or UTF-16 with its mark. Empty rows are
    passed over. Column names are made lower case, unless ``lower`` is False, as where they hold class names.

    Raises
    ------
    DatasetError
        It is missing, unreadable, of another encoding, or no table.
    """
    try:
        if (size := path.stat().st_size) > (most := limit("table_bytes")):
            raise DatasetError(
                f"{path} has {size:,} bytes; up to {most:,} are read, split it or raise {limit_variable('table_bytes')}"
            )
        text = decode_text(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"cannot open {path}: {error.strerror or error}; choose a CSV file") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} cannot be read as CSV: {error}; save it as UTF-8") from error
    separator, skipped = find_separator(text)
    try:
        frame = _parse(text, separator, skipped)
    except (ValueError, pd.errors.ParserError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as CSV: {error}; save it as UTF-8 with commas") from error
    names = [normal_form(str(name)).strip() for name in frame.columns]
    frame.columns = [name.lower() for name in names] if lower else names
    table = unescape_formulas(frame)
    table.attrs["separator"] = separator
    return table


def decode_text(content: bytes) -> str:
    """Decode the bytes of a text file: UTF-16 where it begins with its mark, else UTF-8, whose mark is dropped.

    Raises
    ------
    UnicodeDecodeError
        It is of another encoding.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig")


def find_separator(text: str) -> tuple[str, int]:
    """Find what separates the cells of a CSV by its header, and how many lines come before the header.

    Spreadsheets may write the separator into a line of its own, ``sep=;``.
    """
    first = text[:_HEAD_BYTES].splitlines()[:1]
    declared = re.fullmatch(r'"?sep=(.)"?', first[0].strip()) if first else None
    if declared and declared[1] in SEPARATORS:
        return declared[1], 1
    header = re.sub('"[^"]*"', "", next((line for line in text[:_HEAD_BYTES].splitlines() if line.strip()), ""))
    counts = [header.count(separator) for separator in SEPARATORS]
    return SEPARATORS[counts.index(max(counts))], 0


def read_header(path: Path) -> list[str]:
    """Read the column names of a CSV file, as they are written; empty where it is none."""
    try:
        with Path(path).open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        text = head[: len(head) // 2 * 2].decode("utf-16") if head[:2] in (b"\xff\xfe", b"\xfe\xff") else None
    except (OSError, UnicodeDecodeError):
        return []
    text = head.decode("utf-8-sig", "replace") if text is None else text
    separator, skipped = find_separator(text)
    lines = [line for line in text.splitlines()[skipped:] if line.strip()]
    try:
        return [name.strip() for name in next(csv.reader(lines[:1], delimiter=separator, skipinitialspace=True), [])]
    except csv.Error:
        return []


def _parse(text: str, separator: str, skipped: int) -> pd.DataFrame:
    options: dict[str, object] = {
        "dtype": str, "keep_default_na": False, "skipinitialspace": separator != "\t", "sep": separator,
        "skip_blank_lines": False, "skiprows": skipped,
    }  # fmt: skip
    leading = len(text) - len(text.lstrip("\r\n"))
    try:
        frame = pd.read_csv(io.StringIO(text[leading:]), **options)
        regular = isinstance(frame.index, pd.RangeIndex)  # pandas makes surplus cells the index
    except pd.errors.EmptyDataError:
        raise
    except pd.errors.ParserError:
        regular = False
    if not regular:
        frame = _parse_by_rows(text[leading:], separator, skipped)
    frame = frame.fillna("")
    empty = (frame.apply(lambda column: column.str.strip()) == "").all(axis=1)
    return frame[~empty] if empty.any() else frame


def _parse_by_rows(text: str, separator: str, skipped: int) -> pd.DataFrame:
    """Parse a table whose rows differ in length: empty cells past the header's are no cells."""
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=separator != "\t")
    rows = list(reader)[skipped:]
    width = len(rows[0])
    for number, row in enumerate(rows[1:], 2):
        if any(cell.strip() for cell in row[width:]):
            raise ValueError(f"line {number} has {len(row)} cells, more than the header's {width}; correct the line")
    return pd.DataFrame([(row + [""] * width)[:width] for row in rows[1:]], columns=rows[0], dtype=object)


def number_column(texts: pd.Series, separator: str = ",") -> NDArray[np.float64]:
    """Convert texts to numbers, with a decimal point or comma; NaN where a text is none.

    In a file separated by commas ``1,234`` may be a thousand and more, so it is none.
    """
    values = pd.to_numeric(texts, errors="coerce").to_numpy(float, copy=True)
    unread = np.flatnonzero(np.isnan(values))
    if len(unread):
        left = texts.iloc[unread].astype(str).str.strip()
        decimal = left.str.fullmatch(r"[+-]?(\d*|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")
        if separator == ",":
            decimal &= ~left.str.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}")
        points = left.where(decimal, "").str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
        values[unread] = pd.to_numeric(points, errors="coerce").to_numpy(float)
    return values


def read_numbers(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> NDArray[np.float64]:
    """Read columns of :func:`read_table` as finite numbers, float64 (n, columns).

    Raises
    ------
    DatasetError
        A value is no finite number; says in which line.
    """
    values = np.column_stack([number_column(frame[name], frame.attrs.get("separator", ",")) for name in columns])
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise DatasetError(
            f"{path}, line {frame.index[row] + 2}: {columns[column]} is {frame[columns[column]].iloc[row]!r}, "
            "not a number; correct or remove the line"
        )
    return values


def find_column(frame: pd.DataFrame, names: Iterable[str], path: Path, what: str) -> str:
    """Find the first of ``names`` among the columns.

    Raises
    ------
    DatasetError
        None of them is there.
    """
    found = next((name for name in names if name in frame.columns), None)
    if found is None:
        raise DatasetError(
            f"{path} has no column for {what}, one of {', '.join(names)}; its columns are {', '.join(frame.columns)}"
        )
    return found
