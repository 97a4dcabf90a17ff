"""Real files that are odd or broken, read in a process of their own with little memory."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from tests._patience import PROCESS_S

from napari_cellclass.core.images.reading import read_image

pytestmark = pytest.mark.realdata

# What each file holds, from its own header (tags, IHDR, zarr metadata) and what Pillow makes of it.
READABLE = {
    "10ct_32bit_128.tiff": ((128, 128, 1), "float32", "YX"),
    "12in16bit.tif": ((100, 100, 1), "uint16", "YX"),
    "30-2A1f.jpg": ((1200, 1600, 3), "uint8", "YXS"),
    "BigTIFFMotorola.tif": ((64, 64, 3), "uint8", "YXS"),
    "blobs_image_v04.ome.zarr": ((12, 12, 3), "float64", "CYX"),
    "blobs_image_v05.ome.zarr": ((12, 12, 3), "float64", "CYX"),
    "flower-minisblack-32.tif": ((43, 73, 1), "uint32", "YX"),
    "g4_orientation_5.tif": ((590, 88, 1), "uint8", "YX"),  # as stored, not turned
    "gradient-3c-32b-float.tiff": ((1, 256, 3), "float32", "YXS"),
    "hopper.bmp": ((128, 128, 3), "uint8", "YXS"),
    "hopper_bigtiff.tif": ((128, 128, 3), "uint8", "YXS"),
    "hopper_lzw.tif": ((128, 128, 3), "uint8", "YXS"),
    "hopper_webp.tif": ((128, 128, 3), "uint8", "YXS"),
    "int8.tif": ((64, 64, 1), "int8", "YX"),
    "minisblack-2c-8b-alpha.tiff": ((64, 64, 1), "uint8", "SYX"),  # planar; the alpha plane is dropped
    "multi-channel.ome.tif": ((167, 439, 3), "int8", "CYX"),
    "multipage.tiff": ((10, 10, 3), "uint8", "TYX"),  # the third page is larger: another scene
    "multipage_rgb.tif": ((10, 10, 3), "float64", "TSYX"),
    "p_16.png": ((128, 128, 3), "uint8", "YXS"),
    "palette-1c-8b.tiff": ((151, 157, 3), "uint8", "YX"),
    "random-fp16.tiff": ((16, 16, 1), "float16", "YX"),
    "subsubifds.tif": ((32, 32, 1), "uint8", "TYXS"),
    "tiff_16bit_RGBa.tiff": ((40, 100, 3), "uint16", "YXS"),
    "tiff_tiled_planar_lzw.tiff": ((374, 278, 3), "uint8", "SYX"),
    "tiff_wrong_bits_per_sample_3.tiff": ((256, 512, 3), "uint8", "YXS"),  # RGB and an untold fourth sample
    "uncompressed_la.png": ((128, 128, 1), "uint8", "YX"),
    "xy_float__h2b_bg_corr.tif": ((42, 60, 1), "float32", "YX"),
    "png_decompression_dos.png": ((1, 1, 1), "uint8", "YX"),  # text that would be 1 GB is never unpacked
}

BROKEN = {
    "broken_data_stream.png": "the pixels cannot be read",
    "crash-63b1dffefc8c075ddc606c0a2f5fdc15ece78863.tif": "its header is damaged",
    "empty.tif": "the file is empty (0 bytes)",
    "not_enough_data.jp2": "Not enough data in header",
    "truncated_image.png": "rows are missing at its end",
    "zero_width.gif": "cannot read zero_width.gif",
}

# Files that Pillow reads as they are meant, and how it has to be asked.
AS_PILLOW = {
    "12in16bit.tif": None, "30-2A1f.jpg": None, "hopper.bmp": None, "hopper_bigtiff.tif": None,
    "hopper_lzw.tif": None, "p_16.png": "RGB", "tiff_tiled_planar_lzw.tiff": None, "multipage.tiff": "RGB",
    "uncompressed_la.png": "L", "xy_float__h2b_bg_corr.tif": None, "10ct_32bit_128.tiff": None,
    "palette-1c-8b.tiff": "RGB", "tiff_wrong_bits_per_sample_3.tiff": "RGB",
}  # fmt: skip

READ_ALL = """
import json, resource, sys
from pathlib import Path
import imagecodecs, npe2, tifffile, zarr  # imported before the limit is set
from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images.reading import read_image

def kib(name):
    return int(next(l for l in open("/proc/self/status") if l.startswith(name)).split()[1])

now = kib("VmSize") * 1024
resource.setrlimit(resource.RLIMIT_AS, (now + (2 << 30), now + (2 << 30)))
found = {}
for path in sorted(p for p in Path(sys.argv[1]).iterdir() if p.suffix != ".csv"):
    try:
        image = read_image(path)
        pixels = image.read(0, 0, *image.shape)
        found[path.name] = [pixels.shape, str(pixels.dtype), image.source_axes]
    except ImageError as error:
        found[path.name] = str(error)
found["peak KiB"] = kib("VmHWM")  # ru_maxrss would count what the parent held when it started this
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def odd(real_data):
    folder = real_data / "odd"
    assert folder.is_dir(), f"the odd files are not at {folder}"
    return folder


@pytest.fixture(scope="module")
def found(odd):
    """What reading every file gives, in a process that may take 2 GiB."""
    if not sys.platform.startswith("linux"):
        pytest.skip("memory can only be limited on Linux")
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(odd)], capture_output=True, text=True, timeout=PROCESS_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # nothing is logged or warned of
    return json.loads(done.stdout)


def test_every_odd_file_is_expected(odd):
    with (odd / "MANIFEST.csv").open(encoding="utf-8", newline="") as stream:
        listed = {row["file"].rstrip("/") for row in csv.DictReader(stream)}
    assert listed == READABLE.keys() | BROKEN.keys()


@pytest.mark.parametrize("name", READABLE)
def test_odd_file_is_read(found, name):
    shape, dtype, axes = READABLE[name]
    assert found[name] == [list(shape), dtype, axes]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_refused_with_a_reason(found, name):
    assert isinstance(found[name], str), f"it was read as {found[name]}"
    assert name in found[name]
    assert BROKEN[name] in found[name]
    assert "\n" not in found[name]


def test_broken_files_take_little_memory(found):
    assert found["peak KiB"] < 1 << 20


@pytest.mark.parametrize("name", AS_PILLOW)
def test_odd_pixels_are_those_of_pillow(odd, name):
    image = read_image(odd / name)
    with Image.open(odd / name) as opened:
        expected = np.asarray(opened.convert(AS_PILLOW[name]) if AS_PILLOW[name] else opened)
    assert_array_equal(image.read(0, 0, *image.shape).squeeze(), expected)


def test_white_is_zero_group_4_page_is_mostly_white(odd):
    pixels = read_image(odd / "g4_orientation_5.tif").read(0, 0, 590, 88)[..., 0]
    with Image.open(odd / "g4_orientation_5.tif") as opened:
        turned = np.asarray(opened)  # Pillow applies orientation 5, a transposition
    assert_array_equal(pixels.T == 255, turned)
    assert (pixels == 255).mean() > 0.5


def test_uncompressed_planes_are_the_bytes_of_the_file(odd):
    """Where the header says that pixels lie plainly in the file, they are there byte by byte."""
    for name, dtype, offset in (("flower-minisblack-32.tif", ">u4", 8), ("BigTIFFMotorola.tif", ">u1", 16)):
        image = read_image(odd / name)
        stored = np.frombuffer((odd / name).read_bytes(), dtype, image.data.size, offset)
        assert_array_equal(image.read(0, 0, *image.shape).ravel(), stored)


def test_palettes_differ_from_page_to_page(odd):
    colours = [read_image(odd / "multipage.tiff", t=t).read(0, 0, 1, 1).tolist() for t in (0, 1)]
    colours.append(read_image(odd / "multipage.tiff", scene=1).read(0, 0, 1, 1).tolist())
    assert colours == [[[[0, 128, 0]]], [[[255, 0, 0]]], [[[0, 0, 255]]]]
    assert read_image(odd / "multipage.tiff", scene=1).shape == (20, 20)


def test_channel_names_of_ome_are_read(odd):
    assert read_image(odd / "blobs_image_v05.ome.zarr").channel_names == ("0", "1", "2")
    assert read_image(odd / "blobs_image_v04.ome.zarr").channel_names == ("0", "1", "2")


def test_both_versions_of_ome_zarr_hold_blobs_in_0_to_1(odd):
    for version in ("04", "05"):
        pixels = read_image(odd / f"blobs_image_v{version}.ome.zarr").read(0, 0, 12, 12)
        assert 0 <= pixels.min() < pixels.max() <= 1


def test_screen_resolutions_are_no_pixel_sizes(odd):
    for name in READABLE:
        assert read_image(odd / name).pixel_size_um is None, name
