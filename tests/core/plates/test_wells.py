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
        ("stack_a01_s1_w16B5ED4A0-B2CC-477F-8F4A-0F4A1B2C3D4E.png", Well(1, 1)),  # ImageXpress
        ("plate_H12_w2_thumbA1B2C3D4-A001-B002-C003-D004E005F006.tif", Well(8, 12)),
        ("img_0a1b2c3d-a01f-4b02-8c03-d04e05f06a07.tif", None),
        ("img_0a1b2c3da01f4b028c03d04e05f06a07.tif", None),
        ("B - 03(fld 02 wv DAPI - DAPI).tif", Well(2, 3)),  # InCell
        ("B - 3(fld 2 wv UV - DAPI z 3).tif", Well(2, 3)),
        ("B_03_f2_c1_xUV_mDAPI_z3_t2.tif", Well(2, 3)),
        ("003005-1-001001001.tif", Well(3, 5)),  # Opera
        ("MFGTMP_140206180002_A01f00d0.TIF", Well(1, 1)),  # Cellomics
        ("AssayPlate_Greiner_#655090_B02_T0001F001L01A01Z01C02.tif", Well(2, 2)),  # Yokogawa
        ("WellD05_ChannelDAPI_Seq0001.tif", Well(4, 5)),
        ("VID123_B3_1_2020y03m05d.tif", Well(2, 3)),  # Incucyte
        ("w1_B03_s2.tif", Well(2, 3)),
        ("C1_B03.tif", Well(2, 3)),
        ("C02-B03.tif", Well(2, 3)),
        ("B03_C02.tif", Well(2, 3)),
        ("P01_B03.tif", Well(2, 3)),
        ("ch01 g07.tif", Well(7, 7)),
        ("img_c01.tif", None),  # a channel, most likely
        ("A01_B02.tif", None),
        ("E14_B03.tif", None),
        ("E14_B03_s1.tif", Well(2, 3)),
        ("A1B2C3.tif", None),
        ("A549.tif", None),
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
        ("B - 03(fld 02 wv DAPI - DAPI).tif", 2),
        ("B_03_f2_c1_xUV_mDAPI_z3_t2.tif", 2),
        ("AssayPlate_Greiner_#655090_B02_T0001F001L01A01Z01C02.tif", 1),
        ("MFGTMP_140206180002_A01f07d0.TIF", 7),
        ("stack_a01_s4_w16B5ED4A0-B2CC-477F-8F4A-0F4A1B2C3D4E.png", 4),
        ("plate_H12_w2_thumbA1B2C3D4-A001-B002-C003-D004E005F006.tif", None),
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
