from __future__ import annotations

import numpy as np
import pytest

from napari_cellclass.core.images.channel_names import (
    channel_in_name,
    describe_channels,
    names_of_one_field,
    names_of_several_fields,
)
from napari_cellclass.core.images.source import SourceImage


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("B03_s1_w2.tif", "w2"),
        ("C1-cells", "C1"),
        ("cells GFP", "GFP"),
        ("GFP", "GFP"),
        ("r02c03f01p01-ch1.tiff", "ch1"),
        ("img_ch00_DAPI.tif", "DAPI"),
        ("image_T0001F001L01A01Z01C02.png", "C02"),
        ("cells Alexa488", "Alexa488"),
        ("cells_405", "405"),
    ],
)
def test_channels_are_read_from_the_names_that_microscopes_give(name: str, channel: str) -> None:
    found = channel_in_name(name)
    assert found is not None
    assert found[1] == channel


@pytest.mark.parametrize(
    "name",
    ["C03_f01.tif", "Control_r00_c03.tif", "r02c03.tif", "scan.tif", "sec1", "capital 12", "Image [1]", "exp488"],
)
def test_wells_positions_and_words_are_no_channels(name: str) -> None:
    assert channel_in_name(name) is None


def test_names_that_differ_by_channel_alone_are_of_one_field() -> None:
    assert names_of_one_field(["a_w1", "x", "b_w1", "a_w2", "b_w2", "y"]) == ((0, 3), (2, 4))
    assert names_of_one_field(["GFP", "DAPI"]) == ((0, 1),)
    assert names_of_one_field(["C03.tif", "C04.tif"]) == ()
    assert names_of_one_field(["w1", "w1"]) == ()


@pytest.mark.parametrize(
    ("names", "several"),
    [
        (["O05f00", "O05f01"], True),
        (["C03.tif", "C04.tif"], True),
        (["Control_r00_c03", "Control_r00_c04"], True),
        (["a_w1", "a_w2"], False),
        (["Image", "Image [1]"], False),
        (["one", "two"], False),
        (["O05f00"], False),
    ],
)
def test_names_that_differ_in_other_numbers_are_of_several_fields(names: list[str], several: bool) -> None:
    assert names_of_several_fields(names) is several


def test_channels_are_described_by_their_names_where_they_have_some() -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    assert describe_channels(SourceImage(pixels[..., :2], channel_names=("GFP", "DNA"))) == "channels: GFP, DNA"
    assert describe_channels(SourceImage(pixels[..., :2])) == "2 channels"
    assert describe_channels(SourceImage(pixels[..., :1])) == "1 channel"
    assert describe_channels(SourceImage(pixels, rgb=True)) == "RGB"
