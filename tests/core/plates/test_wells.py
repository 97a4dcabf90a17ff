from __future__ import annotations

import pytest

from napari_cellclass.core.plates.wells import (
    Well,
    parse_well,
    plate_format,
    site_in_name,
    tile_position_in_name,
    well_in_name,
    wells_in_names,
)


@pytest.mark.parametrize(
    ("name", "well"),
    [
        ("O05f01.TIF", Well(15, 5)),
        ("Plate1_B3_s2.tif", Well(2, 3)),
        ("r02c03f01p01-ch1.tiff", Well(2, 3)),
        ("AB12.png", Well(28, 12)),
        ("Control_0001_r00_c03.tif", None),
        ("image_T0001F001L01A01Z01C02.tif", None),
        ("A00.tif", None),
        ("sample.png", None),
    ],
)
def test_wells_are_read_from_the_names_that_microscopes_give(name: str, well: Well | None) -> None:
    assert well_in_name(name) == well


def test_one_name_without_a_well_makes_all_names_no_wells() -> None:
    assert wells_in_names(["B03.tif", "cell.tif"]) is None
    assert wells_in_names([]) is None


def test_the_edge_is_that_of_the_smallest_plate() -> None:
    assert plate_format([Well(8, 12)]) == (8, 12)
    assert plate_format([Well(8, 13)]) == (16, 24)
    assert Well(8, 5).on_edge((8, 12))
    assert not Well(8, 5).on_edge((16, 24))


def test_the_position_of_a_tile_is_read_from_its_name() -> None:
    assert tile_position_in_name("Control_0001_r02_c13.tif") == (2, 13)
    assert tile_position_in_name("r02c03.tif") is None


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("O05f01.TIF", 1),
        ("Plate1_B3_s2.tif", 2),
        ("r02c03f04p01-ch1.tiff", 4),
        ("B03_site_12_w1.tif", 12),
        ("B03.tif", None),
        ("s2.tif", None),
        ("B03_offset5.tif", None),
    ],
)
def test_the_field_of_a_well_is_read_from_its_name(name: str, site: int | None) -> None:
    assert site_in_name(name) == site


def test_a_well_has_one_name_however_it_is_written() -> None:
    for text in ("B3", "b03", " B003 "):
        well = parse_well(text)
        assert well is not None
        assert well.name == "B03"
    assert parse_well("AB12") == well_in_name("AB12.tif")
    assert Well(28, 12).name == "AB12"
    for text in ("", "B", "B0", "Z3", "control", "B3f1"):
        assert parse_well(text) is None
