from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from napari_cellclass.core.common.errors import DatasetError, ParamsError
from napari_cellclass.core.plates.conditions import Assignment, ConditionList, with_conditions
from napari_cellclass.core.plates.field_summary import FieldSummary
from napari_cellclass.core.plates.tables import FieldRow, WellList, field_table, well_table

CLASSES = ("a", "b")
IMAGES = ("A01f0.tif", "A01f1.tif", "A02f0.tif", "B01f0.tif")


def tables(*images: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [
        FieldRow(f"/p/{name}", Path(name).stem, "done", FieldSummary(10, {"a": 3, "b": 7}, 0, 0.9))
        for name in images or IMAGES
    ]
    fields = field_table(rows, CLASSES, WellList())
    return fields, well_table(fields, CLASSES)


def read(folder: Path, content: str | bytes, name: str = "c.csv") -> ConditionList:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ConditionList.read(path)


TEXTS = {
    "commas": "well,condition,replicate\nA1,treated,1\nA02,control,1\n",
    "semicolons of Excel": "sep=;\nWell;Condition;Replicate\nA1;treated;1\nA02;control;1\n",
    "tabs, other names and order": "replicate\tTreatment\twell\n1\ttreated\ta01\n1\tcontrol\tA002\n\t\t\n",
    "twice the same": "well,condition,replicate\nA1,treated,1\nA01,treated,1\nA2,control,1\n",
    "wells without a condition": "well,condition,replicate\nA1,treated,1\nA2,control,1\nH12,,\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_of_wells_is_read_however_a_spreadsheet_writes_it(tmp_path: Path, text: str, encoding: str) -> None:
    given = read(tmp_path, text.encode(encoding))
    fields, wells = with_conditions(*tables(), given)
    assert fields["condition"].tolist() == ["treated", "treated", "control", ""]
    assert fields["replicate"].tolist() == ["1", "1", "1", ""]
    assert wells.set_index("well")["condition"].to_dict() == {"A01": "treated", "A02": "control", "B01": ""}
    assert given.order == ("treated", "control")


def test_columns_are_added_and_nothing_else_changes(tmp_path: Path) -> None:
    before = tables()
    given = read(tmp_path, TEXTS["commas"])
    for old, new in zip(before, with_conditions(*before, given), strict=True):
        assert set(new) - set(old) == {"condition", "replicate"}
        pd.testing.assert_frame_equal(new[list(old)], old)


def test_an_image_counts_before_its_well_and_may_be_named_without_suffix_or_with_folders(tmp_path: Path) -> None:
    text = "image,well,condition,replicate\nC:\\data\\p\\a01F1.tif,A01,x,1\n,A01,y,2\nB01f0,,z,3\n"
    fields, wells = with_conditions(*tables(), read(tmp_path, text))
    assert fields["condition"].tolist() == ["y", "x", "", "z"]
    assert wells.set_index("well").loc["A01", ["condition", "replicate"]].tolist() == ["y; x", "2; 1"]


def test_of_equal_names_that_counts_which_shares_folders(tmp_path: Path) -> None:
    given = read(tmp_path, "image,condition\nday1/f.tif,one\nday2/f.tif,two\n")
    fields, _ = tables("day2/f.tif", "day1/f.tif", "f.tif")
    assert [one.condition for one in given.assign(fields)] == ["two", "one", ""], "the last may be either"


def test_the_table_of_fields_serves_as_a_table_of_conditions(tmp_path: Path) -> None:
    given = read(tmp_path, TEXTS["commas"])
    fields, _ = with_conditions(*tables(), given)
    fields.to_csv(tmp_path / "fields.csv", index=False)
    assert ConditionList.read(tmp_path / "fields.csv").assign(fields) == given.assign(fields)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("well,condition\nA1,x\nA01,y\n", "line 3: 'A01' was given another"),
        ("well,condition,replicate\nA1,x,1\nA1,x,2\n", "line 3: 'A1' was given another"),
        ("well,condition\nA1,x\nfirst,y\n", "line 3: 'first' is no well"),
        ("well,state\nA1,x\n", "no column for a condition"),
        ("place,condition\nA1,x\n", "no column for a well or an image"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)


def test_a_workbook_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="save it as CSV"):
        read(tmp_path, b"PK\x03\x04", "c.xlsx")


def test_a_table_of_other_wells_is_refused_before_anything_is_classified(tmp_path: Path) -> None:
    fields, _ = tables()
    with pytest.raises(ParamsError, match=r"names none of the fields \(it names 'H12', the first field is A01f0.tif"):
        read(tmp_path, "well,condition\nH12,x\n").check(fields)
    read(tmp_path, "well,condition\nH12,x\nA02,y\n").check(fields)


def test_what_is_left_over_on_either_side_is_said_in_a_line_each(tmp_path: Path) -> None:
    fields, _ = tables()
    given = read(tmp_path, "well,condition,replicate\nA1,x,1\nA2,y,\nC1,y,2\nH12,y,2\n")
    assert given.notes(fields) == (
        "no condition is given for 'B01'; left out of the comparison",
        "no replicate is given for 'A02', so these count for no mean, interval or test",
        "2 entries of the conditions without a field: 'C01', 'H12'",
    )
    assert read(tmp_path, "well,condition,replicate\nA1,x,1\nA2,y,1\nB1,y,2\n").notes(fields) == ()
    (note,) = read(tmp_path, "well,condition\nA1,x\nA2,y\nB1,y\n").notes(fields)
    assert note.startswith("no replicate is given for the fields")


def test_fields_of_a_project_are_known_by_their_stems() -> None:
    given = ConditionList(stems={"A01f0": Assignment("x", "1")})
    fields, _ = tables()
    assert [one.condition for one in given.assign(fields)] == ["x", "", "", ""]
    given.check(fields)
