from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests._plates import read_plate_table

from napari_cellclass.core.common.errors import DatasetError, ParamsError
from napari_cellclass.core.plates.field_summary import FieldSummary
from napari_cellclass.core.plates.tables import (
    FieldRow,
    WellList,
    classes_in_table,
    field_table,
    well_table,
    write_plate_tables,
)

CLASSES = ("n", "puncta")


def row(name: str, n: int, puncta: int, no_class: int, mean: float | None, unsure: int | None = None) -> FieldRow:
    total = n + puncta + no_class + (unsure or 0)
    found = FieldSummary(total, {"n": n, "puncta": puncta}, no_class, mean, unsure)
    return FieldRow(f"/p/{name}", Path(name).stem, "done", found)


ROWS = [
    row("B10f00.tif", 3, 1, 0, 0.9),
    row("B02f00.tif", 0, 8, 0, 0.8, 2),
    row("B02f01.tif", 2, 0, 8, 0.6, 0),
    FieldRow("/p/B02f02.tif", "B02f02", "failed"),
    FieldRow("/p/C01f00.tif", "C01f00", "open"),
    row("other.tif", 1, 0, 0, None),
]


def test_every_image_has_a_row_and_wells_are_summed_over_what_is_done() -> None:
    fields = field_table(ROWS, CLASSES, WellList())
    assert fields["well"].tolist() == ["B10", "B02", "B02", "B02", "C01", ""]
    assert fields["site"].dropna().tolist() == [0, 0, 1, 2, 0]
    assert fields["fraction_puncta"].dropna().tolist() == [0.25, 0.8, 0.0, 0.0]
    wells = well_table(fields, CLASSES).set_index("well")
    assert wells.index.tolist() == ["B02", "B10", "C01"], "by place, not by text"
    two = wells.loc["B02"]
    assert (two["fields"], two["missing"], two["tiles"], two["n_puncta"]) == (2, 1, 20, 8)
    assert (two["unsure"], two["no_class"]) == (2, 8)
    assert two["fraction_puncta"] == 8 / 20
    assert two["mean_confidence"] == pytest.approx((10 * 0.8 + 2 * 0.6) / 12), "of the classified tiles"
    assert (wells.loc["C01", "fields"], wells.loc["C01", "missing"]) == (0, 1)
    assert wells.loc["C01"].isna().sum() == 8


def test_the_tables_are_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    fields = field_table(ROWS, CLASSES, WellList())
    write_plate_tables(fields, well_table(fields, CLASSES), tmp_path)
    lines = (tmp_path / "fields.csv").read_text().splitlines()
    assert lines[0] == (
        "image,stem,well,site,state,tiles,n_n,n_puncta,fraction_n,fraction_puncta,mean_confidence,unsure,no_class"
    )
    assert lines[1] == "/p/B10f00.tif,B10f00,B10,0,done,4,3,1,0.75,0.25,0.9,,0"
    assert lines[4] == "/p/B02f02.tif,B02f02,B02,2,failed,,,,,,,,"
    again = read_plate_table(tmp_path / "fields.csv")
    assert classes_in_table(again) == CLASSES
    assert well_table(again, CLASSES).equals(well_table(fields, CLASSES))
    assert read_plate_table(tmp_path / "wells.csv")["well"].tolist() == ["B02", "B10", "C01"]
    write_plate_tables(fields[-1:], well_table(fields[-1:], CLASSES), tmp_path)
    assert not (tmp_path / "wells.csv").exists(), "no well is left"


def test_a_file_of_wells_names_images_by_path_name_or_stem(tmp_path: Path) -> None:
    path = tmp_path / "wells.csv"
    path.write_text("Image,Well\nx.tif,b3\ny,P24\n/p/q/z.tif,A1\n")
    wells = WellList.read(path)
    found = [wells.well(name) for name in ("/d/x.tif", "/d/y.png", "/p/q/z.tif", "/p/B03.tif")]
    assert [well and well.name for well in found] == ["B03", "P24", "A01", None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,well\nx.tif,nine\n", r"line 2: 'nine' is no well"),
        ("image,well\nx.tif,A1\nx.tif,A2\n", r"line 3: 'x.tif' was given another well"),
        ("image,place\nx.tif,A1\n", "no column for a well"),
    ],
)
def test_a_file_of_wells_with_a_mistake_is_reported_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "w.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        WellList.read(tmp_path / "w.csv")


def test_a_file_of_wells_of_other_images_is_reported(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("image,well\nx.tif,A1\n")
    with pytest.raises(ParamsError, match="names none of the images"):
        WellList.read(tmp_path / "w.csv").check(["/p/y.tif"])


def test_tiles_unlike_training_have_columns_only_where_the_model_tells(tmp_path: Path) -> None:
    assert "unlike_training" not in field_table(ROWS, CLASSES, WellList())
    told = [replace(one, summary=replace(one.summary, unlike_training=2)) if one.summary else one for one in ROWS]
    fields = field_table(told, CLASSES, WellList())
    wells = well_table(fields, CLASSES).set_index("well")
    assert classes_in_table(fields) == CLASSES
    assert fields["unlike_training"].dropna().tolist() == [2, 2, 2, 2]
    assert fields["unlike_training_share"].dropna().tolist() == [2 / 4, 2 / 10, 2 / 10, 2 / 1]
    assert wells.loc["B02", "unlike_training"] == 4
    assert wells.loc["B02", "unlike_training_share"] == pytest.approx(4 / 20)
    write_plate_tables(fields, well_table(fields, CLASSES), tmp_path)
    assert read_plate_table(tmp_path / "fields.csv")["unlike_training"].notna().sum() == 4
