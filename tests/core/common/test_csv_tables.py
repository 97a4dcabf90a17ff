from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_cellclass.core.common.csv_tables import number_column, read_header, read_numbers, read_table
from napari_cellclass.core.common.errors import DatasetError

ROWS = [["x", "y", "class"], ["1", "2", "A, b"], ["3", "4", "ü"]]


def text_of(separator: str, end: str) -> str:
    quoted = [[f'"{cell}"' if separator in cell else cell for cell in row] for row in ROWS]
    return end.join(separator.join(row) for row in quoted) + end


@pytest.mark.parametrize(
    ("separator", "end", "encoding"),
    list(itertools.product(",;\t", ("\n", "\r\n"), ("utf-8", "utf-8-sig", "utf-16", "utf-16-be-bom"))),
)
def test_a_table_is_the_same_in_any_dialect(tmp_path: Path, separator: str, end: str, encoding: str) -> None:
    text = text_of(separator, end)
    content = b"\xfe\xff" + text.encode("utf-16-be") if encoding == "utf-16-be-bom" else text.encode(encoding)
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    frame = read_table(path)
    assert [list(frame.columns), *frame.to_numpy().tolist()] == ROWS
    assert read_header(path) == ROWS[0]


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n,,\n", "a,b\n\n1,2\n", "\n\na,b\n1,2\n", "a,b\n1,2,,,\n", "sep=;\na;b\n1;2\n", '"sep=,"\na,b\n1,2\n',
        "a,b\n1,2\n   ,\n\n\n", '"a","b"\n"1","2"\n', "a, b\n1, 2\n", "a;b;\n1;2;\n;;\n",
    ],
)  # fmt: skip
def test_what_spreadsheets_leave_around_a_table_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert read_table(tmp_path / "t.csv")[["a", "b"]].to_numpy().tolist() == [["1", "2"]]


def test_lines_are_counted_as_in_the_file_after_empty_ones(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n\n\noops\n")
    with pytest.raises(DatasetError, match="line 5: a is 'oops'"):
        read_numbers(read_table(tmp_path / "t.csv"), ("a",), tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "separator", "value"),
    [
        ("1,5", ",", 1.5), ("1.5", ";", 1.5), ("-0,25", "\t", -0.25), ("1,234", ";", 1.234), ("1,234", ",", np.nan),
        ("1.234,5", ";", 1234.5), ("1,5e2", ";", 150.0), ("", ";", np.nan), ("1,2,3", ";", np.nan), ("x", ",", np.nan),
    ],
)  # fmt: skip
def test_a_decimal_comma_is_read_where_it_cannot_be_a_thousand(text: str, separator: str, value: float) -> None:
    np.testing.assert_equal(number_column(pd.Series([text]), separator).tolist(), [value])


def test_a_row_with_more_cells_than_the_header_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(DatasetError, match="line 3 has 3 cells"):
        read_table(tmp_path / "t.csv")
