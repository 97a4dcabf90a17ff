"""Reading of CSV tables that users supply: as text, with columns found by name and numbers checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import unescape_formulas
from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.limits import limit, limit_variable


def read_table(path: Path, lower: bool = True) -> pd.DataFrame:
    """Read a CSV file with a header as text; the index counts rows from 0.

    Column names are made lower case, unless ``lower`` is False, as where they hold class names.

    Raises
    ------
    DatasetError
        It is missing, unreadable, not UTF-8, or no table.
    """
    try:
        if (size := path.stat().st_size) > (most := limit("table_bytes")):
            raise DatasetError(
                f"{path} has {size:,} bytes; up to {most:,} are read, split it or raise {limit_variable('table_bytes')}"
            )
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except OSError as error:
        raise DatasetError(f"cannot open {path}: {error.strerror or error}; choose a CSV file") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise DatasetError(f"{path} cannot be read as CSV: {error}; save it as UTF-8 with commas") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas makes surplus cells the index
        raise DatasetError(f"{path} cannot be read as CSV: a line has more cells than the header; correct the line")
    names = [str(name).strip() for name in frame.columns]
    frame.columns = [name.lower() for name in names] if lower else names
    return unescape_formulas(frame)


def read_numbers(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> NDArray[np.float64]:
    """Read columns of :func:`read_table` as finite numbers, float64 (n, columns).

    Raises
    ------
    DatasetError
        A value is no finite number; says in which line.
    """
    values = np.column_stack([pd.to_numeric(frame[name], errors="coerce").to_numpy(float) for name in columns])
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
