from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.writing import tile_suffix, to_storable_dtype, write_tile

DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">u2", "b1"]


def pixels(dtype: str, channels: int) -> np.ndarray:
    rng = np.random.default_rng(channels)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=(9, 12, channels)).astype(dtype)
    high = 2 if dtype == "b1" else min(np.iinfo(dtype).max, 2**40)
    return rng.integers(0, high, (9, 12, channels)).astype(dtype)


def written(folder: Path, source: SourceImage, wanted: Any = "auto") -> SourceImage:
    path = folder / f"tile{tile_suffix(source, wanted)}"
    stored = to_storable_dtype(np.asarray(source.data))
    write_tile(path, stored, source, SourceImage(stored).image_id)
    return read_image(path)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_every_depth_and_number_of_channels_is_read_back_equal(dtype: str, channels: int, tmp_path: Path) -> None:
    source = SourceImage(pixels(dtype, channels))
    again = written(tmp_path, source)
    stored = to_storable_dtype(np.asarray(source.data))
    assert again.dtype == stored.dtype
    assert again.image_id == SourceImage(stored).image_id
    if dtype != "b1":
        np.testing.assert_array_equal(again.data[...], source.data)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "i2", "f8"])
@pytest.mark.parametrize("rgb", [False, True])
def test_pixel_size_and_channels_stay_in_a_tiff(dtype: str, rgb: bool, tmp_path: Path) -> None:
    names = () if rgb else ("DAPI", "GFP", "Cy5")
    source = SourceImage(pixels(dtype, 3), pixel_size_um=(0.325, 0.65), channel_names=names, rgb=rgb)
    again = written(tmp_path, source, "tiff")
    assert again.pixel_size_um == pytest.approx((0.325, 0.65), rel=1e-5)
    assert again.channel_names == names
    assert again.rgb == rgb
    np.testing.assert_array_equal(again.data[...], source.data)


def test_colours_of_16_bits_fit_a_png_when_asked_for(tmp_path: Path) -> None:
    source = SourceImage(pixels("u2", 3), rgb=True)
    assert tile_suffix(source) == ".tif"
    again = written(tmp_path, source, "png")
    np.testing.assert_array_equal(again.data[...], source.data)


def test_a_png_opens_in_pillow_with_its_depth(tmp_path: Path) -> None:
    source = SourceImage(pixels("u2", 1))
    assert written(tmp_path, source).path == tmp_path / "tile.png"
    with Image.open(tmp_path / "tile.png") as image:
        assert image.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(image), source.data[..., 0])


def test_a_png_that_cannot_hold_the_pixels_is_refused() -> None:
    with pytest.raises(ParamsError, match="4 channels of float32; use --format tiff"):
        tile_suffix(SourceImage(pixels("f4", 4)), "png")


@pytest.mark.parametrize("dtype", ["u1", "f4", "i2", "u8"])
def test_the_same_tile_gives_the_same_bytes(dtype: str, tmp_path: Path) -> None:
    source = SourceImage(pixels(dtype, 4), pixel_size_um=(0.5, 0.5))
    both = [written(tmp_path / name, source).path for name in "ab"]
    assert both[0].read_bytes() == both[1].read_bytes()  # type: ignore[union-attr]
