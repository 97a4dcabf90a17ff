"""Laws of the synthetic plate."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter, laplace
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.samples import synthetic
from napari_cellclass.core.samples.synthetic import (
    KINDS,
    MAX_COUNT,
    PIXEL_SIZE_UM,
    PlateParams,
    checkerboard_field,
    inseparable_plate,
    plate_fields,
    separable_plate,
    write_plate,
)
from napari_cellclass.core.tiles.grid import TileGrid

SMALL = {"field_px": 128, "wells_per_class": 2, "sites_per_well": 1}
TILE_PX = 128


def texture_features(tile):
    """Measure how spotty a tile is, whatever its brightness and contrast."""
    z = (tile - tile.mean()) / tile.std()
    edges = laplace(gaussian_filter(z, 1))
    detail = z - gaussian_filter(z, 3)
    local_sd = np.sqrt(gaussian_filter(detail**2, 2))
    return [
        edges.std(),
        *np.percentile(local_sd, (50, 90, 99)),
        np.percentile(z, 99.5),
        np.percentile(edges, 0.5),
    ]


def held_out_accuracy(fields, features):
    """Score a logistic regression on tiles of wells that it was not fitted to."""
    rows, truth, wells = [], [], []
    for field in fields:
        for y0, x0, y1, x1 in TileGrid.regular(field.pixels.shape, TILE_PX).boxes:
            rows.append(features(field.pixels[y0:y1, x0:x1].astype(float)))
            truth.append(KINDS.index(field.class_name))
            wells.append(field.well)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    # Folds hold a well of each class: with an unequal number, knowing nothing scores below chance.
    guess = cross_val_predict(model, np.asarray(rows), truth, groups=wells, cv=GroupKFold(4))
    return balanced_accuracy_score(truth, guess)


@pytest.fixture(scope="module")
def separable():
    return list(separable_plate(seed=1, field_px=3 * TILE_PX))


@pytest.fixture(scope="module")
def inseparable():
    return list(inseparable_plate(seed=1, field_px=3 * TILE_PX))


def test_mean_brightness_separates_the_classes_of_neither_plate(separable, inseparable):
    for plate in (separable, inseparable):
        assert 0.3 < held_out_accuracy(plate, lambda tile: [np.log(tile.mean())]) < 0.65


def test_texture_separates_the_classes_of_the_separable_plate(separable):
    assert held_out_accuracy(separable, texture_features) > 0.95


def test_texture_hardly_separates_the_classes_of_the_inseparable_plate(inseparable):
    assert 0.4 < held_out_accuracy(inseparable, texture_features) < 0.68


def test_both_classes_have_the_same_gains(separable):
    gains = [sorted(field.gain for field in separable if field.class_name == kind) for kind in KINDS]
    assert gains[0] == gains[1]
    assert len(set(gains[0])) == 8


def test_a_cells_total_signal_does_not_depend_on_its_class():
    shape = np.ones((160, 160)) / 160**2
    for kind in KINDS:
        for seed in range(5):
            cell, _ = synthetic._concentrate(shape, kind, PlateParams(), np.random.default_rng(seed))
            assert cell.sum() == pytest.approx(1)
            assert cell.min() >= 0


def test_the_same_seed_gives_the_same_bytes():
    first, again, other = (list(separable_plate(seed=seed, **SMALL)) for seed in (3, 3, 4))
    for a, b, c in zip(first, again, other, strict=True):
        assert a.pixels.tobytes() == b.pixels.tobytes()
        assert a.pixels.tobytes() != c.pixels.tobytes()
        assert np.array_equal(a.centres, b.centres)


def test_no_two_fields_of_a_plate_are_equal():
    fields = list(separable_plate(**SMALL | {"sites_per_well": 2}))
    assert len({field.pixels.tobytes() for field in fields}) == len(fields) == 8


def test_a_larger_plate_begins_with_the_same_fields():
    small = {field.stem: field.pixels for field in separable_plate(**SMALL)}
    large = {field.stem: field.pixels for field in separable_plate(**SMALL | {"sites_per_well": 3})}
    assert all(np.array_equal(pixels, large[stem]) for stem, pixels in small.items())


def test_the_diffuse_wells_are_the_same_on_both_plates():
    pairs = list(zip(separable_plate(**SMALL), inseparable_plate(**SMALL), strict=True))
    alike = [np.array_equal(a.pixels, b.pixels) for a, b in pairs]
    assert alike == [a.class_name == "diffuse" for a, _ in pairs]


def test_a_field_is_12_bit_in_uint16_and_hardly_saturates(separable):
    for field in separable:
        assert field.pixels.dtype == np.uint16
        assert field.pixels.shape == (384, 384)
        assert field.pixels.max() <= MAX_COUNT
        assert (field.pixels == MAX_COUNT).mean() < 0.001


def field_without_cells() -> np.ndarray:
    params = PlateParams(cells_per_field=0, field_px=128, gains=(1,), backgrounds=(400,), site_gains=(1,))
    return next(plate_fields(params)).pixels


def test_noise_is_poisson_plus_read_noise():
    pixels = field_without_cells().astype(float)
    middle = pixels[48:80, 48:80]  # where the lamp is even
    electrons = middle.mean() - synthetic._OFFSET
    assert middle.var() == pytest.approx(electrons + synthetic._READ_NOISE**2, rel=0.15)


def test_the_lamp_is_brighter_in_the_middle_than_in_the_corners():
    pixels = field_without_cells()
    corners = [pixels[y, x].mean() for y in (slice(16), slice(-16, None)) for x in (slice(16), slice(-16, None))]
    assert max(corners) < 0.9 * pixels[48:80, 48:80].mean()


def test_centres_lie_on_the_field_and_on_cells(separable):
    for field in separable:
        y, x = field.centres.astype(int).T
        assert len(field.centres) > 15
        smooth = gaussian_filter(field.pixels.astype(float), 6)
        assert np.mean(smooth[y, x] > np.median(smooth)) > 0.9


@pytest.mark.parametrize("plate", [separable_plate, inseparable_plate])
def test_a_well_has_one_class_and_each_file_name_stands_once(plate):
    fields = list(plate(**SMALL | {"wells_per_class": 22, "field_px": 32}))
    assert len({field.file_name for field in fields}) == len(fields)
    assert len({(field.well, field.class_name) for field in fields}) == len({field.well for field in fields})
    assert fields[0].file_name == "B03f00.tif"
    assert {field.well[0] for field in fields} == set("BCDE")


def test_neither_row_nor_column_of_a_well_predicts_its_class():
    fields = list(separable_plate(**SMALL | {"wells_per_class": 20, "field_px": 32}))
    for part in (slice(0, 1), slice(1, 3)):
        places = [{field.well[part] for field in fields if field.class_name == name} for name in ("diffuse", "globs")]
        assert places[0] == places[1]


def test_a_plate_is_written_in_class_folders_with_its_pixel_size(tmp_path: Path):
    fields = list(separable_plate(**SMALL))
    paths = write_plate(tmp_path, fields)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "diffuse/B03f00.tif",
        "diffuse/C04f00.tif",
        "globs/C03f00.tif",
        "globs/B04f00.tif",
    ]
    for path, field in zip(paths, fields, strict=True):
        with tifffile.TiffFile(path) as tiff:
            assert np.array_equal(tiff.asarray(), field.pixels)
            assert tiff.imagej_metadata["unit"] == "um"
            per_um, of = tiff.pages[0].tags["XResolution"].value
            assert of / per_um == pytest.approx(PIXEL_SIZE_UM, rel=1e-5)


def test_the_same_fields_are_written_as_the_same_bytes(tmp_path: Path):
    first, again = (write_plate(tmp_path / name, separable_plate(**SMALL)) for name in "ab")
    assert [a.read_bytes() for a in first] == [b.read_bytes() for b in again]
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.parametrize(
    "changes",
    [
        {"wells_per_class": 0},
        {"wells_per_class": 141},
        {"sites_per_well": 0},
        {"field_px": 31},
        {"cells_per_field": -1},
        {"glob_fraction": 1.0},
        {"granule_fraction": -0.1},
        {"gains": ()},
        {"gains": (1.0,)},
        {"site_gains": ()},
        {"signal": 0.0},
        {"seed": -1},
    ],
)
def test_an_impossible_plate_is_refused(changes):
    with pytest.raises(ParamsError):
        PlateParams(**changes)


def test_a_plate_is_made_field_by_field():
    assert next(iter(plate_fields(PlateParams(wells_per_class=140, sites_per_well=1000, field_px=64)))).site == 0


@pytest.mark.parametrize("tile_px", [8, (4, 6)])
def test_each_tile_of_a_checkerboard_has_its_level(tile_px):
    pixels, levels = checkerboard_field(tile_px, 12, 16)
    grid = TileGrid.regular(pixels.shape, tile_px)
    assert pixels.dtype == levels.dtype == np.uint8
    assert grid.grid_shape == levels.shape == (12, 16)
    for (y0, x0, y1, x1), row, col in zip(grid.boxes, grid.row, grid.col, strict=True):
        assert (pixels[y0:y1, x0:x1] == levels[row, col]).all()


def test_no_level_of_a_checkerboard_stands_twice_and_neighbours_always_differ():
    assert len(np.unique(checkerboard_field(2, 16, 16)[1])) == 256
    levels = checkerboard_field(1, 40, 50)[1]
    assert (np.diff(levels.astype(int), axis=0) != 0).all()
    assert (np.diff(levels.astype(int), axis=1) != 0).all()


def test_globs_are_where_the_field_is_brighter_than_the_same_cells_without() -> None:
    for kind in ("diffuse", "globs"):
        fields = [
            field for field in separable_plate(4, wells_per_class=1, sites_per_well=1) if field.class_name == kind
        ]
        assert (len(fields[0].globs) > 0) == (kind == "globs")
    field = fields[0]
    inside = field.globs[((field.globs > 3) & (field.globs < 508)).all(axis=1)].round().astype(int)
    assert len(inside) > 100
    spread = np.random.default_rng(0).integers(-9, 10, inside.shape)
    beside = (inside + np.where(np.abs(spread) < 5, 7, spread)).clip(0, 511)
    at, around = (field.pixels[places[:, 0], places[:, 1]].astype(float) for places in (inside, beside))
    assert np.median(at) > 1.3 * np.median(around)
