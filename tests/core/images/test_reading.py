"""Laws of reading images: every kind of file is written here, and its pixels compared exactly."""

from __future__ import annotations

import gc
import io
import logging
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pytest
import tifffile
import zarr
from npe2 import DynamicPlugin, PluginManager
from numpy.testing import assert_array_equal
from PIL import Image

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images import codecs as readers_codec
from napari_cellclass.core.images import planes as readers_plane
from napari_cellclass.core.images.planes import DecodedPlane, LazyPlane, guess_axes, name_stack_axes
from napari_cellclass.core.images.reading import is_image_name, list_images, read_image
from napari_cellclass.core.images.tiff_validation import check_lzw


def pixels_of(path, **plane):
    """Read a whole image, checking that its promised shape and dtype are kept."""
    image = read_image(path, **plane)
    pixels = image.read(0, 0, *image.shape)
    assert pixels.shape == image.data.shape
    assert pixels.dtype == image.dtype
    return pixels


def noise(shape, dtype=np.uint8):
    """Random pixels of the whole range of a dtype."""
    rng = np.random.default_rng(7)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


# PNG, JPEG and the like ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "jp2", "gif"])
def test_grey_and_colours_are_read_exactly(tmp_path, suffix):
    rgb = noise((21, 33, 3))
    if suffix != "gif":
        Image.fromarray(rgb).save(tmp_path / f"rgb.{suffix}", lossless=True)
        assert_array_equal(pixels_of(tmp_path / f"rgb.{suffix}"), rgb)
    if suffix != "webp":
        Image.fromarray(rgb[..., 0]).save(tmp_path / f"grey.{suffix}")
        assert_array_equal(pixels_of(tmp_path / f"grey.{suffix}"), rgb[..., :1])


def test_jpeg_is_read_as_pillow_reads_it(tmp_path):
    Image.fromarray(noise((40, 50, 3))).save(tmp_path / "a.JPG", quality=80)
    assert_array_equal(pixels_of(tmp_path / "a.JPG"), np.asarray(Image.open(tmp_path / "a.JPG")))


def test_alpha_is_dropped(tmp_path):
    rgba, la = noise((20, 30, 4)), noise((20, 30, 2))
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    Image.fromarray(la, "LA").save(tmp_path / "la.png")
    assert_array_equal(pixels_of(tmp_path / "rgba.png"), rgba[..., :3])
    assert_array_equal(pixels_of(tmp_path / "la.png"), la[..., :1])


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_16_bit_png_keeps_its_16_bits(tmp_path, samples):
    deep = noise((20, 30, samples), np.uint16)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep[..., 0] if samples == 1 else deep))
    kept = samples - 1 if samples in (2, 4) else samples
    assert_array_equal(pixels_of(tmp_path / "deep.png"), deep[..., :kept])


@pytest.mark.parametrize("samples", [1, 3])
def test_12_bit_jpeg_2000_keeps_its_values(tmp_path, samples):
    deep = noise((32, 40, samples), np.uint16) >> 4
    data = imagecodecs.jpeg2k_encode(deep[..., 0] if samples == 1 else deep, level=0, bitspersample=12)
    (tmp_path / "deep.jp2").write_bytes(data)
    assert_array_equal(pixels_of(tmp_path / "deep.jp2"), deep)


def test_palette_becomes_rgb(tmp_path):
    picture = Image.fromarray(noise((20, 30, 3))).quantize(16)
    for name in ("p.png", "p.bmp", "p.gif"):
        picture.save(tmp_path / name)
        assert_array_equal(pixels_of(tmp_path / name), np.asarray(picture.convert("RGB")))
    picture.save(tmp_path / "transparent.png", transparency=bytes(range(16)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_array_equal(pixels_of(tmp_path / "transparent.png"), np.asarray(picture.convert("RGB")))


def test_palette_of_greys_is_one_channel(tmp_path):
    index = noise((20, 30))
    picture = Image.fromarray(index, "P")
    picture.putpalette(np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 3).tobytes())
    picture.save(tmp_path / "p.png")
    assert_array_equal(pixels_of(tmp_path / "p.png"), (255 - index)[..., None])
    ramp = np.repeat(np.arange(256, dtype=np.uint16)[None] * 257, 3, axis=0)
    tifffile.imwrite(tmp_path / "p.tif", index, photometric="palette", colormap=ramp)
    assert_array_equal(pixels_of(tmp_path / "p.tif"), index[..., None])


def test_one_bit_is_0_and_255(tmp_path):
    bits = noise((19, 21)) > 127
    Image.fromarray(bits).save(tmp_path / "b.png")
    Image.fromarray(bits).save(tmp_path / "b.tif", compression="group4")
    tifffile.imwrite(tmp_path / "white0.tif", bits, photometric="miniswhite")
    assert_array_equal(pixels_of(tmp_path / "b.png")[..., 0], bits * np.uint8(255))
    assert_array_equal(pixels_of(tmp_path / "b.tif")[..., 0], bits * np.uint8(255))
    assert_array_equal(pixels_of(tmp_path / "white0.tif")[..., 0], ~bits * np.uint8(255))


def test_cmyk_becomes_rgb(tmp_path):
    cmyk = noise((20, 30, 4))
    Image.fromarray(cmyk, "CMYK").save(tmp_path / "c.tif")
    expected = np.rint((255.0 - cmyk[..., :3]) * (255.0 - cmyk[..., 3:]) / 255)
    assert_array_equal(pixels_of(tmp_path / "c.tif"), expected.astype(np.uint8))
    Image.fromarray(cmyk, "CMYK").save(tmp_path / "c.jpg")
    assert_array_equal(pixels_of(tmp_path / "c.jpg"), np.asarray(Image.open(tmp_path / "c.jpg").convert("RGB")))


def test_exif_orientation_leaves_pixels_as_stored(tmp_path):
    rgb = noise((20, 30, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    assert_array_equal(pixels_of(tmp_path / "turned.png"), rgb)


def test_frames_of_a_gif_are_time_points(tmp_path):
    frames = [np.full((9, 12, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 255, 0), (9, 9, 255))]
    first, *rest = (Image.fromarray(f) for f in frames)
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest)
    for t, frame in enumerate(frames):
        assert_array_equal(pixels_of(tmp_path / "a.gif", t=t), frame)
    image = read_image(tmp_path / "a.gif", t=2)
    assert (image.source_axes, image.source_shape, image.plane) == ("TYXS", (3, 9, 12, 3), {"T": 2})


def test_shape_and_dtype_are_known_without_decoding(tmp_path, monkeypatch):
    Image.fromarray(noise((21, 33, 4))).save(tmp_path / "a.png")
    monkeypatch.setattr(readers_plane.LazyPlane, "_box", lambda *_: pytest.fail("decoded"))
    image = read_image(tmp_path / "a.png")
    assert (image.shape, image.channels, image.dtype, image.rgb) == ((21, 33), 3, np.uint8, True)


def test_image_is_decoded_once(tmp_path, monkeypatch):
    Image.fromarray(noise((21, 33))).save(tmp_path / "a.bmp")
    decode, calls = readers_codec._PillowPlane._decode, []
    monkeypatch.setattr(readers_codec._PillowPlane, "_decode", lambda self: calls.append(1) or decode(self))
    image = read_image(tmp_path / "a.bmp")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda y: image.read(y, 0, y + 1, 33), range(21)))
    assert calls == [1]


def test_too_many_pixels_to_decode_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CELLCLASS_MAX_IMAGE_PIXELS", "100")
    Image.fromarray(noise((20, 30))).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", noise((20, 30)), compression="zlib")
    for name in ("a.png", "a.tif"):
        with pytest.raises(ImageError, match=r"30 x 20 px, more than the 100 .* tiled TIFF"):
            read_image(tmp_path / name)


def test_large_image_gives_no_bomb_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name in ("a.png", "a.jpg", "a.gif", "a.bmp", "a.webp", "a.jp2"):
        with io.BytesIO() as stream:
            Image.fromarray(noise((10, 14))).save(
                stream, tmp_path.joinpath(name).suffix[1:].replace("jpg", "jpeg").replace("jp2", "jpeg2000")
            )
            (tmp_path / name).write_bytes(stream.getvalue())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert pixels_of(tmp_path / name).shape[:2] == (10, 14)
    assert Image.MAX_IMAGE_PIXELS == 100


# TIFF ---------------------------------------------------------------------------------------------

DTYPES = ["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", ["<", ">", "zlib", "tiled", "strips"])
def test_tiff_of_every_dtype_is_read_exactly(tmp_path, dtype, how):
    grey = noise((50, 70), dtype)
    options = {
        "<": {"byteorder": "<"}, ">": {"byteorder": ">"}, "zlib": {"compression": "zlib", "predictor": True},
        "tiled": {"tile": (16, 32), "bigtiff": True}, "strips": {"rowsperstrip": 7, "compression": "lzw"},
    }[how]  # fmt: skip
    if how == "zlib" and dtype == "f2":
        options.pop("predictor")
    tifffile.imwrite(tmp_path / "a.tif", grey, **options)
    assert_array_equal(pixels_of(tmp_path / "a.tif"), grey[..., None])


@pytest.mark.parametrize("bits", [2, 4, 10, 12])
def test_packed_bits_keep_their_values(tmp_path, bits):
    grey = noise((50, 70), np.uint16) >> (16 - bits)
    grey = grey.astype(np.uint8) if bits < 8 else grey
    tifffile.imwrite(tmp_path / "a.tif", grey, bitspersample=bits)
    assert_array_equal(pixels_of(tmp_path / "a.tif"), grey[..., None])


@pytest.mark.parametrize(
    ("planar", "compression"),
    [(p, c) for p in ("contig", "separate") for c in (None, "lzw", "zstd", "packbits", "jpeg2000", "png")]
    + [("contig", "webp")],
)
@pytest.mark.parametrize("tile", [None, (32, 16)])
def test_tiff_of_every_layout_is_read_exactly(tmp_path, planar, compression, tile):
    rgb = noise((50, 70, 3))
    stored = rgb if planar == "contig" else np.moveaxis(rgb, 2, 0)
    options = {"compressionargs": {"lossless": True}} if compression == "webp" else {}
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, compression=compression, tile=tile,
        **options,
    )  # fmt: skip
    assert_array_equal(pixels_of(tmp_path / "a.tif"), rgb)
    image = read_image(tmp_path / "a.tif")
    assert image.rgb
    assert_array_equal(image.read(13, 31, 37, 50), rgb[13:37, 31:50])


def test_jpeg_in_tiff_is_read_as_tifffile_reads_it(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((50, 70, 3)), photometric="rgb", compression="jpeg", tile=(32, 32))
    assert_array_equal(pixels_of(tmp_path / "a.tif"), tifffile.imread(tmp_path / "a.tif"))


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_alpha_of_a_tiff_is_dropped(tmp_path, compression):
    rgba = noise((20, 30, 4), np.uint16)
    for name, extra in (("a.tif", "unassalpha"), ("b.tif", "assocalpha"), ("c.tif", "unspecified")):
        tifffile.imwrite(tmp_path / name, rgba, photometric="rgb", extrasamples=[extra], compression=compression)
        assert_array_equal(pixels_of(tmp_path / name), rgba[..., :3])
    la = np.moveaxis(rgba[..., :2], 2, 0)
    tifffile.imwrite(
        tmp_path / "la.tif", la, photometric="minisblack", planarconfig="separate", extrasamples=["unassalpha"]
    )
    assert_array_equal(pixels_of(tmp_path / "la.tif"), rgba[..., :1])


def test_extra_channels_that_are_not_alpha_stay(tmp_path):
    five = noise((20, 30, 5))
    tifffile.imwrite(tmp_path / "a.tif", five, photometric="minisblack", planarconfig="contig")
    assert_array_equal(pixels_of(tmp_path / "a.tif"), five)
    assert not read_image(tmp_path / "a.tif").rgb


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_white_is_zero_is_inverted(tmp_path, dtype):
    grey = noise((20, 30), dtype)
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="miniswhite")
    assert_array_equal(pixels_of(tmp_path / "a.tif")[..., 0], ~grey)


def test_palette_of_a_tiff_becomes_rgb(tmp_path):
    index, colours = noise((20, 30)), noise((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=colours)
    assert_array_equal(pixels_of(tmp_path / "a.tif"), (colours >> 8).astype(np.uint8).T[index])


def test_palette_in_a_file_of_imagej_only_colours_the_display(tmp_path):
    index, colours = noise((20, 30)), noise((3, 256), np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", index, photometric="palette", colormap=colours, description="ImageJ=1.54p\n",
        metadata=None,
    )  # fmt: skip
    assert_array_equal(pixels_of(tmp_path / "a.tif"), index[..., None])


def test_ycbcr_without_jpeg_becomes_rgb(tmp_path):
    rgb = np.asarray(Image.fromarray(noise((20, 30, 3)) // 2 + 64))
    ycbcr = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    tifffile.imwrite(tmp_path / "a.tif", ycbcr, photometric="rgb", metadata=None, extratags=[(530, 3, 2, (1, 1), True)])
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tif:
        tif.pages.first.tags["PhotometricInterpretation"].overwrite(6)
    expected = np.asarray(Image.fromarray(ycbcr, "YCbCr").convert("RGB"))
    assert np.abs(pixels_of(tmp_path / "a.tif").astype(int) - expected).max() <= 1


def test_unnamed_pages_are_time_points_then_slices(tmp_path):
    stack = noise((3, 4, 20, 30))
    tifffile.imwrite(tmp_path / "tz.tif", stack, photometric="minisblack")
    image = read_image(tmp_path / "tz.tif", t=2, z=1)
    assert (image.source_axes, image.source_shape, image.plane) == ("TZYX", (3, 4, 20, 30), {"T": 2, "Z": 1})
    assert_array_equal(pixels_of(tmp_path / "tz.tif", t=2, z=1)[..., 0], stack[2, 1])
    with tifffile.TiffWriter(tmp_path / "t.tif") as writer:
        for page in stack[0]:
            writer.write(page, metadata=None, compression="zlib", contiguous=False)
    assert_array_equal(pixels_of(tmp_path / "t.tif", t=3)[..., 0], stack[0, 3])


def test_index_out_of_range_names_what_the_file_has(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((3, 20, 30)), photometric="minisblack")
    with pytest.raises(ImageError, match=r"a.tif has no time point 3; it has 3 time points, 0 to 2"):
        read_image(tmp_path / "a.tif", t=3)
    with pytest.raises(ImageError, match=r"no slice 1; it has only slice 0"):
        read_image(tmp_path / "a.tif", z=1)
    with pytest.raises(ImageError, match=r"no time point -1"):
        read_image(tmp_path / "a.tif", t=-1)
    with pytest.raises(ImageError, match=r"no image 1; it has 1"):
        read_image(tmp_path / "a.tif", scene=1)


def test_scene_chooses_among_pages_of_different_size(tmp_path):
    small, large = noise((20, 30)), noise((50, 70, 3))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(small, metadata=None)
        writer.write(large, photometric="rgb", metadata=None)
    assert_array_equal(pixels_of(tmp_path / "a.tif"), small[..., None])
    assert_array_equal(pixels_of(tmp_path / "a.tif", scene=1), large)


@pytest.mark.parametrize("contiguous", [True, False])
def test_imagej_hyperstack_keeps_channels_and_chooses_the_plane(tmp_path, contiguous):
    stack = noise((3, 4, 2, 20, 30), np.uint16)
    labels = [f"{c}, slice {z}, frame {t}" for t in range(3) for z in range(4) for c in ("DAPI", "GFP")]
    tifffile.imwrite(
        tmp_path / "a.tif", stack, imagej=True, resolution=(1 / 0.325, 1 / 0.65),
        metadata={"axes": "TZCYX", "unit": "micron", "Labels": labels},
        compression=None if contiguous else "zlib",
    )  # fmt: skip
    image = read_image(tmp_path / "a.tif", t=1, z=3)
    assert_array_equal(image.read(0, 0, 20, 30), np.moveaxis(stack[1, 3], 0, 2))
    assert (image.source_axes, image.plane) == ("TZCYX", {"T": 1, "Z": 3})
    assert image.channel_names == ("DAPI, slice 3, frame 1", "GFP, slice 3, frame 1")
    assert image.pixel_size_um == pytest.approx((0.65, 0.325), rel=1e-4)


def test_ome_tiff_gives_channels_names_and_pixel_size(tmp_path):
    cyx = noise((3, 20, 30), np.uint16)
    metadata = {
        "axes": "CYX", "Channel": {"Name": ["DAPI", "FITC", "Cy5"]}, "PhysicalSizeX": 325.0,
        "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.65, "PhysicalSizeYUnit": "µm",
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "a.ome.tif", cyx, photometric="minisblack", metadata=metadata)
    image = read_image(tmp_path / "a.ome.tif")
    assert_array_equal(image.read(0, 0, 20, 30), np.moveaxis(cyx, 0, 2))
    assert image.channel_names == ("DAPI", "FITC", "Cy5")
    assert image.pixel_size_um == pytest.approx((0.65, 0.325))
    assert not image.rgb


def test_full_resolution_of_a_pyramid_is_read(tmp_path):
    base = noise((256, 384, 3))
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", bigtiff=True) as writer:
        options = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
        writer.write(base, subifds=2, metadata={"axes": "YXS"}, **options)
        for step in (2, 4):
            writer.write(base[::step, ::step], subfiletype=1, **options)
    assert_array_equal(pixels_of(tmp_path / "a.ome.tif"), base)


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        ((10_000 / 0.5, 10_000 / 0.5), "centimeter", (0.5, 0.5)),
        ((25_400 / 0.25, 25_400 / 0.5), "inch", (0.5, 0.25)),
        ((72, 72), "inch", None), ((96, 96), "inch", None), ((300, 300), "inch", None),
        ((600, 600), "inch", None), ((1200, 1200), "inch", None), ((1, 1), "none", None),
        ((0, 1000), "centimeter", None),
        ((20_000, 20_000), "none", None),
    ],
)  # fmt: skip
def test_resolution_tag_counts_only_when_a_microscope_wrote_it(tmp_path, resolution, unit, expected):
    tifffile.imwrite(tmp_path / "a.tif", noise((8, 9)), resolution=resolution, resolutionunit=unit, metadata=None)
    found = read_image(tmp_path / "a.tif").pixel_size_um
    assert found == (expected and pytest.approx(expected, rel=1e-4))


def test_corner_of_a_tiled_tiff_is_read_without_the_rest(tmp_path):
    whole = noise((1024, 1024), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", whole, tile=(64, 64), compression="zlib")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "half.tif").write_bytes(data[: len(data) // 2])
    image = read_image(tmp_path / "half.tif")
    assert_array_equal(image.read(0, 0, 100, 100)[..., 0], whole[:100, :100])
    with pytest.raises(ImageError, match=r"half.tif is truncated: tile 255 ends .* past the end of the file"):
        image.read(1000, 1000, 1024, 1024)


def test_overview_of_a_large_image_never_holds_all_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(readers_plane, "_BAND_BYTES", 4096)
    whole = noise((517, 100))
    tifffile.imwrite(tmp_path / "a.tif", whole, tile=(16, 16))
    image = read_image(tmp_path / "a.tif")
    assert_array_equal(np.asarray(image.data[3:500:7, ::3])[..., 0], whole[3:500:7, ::3])


def test_tiles_left_out_by_a_slide_scanner_are_zero(tmp_path):
    whole = noise((64, 64))

    def tiles():
        for i in range(4):
            yield None if i == 2 else np.ascontiguousarray(whole[i // 2 * 32 :, i % 2 * 32 :][:32, :32])

    tifffile.imwrite(
        tmp_path / "a.tif", tiles(), shape=(64, 64), dtype=np.uint8, tile=(32, 32), compression="zlib", metadata=None
    )
    whole[32:, :32] = 0
    assert_array_equal(pixels_of(tmp_path / "a.tif")[..., 0], whole)


# NumPy, Zarr and plugins --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "axes", "kept"),
    [
        ((20, 30), ">u2", "YX", 1), ((20, 30, 2), "f4", "YXC", 2), ((20, 30, 3), "u1", "YXS", 3),
        ((20, 30, 4), "u1", "YXS", 3), ((20, 30, 4), "u2", "YXC", 4), ((5, 20, 30), "u2", "CYX", 5),
        ((20, 30), "?", "YX", 1),
    ],
)  # fmt: skip
def test_npy_is_read_by_the_stated_rule(tmp_path, shape, dtype, axes, kept):
    array = (noise(shape) > 127) if dtype == "?" else noise(shape, np.dtype(dtype).newbyteorder("=")).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    image = read_image(tmp_path / "a.npy")
    expected = array.reshape(20, 30, -1) if axes != "CYX" else np.moveaxis(array, 0, 2)
    assert_array_equal(image.read(0, 0, 20, 30), expected[..., :kept])
    assert (image.source_axes, image.rgb, image.dtype.isnative) == (axes, axes == "YXS", True)


def test_npy_whose_axes_are_ambiguous_names_its_shape(tmp_path):
    for shape in ((17, 20, 30), (2, 3, 20, 30), (7,)):
        np.save(tmp_path / "a.npy", np.zeros(shape))
        with pytest.raises(ImageError, match=str(shape).replace("(", r"\(").replace(")", r"\)")):
            read_image(tmp_path / "a.npy")


def test_npy_with_objects_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}, 1], [2, 3]], object), allow_pickle=True)
    with pytest.raises(ImageError):
        read_image(tmp_path / "a.npy")


def write_ome_zarr(path, array, version, axes="tczyx"):
    """Write an OME-Zarr of two levels by hand, as its specification has it."""
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    kinds = {"t": ("time", "second"), "c": ("channel", None)}
    listed = [
        {
            "name": a,
            "type": kinds.get(a, ("space",))[0],
            **({"unit": u} if (u := kinds.get(a, (0, "nanometer"))[1]) else {}),
        }
        for a in axes
    ]
    datasets = []
    for level in (0, 1):
        step = 2**level
        group.create_array(str(level), data=array[..., ::step, ::step], chunks=(1,) * (array.ndim - 2) + (8, 8))
        scale = [1.0] * (array.ndim - 2) + [325.0 * step, 162.5 * step]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    meta = {
        "multiscales": [{"version": version, "axes": listed, "datasets": datasets}],
        "omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]},
    }
    group.attrs.update(meta if version == "0.4" else {"ome": {"version": version, **meta}})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_gives_level_0_names_and_pixel_size(tmp_path, version):
    array = noise((3, 2, 4, 20, 30), np.uint16)
    write_ome_zarr(tmp_path / "a.ome.zarr", array, version)
    image = read_image(tmp_path / "a.ome.zarr", t=2, z=1)
    assert_array_equal(image.read(0, 0, 20, 30), np.moveaxis(array[2, :, 1], 0, 2))
    assert (image.source_axes, image.plane) == ("TCZYX", {"T": 2, "Z": 1})
    assert image.channel_names == ("DAPI", "GFP")
    assert image.pixel_size_um == pytest.approx((0.325, 0.1625))
    with pytest.raises(ImageError, match="no slice 4; it has 4 slices"):
        read_image(tmp_path / "a.ome.zarr", z=4)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_plain_zarr_array_is_read(tmp_path, zarr_format):
    array = noise((2, 20, 30), np.float32)
    zarr.create_array(tmp_path / "a.zarr", data=array, chunks=(1, 8, 8), zarr_format=zarr_format)
    assert_array_equal(pixels_of(tmp_path / "a.zarr"), np.moveaxis(array, 0, 2))


def test_huge_zarr_is_read_lazily(tmp_path):
    array = zarr.create_array(
        tmp_path / "huge.zarr", shape=(100_000, 100_000), chunks=(1000, 1000), dtype="u2", fill_value=5
    )
    array[99_990:, 99_990:] = 7
    image = read_image(tmp_path / "huge.zarr")
    assert image.shape == (100_000, 100_000)
    corner = image.read(99_980, 99_980, 100_000, 100_000)
    assert corner.sum() == 5 * 300 + 7 * 100


def test_damaged_chunk_of_a_zarr_raises(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=noise((16, 16)), chunks=(16, 16))
    chunk = next(p for p in (tmp_path / "a.zarr").rglob("*") if p.is_file() and p.name != "zarr.json")
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(ImageError, match=r"a.zarr: the pixels cannot be read"):
        pixels_of(tmp_path / "a.zarr")


def test_zarr_without_an_image_says_so(tmp_path):
    zarr.open_group(tmp_path / "plate.zarr", mode="w").attrs["plate"] = {"wells": []}
    zarr.open_group(tmp_path / "group.zarr", mode="w")
    (tmp_path / "nothing.zarr").mkdir()
    for name, text in (("plate", "whole plate"), ("group", "no OME-Zarr metadata"), ("nothing", "nothing.zarr")):
        with pytest.raises(ImageError, match=text):
            read_image(tmp_path / f"{name}.zarr")


@pytest.fixture
def plugins(monkeypatch):
    """A plugin manager without the plugins of this environment."""
    manager = PluginManager()
    monkeypatch.setattr(manager, "discover", lambda: 0)
    monkeypatch.setattr(PluginManager, "instance", lambda: manager)
    return manager


def test_reader_plugin_opens_what_is_not_known_here(tmp_path, plugins):
    array = noise((2, 3, 20, 30), np.uint16)
    (tmp_path / "a.xyz").write_text("x")
    meta = {"channel_axis": 0, "name": ["DAPI", "GFP"], "scale": (1, 0.65, 0.325)}
    with DynamicPlugin("my-reader", plugin_manager=plugins) as plugin:

        @plugin.contribute.reader(filename_patterns=["*.xyz"])
        def get_reader(path):
            return lambda p: [(np.zeros((4, 2)), {}, "points"), ([array, array[..., ::2, ::2]], meta, "image")]

        image = read_image(tmp_path / "a.xyz", z=2)
    assert_array_equal(image.read(0, 0, 20, 30), np.moveaxis(array[:, 2], 0, 2))
    assert (image.source_axes, image.plane, image.channel_names) == ("CZYX", {"Z": 2}, ("DAPI", "GFP"))
    assert image.pixel_size_um == (0.65, 0.325)


def test_failing_reader_plugin_is_named(tmp_path, plugins):
    (tmp_path / "a.xyz").write_text("x")
    with DynamicPlugin("my-reader", plugin_manager=plugins) as plugin:

        @plugin.contribute.reader(filename_patterns=["*.xyz"])
        def get_reader(path):
            raise RuntimeError("no luck")

        with pytest.raises(ImageError, match=r"my-reader failed .RuntimeError: no luck"):
            read_image(tmp_path / "a.xyz")


def test_reader_of_napari_itself_is_not_asked(tmp_path, plugins):
    (tmp_path / "a.xyz").write_text("x")
    with DynamicPlugin("napari", plugin_manager=plugins) as plugin:

        @plugin.contribute.reader(filename_patterns=["*"])
        def get_reader(path):
            pytest.fail("asked")

        with pytest.raises(ImageError, match=r"no reader for '.xyz'; save it as TIFF or PNG, or install"):
            read_image(tmp_path / "a.xyz")


def test_known_content_with_an_unknown_name_is_read(tmp_path, plugins):
    tifffile.imwrite(tmp_path / "a.dat", noise((8, 9)), photometric="minisblack")
    assert pixels_of(tmp_path / "a.dat").shape == (8, 9, 1)


# Damage -------------------------------------------------------------------------------------------


def test_what_is_no_image_says_so_in_one_line(tmp_path):
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "folder").mkdir()
    (tmp_path / "header.tif").write_bytes(b"II*\0")
    for name, text in (
        ("missing.tif", "there is no such file"), ("empty.tif", "empty .0 bytes."),
        ("text.tif", "is no '.tif' image"),
        ("text.png", "is no '.png' image"), ("folder", "it is a folder"), ("header.tif", "header.tif"),
    ):  # fmt: skip
        with pytest.raises(ImageError, match=text) as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert ";" in str(caught.value)


def test_content_counts_more_than_the_suffix(tmp_path):
    rgb = noise((20, 30, 3))
    Image.fromarray(rgb).save(tmp_path / "a.tif", "PNG")
    assert_array_equal(pixels_of(tmp_path / "a.tif"), rgb)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "jp2", "deep.png", "npy"])
def test_truncated_file_raises_instead_of_giving_grey_rows(tmp_path, suffix):
    rgb = noise((200, 300, 3))
    whole = tmp_path / f"whole.{suffix}"
    if suffix == "npy":
        np.save(whole, rgb)
    elif suffix == "deep.png":
        whole.write_bytes(imagecodecs.png_encode(noise((200, 300, 3), np.uint16)))
    else:
        Image.fromarray(rgb).save(whole)
    data = whole.read_bytes()
    for part in (0.3, 0.6, 0.95):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(ImageError):
            pixels_of(cut)


def test_png_with_too_few_rows_raises(tmp_path):
    Image.fromarray(noise((50, 30))).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[20:24] = (90).to_bytes(4, "big")
    crc = imagecodecs.zlib_crc32(bytes(data[12:29]))
    data[29:33] = int(crc).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageError):
        pixels_of(tmp_path / "a.png")


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "jpeg", "zstd", "webp"])
@pytest.mark.parametrize("tile", [None, (64, 64)])
def test_truncated_tiff_raises(tmp_path, compression, tile):
    options = {"photometric": "rgb", "tile": tile} if tile else {"photometric": "rgb", "rowsperstrip": 32}
    tifffile.imwrite(tmp_path / "a.tif", noise((256, 256, 3)), compression=compression, **options)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(ImageError):
        pixels_of(tmp_path / "cut.tif")


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "jpeg", "webp", "packbits"])
def test_strip_that_ends_early_raises(tmp_path, compression):
    tifffile.imwrite(tmp_path / "a.tif", noise((64, 64, 3)), compression=compression, photometric="rgb", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tif:
        tag = tif.pages.first.tags["StripByteCounts"]
        tag.overwrite(tag.value[0] // 2)
    with pytest.raises(ImageError):
        pixels_of(tmp_path / "a.tif")


@pytest.mark.parametrize("tag", ["StripByteCounts", "StripOffsets"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_strip_that_was_never_written_raises(tmp_path, tag, compression):
    tifffile.imwrite(tmp_path / "a.tif", noise((64, 64)), compression=compression, rowsperstrip=16, metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tif:
        tag = tif.pages.first.tags[tag]
        tag.overwrite((*tag.value[:-1], 0))
    with pytest.raises(ImageError, match="never written"):
        pixels_of(tmp_path / "a.tif")


def test_damaged_lzw_is_refused_before_it_is_decoded():
    data = bytearray(imagecodecs.lzw_encode(noise(100_000, np.uint8) // 32))
    for n in (0, 1, 2, 3, 255, 256, 257, 20_000):
        check_lzw(imagecodecs.lzw_encode(noise(n, np.uint8) // 32))
    check_lzw(bytes(data))
    data[1] = 0x7F  # the code after the clear code is then above 257
    data[2] = 0xFF
    with pytest.raises(ValueError, match="corrupt LZW"):
        check_lzw(bytes(data))
    reversed_bits = np.packbits(np.unpackbits(np.frombuffer(bytes(data), np.uint8)), bitorder="little")
    with pytest.raises(ValueError, match="corrupt LZW"):
        check_lzw(reversed_bits.tobytes(), fill_order=2)


def test_pages_that_lead_in_a_circle_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(3):
            writer.write(noise((8, 9)), metadata=None, contiguous=False)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        last = tif.pages[2].offset
    count = int.from_bytes(data[last : last + 2], "little")
    data[last + 2 + 12 * count : last + 6 + 12 * count] = data[4:8]
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match="page directories overlap"):
        read_image(tmp_path / "a.tif")


def test_header_that_promises_more_than_the_file_can_hold_is_not_believed(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((64, 64)), compression="zlib", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tif:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tif.pages.first.tags[name].overwrite(30_000)
    with pytest.raises(ImageError, match="cannot hold 900,000,000 bytes"):
        read_image(tmp_path / "a.tif").read(0, 0, 8, 8)


def test_log_of_tifffile_is_silenced_only_while_reading(tmp_path, caplog):
    tifffile.imwrite(tmp_path / "a.tif", noise((8, 9)), metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        at = tif.pages.first.tags["Software"].offset
    data[at + 2 : at + 4] = (99).to_bytes(2, "little")  # no such type of tag
    (tmp_path / "bad.tif").write_bytes(data)
    pixels_of(tmp_path / "bad.tif")
    assert not caplog.records
    with tifffile.TiffFile(tmp_path / "bad.tif"):
        pass
    assert caplog.records
    assert not logging.getLogger("tifffile").disabled


# The array that is read lazily --------------------------------------------------------------------


class _Counted(LazyPlane):
    def __init__(self, array):
        super().__init__("counted", array.shape, array.dtype)
        self.array = array

    def _fetch(self, y0, x0, y1, x1):
        return self.array[y0:y1, x0:x1]


@pytest.mark.parametrize(
    "key",
    [
        ..., 3, -1, slice(2, 9, 3), slice(None, None, -2), (slice(None), 5), (..., 0), (2, 3, 1), (slice(4, 4), 1),
        (slice(1, 7), slice(8, 2, -1), slice(0, 2)), (np.array([1, 4, 2]), 3), (slice(50, 60), ...),
        (..., slice(2, 5), 1),
    ],
)  # fmt: skip
def test_lazy_plane_is_indexed_as_numpy_is(key):
    array = noise((10, 12, 3))
    assert_array_equal(_Counted(array)[key], array[key])


@pytest.mark.parametrize("key", [10, (0, 12), (0, 0, 0, 0)])
def test_lazy_plane_refuses_what_numpy_refuses(key):
    with pytest.raises(IndexError):
        _Counted(noise((10, 12, 3)))[key]


def test_lazy_plane_becomes_an_array():
    array = noise((10, 12, 3))
    assert_array_equal(np.asarray(_Counted(array)), array)
    assert np.asarray(_Counted(array), np.float32).dtype == np.float32
    assert len(_Counted(array)) == 10


def test_pixels_that_were_decoded_once_cannot_be_changed(tmp_path):
    class Fixed(DecodedPlane):
        def _decode(self):
            return np.zeros((4, 5, 1), np.uint8)

    part = Fixed("fixed", (4, 5, 1), np.uint8)[0:2, 0:2]
    with pytest.raises(ValueError, match="read-only"):
        part[...] = 1


def test_stack_axes_are_named_once():
    assert [name_stack_axes(a) for a in ("IYX", "QQYX", "TQYX", "QZYXS", "QQQYX")] == [
        "TYX", "TZYX", "TZYX", "TZYXS", "TZIYX",
    ]  # fmt: skip
    assert guess_axes("a", (20, 30)) == "YX"


# Names, start-up and resources --------------------------------------------------------------------


def test_image_names():
    for name in ("a.tif", "A.TIFF", "b.ome.tif", "c.PNG", "d.jpeg", "e.npy", "f.zarr", "g.ome.zarr", "h.czi", "i.webp"):
        assert is_image_name(name)
    for name in (
        ".DS_Store",
        "._a.tif",
        ".hidden.png",
        "Thumbs.db",
        "desktop.ini",
        "__MACOSX",
        "a.txt",
        "tif",
        ".tif",
        "~$a.tif",
    ):
        assert not is_image_name(name)


def test_images_of_a_folder_are_listed_by_name(tmp_path):
    for name in ("b.tif", "a.PNG", "._a.PNG", "notes.txt", "Thumbs.db"):
        (tmp_path / name).touch()
    for name in ("c.ome.zarr", "__MACOSX", "sub", "d.tif"):
        (tmp_path / name).mkdir()
    (tmp_path / "sub" / "e.tif").touch()
    assert [p.name for p in list_images(tmp_path)] == ["a.PNG", "b.tif", "c.ome.zarr"]
    with pytest.raises(ImageError, match="cannot list"):
        list_images(tmp_path / "missing")


def test_import_is_cheap_and_reading_needs_no_napari(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((8, 9)))
    (tmp_path / "a.xyz").write_text("x")
    code = f"""
import sys
from napari_cellclass.core.images import reading as readers
heavy = {{"dask", "zarr", "tifffile", "imagecodecs", "npe2", "napari", "qtpy", "PyQt6", "tensorflow"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
readers.read_image({str(tmp_path / "a.tif")!r}).read(0, 0, 8, 9)
try:
    readers.read_image({str(tmp_path / "a.xyz")!r})
except readers.ImageError as error:
    assert "no reader for '.xyz'" in str(error)
assert not {{"napari", "qtpy", "PyQt6", "tensorflow"}} & set(sys.modules)
"""
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.skipif(not hasattr(psutil.Process, "num_fds"), reason="counts file handles as POSIX has them")
def test_no_file_stays_open(tmp_path):
    rgb = noise((64, 64, 3))
    Image.fromarray(rgb).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", rgb)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb")
    tifffile.imwrite(tmp_path / "b.tif", rgb, photometric="rgb", tile=(16, 16), compression="lzw")
    (tmp_path / "bad.tif").write_bytes((tmp_path / "b.tif").read_bytes()[:3000])
    zarr.create_array(tmp_path / "a.zarr", data=rgb, chunks=(16, 16, 3))
    paths = list_images(tmp_path)
    assert len(paths) == 6

    def read_all():
        kept = []
        for path in paths:
            try:
                kept.append(read_image(path))
                kept[-1].read(0, 0, *kept[-1].shape)
            except ImageError:
                assert path.name == "bad.tif"
        return kept

    read_all()
    gc.collect()
    process = psutil.Process()
    before = process.num_fds()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        alive = [read_all() for _ in range(20)]
        assert process.num_fds() <= before
        del alive
        gc.collect()


@pytest.mark.parametrize("compression", [None, "lzw", "jpeg"])
def test_threads_may_read_at_once(tmp_path, compression, monkeypatch):
    monkeypatch.setattr("napari_cellclass.core.images.tiff._CACHE_BYTES", 20_000)
    rgb = noise((512, 512, 3))
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", tile=(64, 64), compression=compression)
    whole = tifffile.imread(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif")
    corners = np.random.default_rng(0).integers(0, 400, (200, 2)).tolist()
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda yx: image.read(*yx, yx[0] + 100, yx[1] + 90), corners))
    for (y, x), part in zip(corners, parts, strict=True):
        assert_array_equal(part, whole[y : y + 100, x : x + 90])


def test_path_may_be_text(tmp_path):
    tifffile.imwrite(tmp_path / "a b ü.tif", noise((8, 9)))
    assert read_image(str(tmp_path / "a b ü.tif")).path == Path(tmp_path / "a b ü.tif")


def test_a_deep_png_whose_pixels_fail_their_checksum_is_refused_in_silence(tmp_path, capfd):
    pixels = np.random.default_rng(0).integers(0, 65_535, (40, 56, 3)).astype(np.uint16)
    whole = imagecodecs.png_encode(pixels)
    end = whole.index(b"IEND") - 8  # before the CRC of the last pixels
    path = tmp_path / "deep.png"
    path.write_bytes(whole)
    assert_array_equal(read_image(path).read(0, 0, 40, 56), pixels)
    path.write_bytes(whole[: end - 1] + bytes([whole[end - 1] ^ 1]) + whole[end:])
    with pytest.raises(ImageError, match="incorrect data check"):
        read_image(path).read(0, 0, 40, 56)
    assert capfd.readouterr().err == ""


def test_a_file_that_is_named_zarr_is_told_to_be_no_folder(tmp_path: Path) -> None:
    (tmp_path / "one.zarr").write_bytes(b"not a folder")
    with pytest.raises(ImageError, match="it is a file, while a Zarr image is a folder"):
        read_image(tmp_path / "one.zarr")
