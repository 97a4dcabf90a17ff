from __future__ import annotations

import math

import numpy as np
import pytest
import tifffile

from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.units import size_in_um, um_per_unit


@pytest.mark.parametrize(
    ("units", "um"),
    [
        (("µm", "μm", "um", "micron", "Microns", "micrometers", "micrometres", "Micro-Meter", "µm/px",
          "\\u00B5m", "um.", "micrometer per pixel", "µmeter"), 1.0),
        (("nm", "nanometers", "Nanometre", "nanometer"), 1e-3),
        (("mm", "millimeters", "millimetre"), 1e3),
        (("cm", "centimeters"), 1e4), (("m", "meters", "metre"), 1e6), (("inch", "inches", "in"), 25_400.0),
        (("Å", "\u212b", "angstroms", "Ångström"), 1e-4), (("pm", "picometers"), 1e-6),
    ],
)  # fmt: skip
def test_a_unit_is_known_in_every_spelling(units: tuple[str, ...], um: float) -> None:
    assert [um_per_unit(unit) for unit in units] == [um] * len(units)


@pytest.mark.parametrize("unit", ["", None, "pixel", "pixels", "seconds", "s", "furlong", "ms"])
def test_what_is_no_length_is_none(unit: str | None) -> None:
    assert um_per_unit(unit) is None


@pytest.mark.parametrize(("text", "um"), [("0,25", 0.25), ("0.25", 0.25), (" 1,5 ", 1.5), (2, 2.0), ("2e-1", 0.2)])
def test_a_size_has_a_decimal_point_or_comma(text: object, um: float) -> None:
    assert size_in_um(text, text, "µm", "µm") == (um, um)


@pytest.mark.parametrize("value", ["", "x", None, 0, -1, math.nan, math.inf, "1,2,3", 10**400])
def test_what_is_no_size_is_none(value: object) -> None:
    assert size_in_um(value, 1, "µm", "µm") is None


def test_a_size_of_one_axis_is_said_and_not_used(tmp_path) -> None:
    pixels = np.zeros((8, 8), np.uint8)
    for name, metadata in (("x", {"PhysicalSizeX": 0.5}), ("y", {"PhysicalSizeY": 0.5}), ("none", {})):
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", pixels, metadata={"axes": "YX", **metadata})
    assert [read_image(tmp_path / f"{name}.ome.tif").pixel_size_um for name in ("x", "y", "none")] == [None] * 3
    assert "width of a pixel only, 0.5 µm" in read_image(tmp_path / "x.ome.tif").notes[0]
    assert "height of a pixel only, 0.5 µm" in read_image(tmp_path / "y.ome.tif").notes[0]
    assert read_image(tmp_path / "none.ome.tif").notes == ()


@pytest.mark.parametrize(("unit", "per"), [("micrometers", 4), ("µm", 4), ("microns", 4), ("millimeters", 4000)])
def test_imagej_files_with_any_unit_have_a_pixel_size(tmp_path, unit: str, per: float) -> None:
    options = {"imagej": True, "resolution": (per, per)}
    escaped = unit.replace("µ", "\\u00B5")
    tifffile.imwrite(tmp_path / "i.tif", np.zeros((8, 8), np.uint8), metadata={"unit": escaped}, **options)
    assert read_image(tmp_path / "i.tif").pixel_size_um == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize("mpp", ["0.5", "0,5", "0,50000", ".5"])
def test_the_pixel_size_of_a_slide_scanner_may_have_a_comma(tmp_path, mpp: str) -> None:
    text = f"Aperio Image Library v12\n8x8 JPEG/RGB Q=70|AppMag = 20|MPP = {mpp}|Left = 1,5"
    tifffile.imwrite(
        tmp_path / "s.svs", np.zeros((16, 16, 3), np.uint8), photometric="rgb", tile=(16, 16), metadata=None,
        description=text,
    )  # fmt: skip
    assert read_image(tmp_path / "s.svs").pixel_size_um == (0.5, 0.5)
