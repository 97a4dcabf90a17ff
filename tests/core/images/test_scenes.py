from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images.reading import is_image, is_zarr, list_images, list_scenes, read_image
from napari_cellclass.core.images.scenes import kind_of_name

UUID = "urn:uuid:{0}{0}{0}{0}{0}{0}{0}{0}-1111-1111-1111-111111111111"


def write_set(folder: Path, files: list[list[tuple[int, int, int]]], sizes: tuple[int, int, int], images: int) -> None:
    """Write a set of OME-TIFFs: file f holds planes (image, channel, time point), whose pixels are 100 i + 10 c + t."""
    _, size_c, size_t = sizes
    xml = ""
    for image in range(images):
        data = "".join(
            f'<TiffData IFD="{ifd}" FirstC="{c}" FirstT="{t}" PlaneCount="1"><UUID FileName="f{f}.ome.tif">'
            f"{UUID.format(f + 1)}</UUID></TiffData>"
            for f, planes in enumerate(files)
            for ifd, (i, c, t) in enumerate(planes)
            if i == image
        )
        channels = "".join(f'<Channel ID="Channel:{image}:{c}" SamplesPerPixel="1"/>' for c in range(size_c))
        xml += (
            f'<Image ID="Image:{image}" Name="pos {image}"><Pixels ID="Pixels:{image}" '
            f'DimensionOrder="XYCZT" Type="uint8" SizeX="16" SizeY="16" SizeZ="1" '
            f'SizeC="{size_c}" SizeT="{size_t}" PhysicalSizeX="{image + 1}" '
            f'PhysicalSizeY="{image + 1}">{channels}{data}</Pixels></Image>'
        )
    for f, planes in enumerate(files):
        place = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
        text = f'<?xml version="1.0"?><OME xmlns="{place}" UUID="{UUID.format(f + 1)}">{xml}</OME>'
        with tifffile.TiffWriter(folder / f"f{f}.ome.tif") as writer:
            for n, (i, c, t) in enumerate(planes):
                pixels = np.full((16, 16), 100 * i + 10 * c + t, np.uint8)
                writer.write(pixels, description=text if n == 0 else None, metadata=None, contiguous=False)


def first_pixel(path: Path, **which: int) -> list[int]:
    return read_image(path, **which).read(0, 0, 1, 1)[0, 0].tolist()


def test_each_file_of_a_set_of_positions_gives_its_own_pixels_and_pixel_size(tmp_path: Path) -> None:
    write_set(tmp_path, [[(0, 0, 0)], [(1, 0, 0)], [(2, 0, 0)]], (1, 1, 1), 3)
    for f in range(3):
        source = read_image(tmp_path / f"f{f}.ome.tif")
        assert source.read(0, 0, 1, 1).item() == 100 * f
        assert source.pixel_size_um == (f + 1, f + 1)
    assert first_pixel(tmp_path / "f0.ome.tif", scene=2) == [200]
    (tmp_path / "f2.ome.tif").rename(tmp_path / "renamed.ome.tif")
    assert first_pixel(tmp_path / "renamed.ome.tif") == [200]
    assert first_pixel(tmp_path / "f1.ome.tif") == [100]


def test_a_file_of_several_positions_of_a_set_begins_with_its_own(tmp_path: Path) -> None:
    write_set(tmp_path, [[(0, 0, 0), (0, 1, 0)], [(1, 0, 0), (1, 1, 0), (2, 0, 0), (2, 1, 0)]], (1, 2, 1), 3)
    assert first_pixel(tmp_path / "f1.ome.tif") == [100, 110]
    assert [s.kind == "field" for s in list_scenes(tmp_path / "f1.ome.tif")] == [False, True, True]


def test_a_file_of_a_set_of_time_points_gives_its_own_times(tmp_path: Path) -> None:
    write_set(tmp_path, [[(0, 0, 0), (0, 1, 0)], [(0, 0, 1), (0, 1, 1), (0, 0, 2), (0, 1, 2)]], (1, 2, 3), 1)
    source = read_image(tmp_path / "f1.ome.tif")
    assert source.read(0, 0, 1, 1)[0, 0].tolist() == [1, 11]
    assert "holds 2 of 3 along T" in source.notes[0]
    assert first_pixel(tmp_path / "f1.ome.tif", t=1) == [2, 12]
    with pytest.raises(ImageError, match="no time point 2; it has 2 time points"):
        read_image(tmp_path / "f1.ome.tif", t=2)


def test_a_file_of_a_set_of_channels_gives_its_own_channel(tmp_path: Path) -> None:
    write_set(tmp_path, [[(0, 0, 0)], [(0, 1, 0)]], (1, 2, 1), 1)
    assert first_pixel(tmp_path / "f1.ome.tif") == [10]
    assert first_pixel(tmp_path / "f0.ome.tif") == [0]


@pytest.mark.parametrize("case", ["reduced", "small", "named", "both"])
def test_a_thumbnail_or_overview_before_the_scan_is_not_taken_for_it(tmp_path: Path, case: str) -> None:
    path = tmp_path / "s.tif"
    with tifffile.TiffWriter(path, ome=case == "named") as writer:
        small = {"subfiletype": 1} if case in ("reduced", "both") else {}
        side = 32 if case in ("reduced", "named") else 16
        name = {"metadata": {"Name": "macro image"}} if case == "named" else {"metadata": None}
        writer.write(np.zeros((side, side, 3), np.uint8), photometric="rgb", contiguous=False, **small, **name)
        name = {"metadata": {"Name": "scan"}} if case == "named" else {"metadata": None}
        writer.write(np.full((64, 64, 3), 9, np.uint8), photometric="rgb", contiguous=False, **name)
    source = read_image(path)
    assert source.shape == (64, 64)
    assert "left out" in source.notes[-1]
    assert read_image(path, scene=0).shape == (side, side)


def test_images_of_one_file_are_all_fields_and_the_rest_is_said(tmp_path: Path) -> None:
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        for i in range(2):
            metadata = {"axes": "YX", "Name": f"scene {i}"}
            writer.write(np.full((16, 16), i, np.uint8), metadata=metadata, contiguous=False)
    assert [scene.name for scene in list_scenes(path)] == ["scene 0", "scene 1"]
    assert "holds 2 images" in read_image(path).notes[0]
    assert read_image(path, scene=1).notes == ()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Macro", "overview"), ("label image", "label"), ("Thumbnail", "thumbnail"), ("slide preview", "overview"),
        ("Position 3", "field"), ("labelled cells", "field"), ("Mapping run", "field"), ("", "field"),
    ],
)  # fmt: skip
def test_what_an_image_is_called_tells_whether_it_is_a_field(name: str, kind: str) -> None:
    assert kind_of_name(name) == kind


def ome(version: str, shape: tuple[int, ...] = (8, 8)) -> dict:
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    steps = [{"type": "scale", "scale": [0.5] * len(shape)}]
    content = {"multiscales": [{"version": version, "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}]}  # fmt: skip  # noqa: E501
    return content if version == "0.4" else {"ome": {"version": version, **content}}


@pytest.mark.parametrize("name", ["plain", "plain.zarr", "x.ome.zarr", "a.b", "zarr", "img.n5"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_zarr_is_known_by_what_it_holds(tmp_path: Path, name: str, version: str) -> None:
    group = zarr.open_group(tmp_path / name, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=np.arange(64, dtype=np.uint8).reshape(8, 8))
    group.attrs.update(ome(version))
    (tmp_path / "folder").mkdir()
    assert is_image(tmp_path / name)
    assert [path.name for path in list_images(tmp_path)] == [name]
    assert read_image(tmp_path / name).pixel_size_um == (0.5, 0.5)


def test_a_folder_of_images_that_is_called_zarr_is_a_folder(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((4, 4), np.uint8))
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "in.tif").rename(tmp_path / "mine.zarr" / "in.tif")
    assert not is_zarr(tmp_path / "mine.zarr")
    assert [path.name for path in list_images(tmp_path / "mine.zarr")] == ["in.tif"]


@pytest.mark.parametrize("name", ["a.ome.zarr.zip", "a.zarr.zip", "a.ozx", "a.zip"])
def test_a_packed_zarr_is_explained(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(ImageError, match="unpack it"):
        read_image(tmp_path / name)


def test_the_images_of_a_container_are_fields_but_not_its_overview(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "c.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    root.create_group("OME").attrs["series"] = ["0", "1", "2"]
    for i, name in enumerate(("macro", "scan 1", "scan 2")):
        group = root.create_group(str(i))
        group.create_array("0", data=np.full((8, 8), i, np.uint8))
        content = ome("0.4")
        content["multiscales"][0]["name"] = name
        group.attrs.update(content)
    assert [scene.kind for scene in list_scenes(tmp_path / "c.zarr")] == ["overview", "field", "field"]
    source = read_image(tmp_path / "c.zarr")
    assert source.read(0, 0, 1, 1).item() == 1
    assert "2 images" in source.notes[0]
    assert "1 overview" in source.notes[1]
