"""Laws of the stained field and its labels."""

from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from napari_cellclass.core.common.errors import GridError
from napari_cellclass.core.samples.realfield import (
    IHC_CLASSES,
    IHC_TILE_PX,
    ihc_field,
    ihc_halves,
    ihc_tile_labels,
    write_ihc_dataset,
)
from napari_cellclass.core.tiles.grid import TileGrid


@pytest.fixture
def grid():
    return TileGrid.regular(ihc_field().shape, IHC_TILE_PX)


def test_the_field_comes_with_scikit_image():
    assert (Path(skimage.__file__).parent / "data" / "ihc.png").is_file()


def test_the_field_is_rgb():
    field = ihc_field()
    assert (field.shape, field.channels, field.dtype, field.rgb) == ((512, 512), 3, np.uint8, True)


def test_every_call_gives_an_array_of_its_own():
    ihc_field().data[:] = 0
    assert ihc_field().data.any()


def test_brown_tiles_are_stained_and_blue_or_empty_ones_are_not(grid):
    labels = ihc_tile_labels(grid).reshape(grid.grid_shape)
    assert (labels[2:5, 1:5] == 1).all()  # inside a gland
    assert (labels[12:15, 9:11] == 1).all()  # the small gland below
    assert (labels[:, 14:] == 0).all()  # stroma with blue nuclei
    assert (labels[11:13, 0] == 0).all()  # empty glass


def test_the_tiles_are_balanced_enough_in_both_halves(grid):
    labels = ihc_tile_labels(grid)
    for half in ihc_halves(grid):
        assert half.sum() == 128
        assert 0.35 < labels[half].mean() < 0.7


def test_a_tiles_label_does_not_depend_on_the_other_tiles(grid):
    some = np.arange(0, len(grid), 7)
    assert np.array_equal(ihc_tile_labels(grid.take(some)), ihc_tile_labels(grid)[some])


def test_a_tile_that_reaches_past_the_field_has_a_label():
    grid = TileGrid.regular((512, 512), 100, edge="pad")
    assert set(ihc_tile_labels(grid)) == {0, 1}


def test_a_grid_over_another_field_is_refused(tmp_path: Path):
    grid = TileGrid.regular((256, 512), 32)
    with pytest.raises(GridError, match="512 x 256"):
        ihc_tile_labels(grid)
    with pytest.raises(GridError):
        write_ihc_dataset(tmp_path, grid)


@pytest.mark.parametrize(("tile_px", "overlap"), [(32, 0.0), (32, 0.5), (48, 0.0), (100, 0.0)])
def test_the_halves_share_no_pixel(tile_px, overlap):
    grid = TileGrid.regular((512, 512), tile_px, overlap)
    train, test = ihc_halves(grid)
    assert grid.boxes[train, 3].max() <= grid.boxes[test, 1].min()
    across = (grid.boxes[:, 1] < 256) & (grid.boxes[:, 3] > 256)
    assert np.array_equal(~(train | test), across)


def test_written_tiles_are_the_fields_pixels_in_their_classes_folder(tmp_path: Path, grid):
    train, _ = ihc_halves(grid)
    paths = write_ihc_dataset(tmp_path, grid, train)
    field, labels, kept = ihc_field(), ihc_tile_labels(grid)[train], grid.take(train)
    assert len(paths) == 128
    for path, label, (y0, x0, y1, x1) in zip(paths, labels, kept.boxes, strict=True):
        assert path.parent.name == IHC_CLASSES[label]
        assert np.array_equal(np.asarray(Image.open(path)), field.data[y0:y1, x0:x1])


def test_written_tiles_sort_by_row_and_column(tmp_path: Path, grid):
    paths = write_ihc_dataset(tmp_path, grid)
    names = [path.name for path in paths]
    assert names[0] == "ihc_r00_c00.png"
    assert "ihc_r03_c05.png" in names
    assert names == sorted(names)
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == names
