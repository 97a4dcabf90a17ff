"""What is drawn on a plane labels that plane; arrays of any library are fields; a file opens beside its own image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError, ImageError
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.layer_planes import plane_position
from napari_cellclass.viewer.common.layers import image_from_layers, region_polygons
from napari_cellclass.viewer.common.map_view import FieldLayer
from napari_cellclass.viewer.features.label_sources import labels_from_layer
from napari_cellclass.viewer.io.file_readers import get_reader

GRID = TileGrid.regular((64, 64), 32)
STACK = np.zeros((5, 64, 64), np.uint8)


def labelled(layer: Layer, image: Image, point: tuple[float, ...]) -> dict[int, str]:
    position = plane_position(image, point)
    found, names = labels_from_layer(layer, GRID, FieldLayer.of(image), position=position)
    return {i: names[k] for i, k in enumerate(found.labels) if k >= 0}


def square(*leading: float, x: int = 0) -> NDArray[np.float64]:
    return np.array([[*leading, y, x + dx] for y, dx in ((0, 0), (0, 32), (32, 32), (32, 0))], float)


@pytest.mark.parametrize("scale", [(1, 1, 1), (3, 0.5, 0.5), (0.25, 2, 2)])
@pytest.mark.parametrize("z", [0, 3, 4])
def test_shapes_and_points_of_other_planes_label_nothing_here(scale: tuple[float, ...], z: int) -> None:
    image = Image(STACK, scale=scale, axis_labels=("z", "y", "x"))
    names = pd.DataFrame({"class_name": ["other", "here"]})
    shapes = Shapes([square(z - 1), square(z, x=32)], shape_type="polygon", features=names, scale=scale)
    points = Points([[z + 1, 9, 9], [z, 40, 9]], features=names, scale=scale)
    point = (z * scale[0], 0, 0)
    assert labelled(shapes, image, point) == {1: "here"}
    assert labelled(points, image, point) == {2: "here"}
    (outline,) = region_polygons(shapes, image, plane_position(image, point))
    assert outline[:, 1].min() == pytest.approx(32)


def test_a_plane_without_any_drawing_is_told(tmp_path: Path) -> None:
    image = Image(STACK, axis_labels=("z", "y", "x"))
    shapes, points = Shapes([square(1)], shape_type="polygon"), Points([[1, 9, 9]])
    painted = Labels(np.where(np.arange(5)[:, None, None] == 1, 1, 0) * np.ones((5, 64, 64), np.uint8))
    for layer in (shapes, points, painted):
        with pytest.raises(DatasetError, match="plane that is shown"):
            labelled(layer, image, (4, 0, 0))
    with pytest.raises(ImageError, match="no closed shape on this plane"):
        region_polygons(shapes, image, plane_position(image, (4, 0, 0)))


def test_painted_labels_are_those_of_the_shown_plane_and_stay_lazy() -> None:
    import dask.array as da

    painted = np.zeros((2, 5, 64, 64), np.uint8)
    painted[1, 3, :32, :32] = 1
    image = Image(np.zeros((2, 5, 64, 64), np.uint8), axis_labels=("t", "z", "y", "x"))
    for data in (painted, da.from_array(painted, chunks=(1, 1, 64, 64))):
        assert labelled(Labels(data, name="paint"), image, (1, 3, 0, 0)) == {0: "paint 1"}
        with pytest.raises(DatasetError, match="empty on the plane"):
            labelled(Labels(data, name="paint"), image, (0, 3, 0, 0))


def test_what_is_drawn_in_two_dimensions_or_over_a_channel_is_on_every_plane() -> None:
    stack = Image(STACK, axis_labels=("z", "y", "x"))
    assert labelled(Shapes([square()], shape_type="polygon", name="a"), stack, (3, 0, 0)) == {0: "a"}
    channels = Image(np.zeros((2, 64, 64), np.uint8), axis_labels=("channel", "y", "x"))
    assert labelled(Shapes([square(1)], shape_type="polygon", name="a"), channels, (0, 0, 0)) == {0: "a"}


@pytest.mark.parametrize("name", ["nan", "NA", "None", "null", "True", "01"])
def test_a_word_in_the_features_is_a_class_and_a_missing_value_none(name: str) -> None:
    values = pd.Series([name, None, float("nan"), "b"], dtype=object)
    points = Points([[9, 9], [9, 40], [40, 9], [40, 40]], features=pd.DataFrame({"class_name": values}))
    assert labelled(points, Image(STACK[0]), (0, 0)) == {0: name, 3: "b"}


class _Named:
    """What ``xarray.DataArray`` does where it differs from NumPy: ``transpose`` takes names. Reading is recorded."""

    def __init__(self, pixels: NDArray[Any], read: list[int]) -> None:
        self.pixels, self.read = pixels, read
        self.shape, self.ndim, self.dtype, self.size = pixels.shape, pixels.ndim, pixels.dtype, pixels.size

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        self.read.append(self.pixels.size)
        return np.asarray(self.pixels, dtype)

    def __getitem__(self, key: Any) -> _Named:
        return type(self)(self.pixels[key], self.read)

    def __len__(self) -> int:
        return len(self.pixels)

    def transpose(self, *names: str) -> _Named:
        raise ValueError(f"{names} are no dimensions")


class _OnDevice(_Named):
    """What ``cupy.ndarray`` does: NumPy does not convert it, ``get`` does."""

    device = "gpu"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def get(self) -> NDArray[Any]:
        self.read.append(self.pixels.size)
        return self.pixels


class _Layer:
    """An image layer with any array in it."""

    def __init__(self, data: Any) -> None:
        self._image = Image(np.zeros(data.shape, data.dtype), axis_labels=("z", "y", "x"))
        self.data, self.multiscale = data, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._image, name)


@pytest.mark.parametrize("kind", [_Named, _OnDevice])
def test_an_array_of_another_library_is_read_a_box_at_a_time(kind: type[_Named]) -> None:
    pixels = np.arange(5 * 64 * 64, dtype=np.uint16).reshape(5, 64, 64)
    read: list[int] = []
    source = image_from_layers([_Layer(kind(pixels, read))], (3, 0, 0))
    assert read == []
    np.testing.assert_array_equal(source.read(8, 8, 16, 24)[..., 0], pixels[3, 8:16, 8:24])
    assert read == [8 * 16]


def test_a_zarr_array_in_a_layer_is_read_lazily(tmp_path: Path) -> None:
    import zarr

    pixels = np.arange(5 * 64 * 64, dtype=np.uint16).reshape(5, 64, 64)
    array = zarr.create_array(tmp_path / "a.zarr", data=pixels, chunks=(1, 32, 32))
    source = image_from_layers([_Layer(array)], (4, 0, 0))
    assert source.chunk_rows == 32
    np.testing.assert_array_equal(source.read(0, 0, 64, 64)[..., 0], pixels[4])


def test_a_file_that_is_opened_in_a_viewer_takes_the_image_of_that_viewer(tmp_path: Path) -> None:
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 8 * i, 8]} for i in (1, 2)]
    images = [{"id": i, "file_name": f"{name}.png"} for i, name in ((1, "a"), (2, "b"))]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "x"}]}
    path = tmp_path / "c.coco.json"
    path.write_text(json.dumps(content))
    read = get_reader(str(path))
    assert read is not None
    viewers = []
    for name, scale in (("a", (2, 2)), ("b", (3, 3))):
        viewers.append(ViewerModel())
        viewers[-1].add_image(np.zeros((64, 64), np.uint8), name=name, scale=scale)
    for viewer, width, scale in ((viewers[0], 8, 2), (viewers[1], 16, 3), (viewers[0], 8, 2)):
        (layer,) = _open(viewer, read, str(path))
        assert np.ptp(layer.data[0][:, 1]) == width
        assert tuple(layer.scale) == (scale, scale)


def _open(viewer: ViewerModel, read: Any, path: str) -> Any:
    """Open a file as ``ViewerModel.open`` does, from which the reader is called."""
    found = []

    class Opening(ViewerModel):
        def open(self) -> None:
            found.extend(read(path))

    viewer.__class__ = Opening
    try:
        viewer.open()
    finally:
        viewer.__class__ = ViewerModel
    return found
