"""Escaping of CSV cells, so that no spreadsheet runs a name such as ``=cmd`` as a formula."""

from __future__ import annotations

import pandas as pd
from pandas.api.types import is_numeric_dtype

# How formulas begin in Excel, LibreOffice and Google Sheets, which skip tabs and line ends before them.
_FORMULA = r"^('*[=+\-@\t\r\n])"
_QUOTED = r"^'('*[=+\-@\t\r\n])"


def escape_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Put an apostrophe before every text that a spreadsheet would run as a formula; numbers are not changed.

    An escaped text is escaped again, so that :func:`unescape_formulas` restores every text.
    """
    changed = {name: _replaced(frame[name], _FORMULA, r"'\1") for name in frame if _is_text(frame[name])}
    names = pd.Series([str(name) for name in frame.columns]).str.replace(_FORMULA, r"'\1", regex=True)
    return frame.assign(**changed).set_axis(names.to_list(), axis=1)


def unescape_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Remove the apostrophes that :func:`escape_formulas` put before texts."""
    return frame.assign(**{name: _replaced(frame[name], _QUOTED, r"\1") for name in frame if _is_text(frame[name])})


def _is_text(column: pd.Series) -> bool:
    return isinstance(column, pd.Series) and not is_numeric_dtype(column)


def _replaced(column: pd.Series, pattern: str, by: str) -> pd.Series:
    """Replace a pattern in the texts of a column, each unique text once: a table of many tiles has few classes."""
    texts = {text for text in column.unique() if isinstance(text, str)}
    if not texts:
        return column
    found = pd.Series(sorted(texts), dtype=object)
    new = found.str.replace(pattern, by, regex=True)
    changes = {old: text for old, text in zip(found, new, strict=True) if old != text}
    return column.replace(changes) if changes else column
