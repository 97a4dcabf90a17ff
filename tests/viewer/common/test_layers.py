"""Layers become one record, and tiles land where their pixels are, whatever the layer's transform."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from PIL import Image as Pillow

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.samples.synthetic import checkerboard_field
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.layers import image_from_layers, pixel_size_um, region_polygons, transform_of
from napari_cellclass.viewer.common.overlay import MAX_SHAPES, OverlayStyle, tile_layers

RNG = np.random.default_rng(0)
TRANSFORMS = [
    {},
    {"scale": (0.5, 0.5)},
    {"scale": (2, 3), "translate": (100, -40)},
    {"rotate": 30},
    {"scale": (0.325, 0.325), "translate": (7, 9), "rotate": -20, "shear": [0.2]},
    {"affine": [[0.8, 0.3, 5], [-0.2, 1.1, -3], [0, 0, 1]], "scale": (2, 2)},
]


def full(source: object) -> np.ndarray:
    return source.read(0, 0, *source.shape)


def test_a_file_and_its_layer_are_one_image(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Pillow.fromarray(pixels).save(tmp_path / "f.png")
    source = image_from_layers([Image(pixels, rgb=True)])
    assert source.image_id == read_image(tmp_path / "f.png").image_id
    assert source.rgb


def test_rgba_loses_its_alpha() -> None:
    pixels = RNG.integers(0, 255, (20, 30, 4), dtype=np.uint8)
    np.testing.assert_array_equal(full(image_from_layers([Image(pixels, rgb=True)])), pixels[..., :3])


def test_of_a_multiscale_layer_level_0_is_taken() -> None:
    pixels = RNG.integers(0, 4000, (64, 64)).astype(np.uint16)
    source = image_from_layers([Image([pixels, pixels[::2, ::2]], multiscale=True)])
    np.testing.assert_array_equal(full(source)[..., 0], pixels)


def test_a_dask_layer_stays_lazy() -> None:
    read = []

    def block(block_info: object = None) -> np.ndarray:
        read.append(1)
        return np.zeros((100, 100), np.uint8)

    lazy = da.map_blocks(block, chunks=((100,) * 100, (100,) * 100), dtype=np.uint8, meta=np.zeros((0, 0), np.uint8))
    layer = Image(lazy, contrast_limits=(0, 1))
    read.clear()
    image_from_layers([layer]).read(0, 0, 50, 50)
    assert len(read) == 1


def test_several_layers_are_channels_from_first_to_last() -> None:
    one, two = (RNG.integers(0, 255, (20, 30), dtype=np.uint8) for _ in range(2))
    source = image_from_layers([Image(one, name="GFP"), Image(two, name="DAPI")])
    np.testing.assert_array_equal(full(source), np.stack([one, two], -1))
    assert source.channel_names == ("GFP", "DAPI")


@pytest.mark.parametrize(
    ("second", "text"),
    [
        ({"data": np.zeros((20, 31), np.uint8)}, "31 x 20 px, but 'a' has 30 x 20"),
        ({"data": np.zeros((20, 30), np.uint16)}, "uint16, but 'a' is uint8"),
        ({"data": np.zeros((20, 30), np.uint8), "scale": (2, 2)}, "align them first"),
    ],
)
def test_channels_that_do_not_lie_on_each_other_are_refused(second: dict, text: str) -> None:
    with pytest.raises(ImageError) as caught:
        image_from_layers([Image(np.zeros((20, 30), np.uint8), name="a"), Image(**second, name="b")])
    assert text in str(caught.value)


def test_no_layer_is_told() -> None:
    with pytest.raises(ImageError, match="no image layer is chosen"):
        image_from_layers([])


def test_the_sliders_choose_the_plane() -> None:
    stack = RNG.integers(0, 255, (4, 5, 16, 18), dtype=np.uint8)
    viewer = ViewerModel()
    layer = viewer.add_image(stack, scale=(10, 2, 0.5, 0.5), translate=(100, 0, 0, 0))
    viewer.dims.set_current_step(0, 2)
    viewer.dims.set_current_step(1, 3)
    source = image_from_layers([layer], viewer.dims.point)
    np.testing.assert_array_equal(full(source)[..., 0], stack[2, 3])
    assert source.plane == {"T": 2, "Z": 3}


def test_pixel_size_is_known_only_where_units_are_lengths() -> None:
    data = np.zeros((8, 8))
    assert pixel_size_um(Image(data, scale=(0.3, 0.3))) is None
    assert pixel_size_um(Image(data, scale=(0.3, 0.4), units=("um", "um"))) == pytest.approx((0.3, 0.4))
    assert pixel_size_um(Image(data, scale=(300, 300), units=("nm", "nm"))) == pytest.approx((0.3, 0.3))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_rectangle_lies_on_its_own_tile_of_a_checkerboard(transform: dict) -> None:
    pixels, levels = checkerboard_field(16, 5, 6)
    image = Image(pixels, **transform)
    grid = TileGrid.regular(pixels.shape, 16)
    prob = np.tile([0.4, 0.6], (len(grid), 1)).astype(np.float32)
    (layer,) = tile_layers(TileTable(grid, ClassScheme(("a", "b")), prob), transform_of(image), "map", OverlayStyle())
    for place, corners in enumerate(layer.data):
        # world points well inside the drawn rectangle must show that tile's grey level, and only that
        for weights in ([0.25] * 4, [0.91, 0.03, 0.03, 0.03], [0.03, 0.03, 0.91, 0.03]):
            world = layer.data_to_world(np.average(corners, axis=0, weights=weights))
            y, x = np.round(image.world_to_data(world)).astype(int)
            assert pixels[y, x] == levels[grid.row[place], grid.col[place]]


@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_map_of_many_tiles_lies_on_the_tiles_too(transform: dict, edge: str) -> None:
    image = Image(np.zeros((406, 402), np.uint8), **transform)
    grid = TileGrid.regular((406, 402), 4, edge=edge)
    assert len(grid) > MAX_SHAPES
    prob = np.zeros((len(grid), 2), np.float32)
    prob[np.arange(len(grid)), np.arange(len(grid)) % 2] = 1
    layers = tile_layers(TileTable(grid, ClassScheme(("a", "b")), prob), transform_of(image), "map", OverlayStyle())
    labels = layers[-1]
    for place in (0, 57, 5050, len(grid) - 101, len(grid) - 1):
        y, x = grid.boxes[place, :2] + 1.5
        row, col = np.round(labels.world_to_data(image.data_to_world((y, x)))).astype(int)
        assert labels.data[row, col] == 2 + place % 2
        assert (
            f"tile r{grid.row[place]} c{grid.col[place]}"
            in labels.get_status(image.data_to_world((y, x)), world=True)["coordinates"]
        )


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_region_drawn_over_the_picture_means_those_pixels(transform: dict) -> None:
    image = Image(np.zeros((64, 64), np.uint8), **transform)
    region = Shapes(**transform_of(Image(np.zeros((4, 4)), scale=(3, 3), rotate=10)))
    wanted = np.array([[10, 12], [10, 40], [30, 40], [30, 12]], float)
    region.add_polygons([np.stack([region.world_to_data(image.data_to_world(corner)) for corner in wanted])])
    (outline,) = region_polygons(region, image)
    np.testing.assert_allclose(outline, wanted, atol=1e-3)


def test_lines_enclose_nothing() -> None:
    with pytest.raises(ImageError, match="contains no closed shape"):
        region_polygons(Shapes([[[0, 0], [5, 5]]], shape_type="line"), Image(np.zeros((8, 8))))


def test_an_ellipse_is_as_large_as_drawn() -> None:
    shapes = Shapes([[[0, 0], [0, 20], [10, 20], [10, 0]]], shape_type="ellipse")
    (outline,) = region_polygons(shapes, Image(np.zeros((30, 30))))
    np.testing.assert_allclose([outline.min(0), outline.max(0)], [[0, 0], [10, 20]], atol=1e-6)
