"""The evidence for globs lies on the globs; where a model has learned nothing, no evidence is shown."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_cellclass.core.common.errors import CancelledError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.models.feature_spec import feature_preprocess
from napari_cellclass.core.models.linear_head import Standardisation, fit_head
from napari_cellclass.core.samples.synthetic import SyntheticField, inseparable_plate, separable_plate
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.occlusion import default_patches_px
from napari_cellclass.engine.features.extractor import FeatureExtractor, new_feature_spec
from napari_cellclass.engine.inference.openvino_graph import TileFormat
from napari_cellclass.runs.explain.tile_maps import Predict, occlusion_map

TILE_PX, MOST = 128, 6
# Few cells with few globs, so that what is near a glob is a small part of the tiles.
SPARSE = {"cells_per_field": 12, "globs_per_cell": 5.0, "wells_per_class": 3, "field_px": 384}
HELD_OUT = 1  # the last well of each class


def _tiles(field: SyntheticField) -> tuple[np.ndarray, np.ndarray]:
    boxes = TileGrid.regular(field.pixels.shape, TILE_PX).boxes
    return np.stack([field.pixels[y0:y1, x0:x1, None] for y0, x0, y1, x1 in boxes]), boxes


def _near_globs(field: SyntheticField, box: np.ndarray) -> np.ndarray:
    """The pixels of a tile that are within the size of a patch of the centre of a glob."""
    y0, x0, y1, x1 = box.tolist()
    y, x = np.mgrid[y0:y1, x0:x1]
    reach = default_patches_px((TILE_PX, TILE_PX))[0]
    near = np.zeros(y.shape, bool)
    for gy, gx in field.globs:
        near |= (y - gy) ** 2 + (x - gx) ** 2 <= reach**2
    return near


def _fitted(tiles: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Predict:
    """Fit a linear model on texture features."""
    spec = new_feature_spec(feature_preprocess(tiles.dtype, 1, False, tiles.reshape(-1, 1)[::7]), False, False)
    extract = FeatureExtractor(spec, TileFormat.of(tiles), 1)
    features = extract(tiles)
    scaling = Standardisation.fit(features)
    head = fit_head([scaling.apply(features)], labels, groups, 2).head
    return lambda some: head.predict([scaling.apply(extract(some))])


@functools.cache
def _mass(plate: Callable[..., Any], seed: int) -> tuple[float, float, float]:
    """Map tiles of held-out wells with globs: the mass near globs and the whole mass of a tile, and the area near."""
    fields = list(plate(seed, **SPARSE))
    wells = {kind: sorted({f.well for f in fields if f.class_name == kind}) for kind in ("diffuse", "globs")}
    held = [name for names in wells.values() for name in names[-HELD_OUT:]]
    seen = [(field, *_tiles(field)) for field in fields if field.well not in held]
    tiles = np.concatenate([pixels for _, pixels, _ in seen])
    count = len(tiles) // len(seen)
    labels = np.repeat([int(field.class_name == "globs") for field, _, _ in seen], count)
    predict = _fitted(tiles, labels, np.repeat([field.well for field, _, _ in seen], count))
    near = whole = area = 0.0
    mapped = 0
    for field in fields:
        if field.well not in held or field.class_name != "globs":
            continue
        for pixels, box in zip(*_tiles(field), strict=True):
            mask = _near_globs(field, box)
            if mapped < MOST and mask.any():
                found = occlusion_map(predict, pixels, 1)
                near, whole, area = near + found[mask].sum(), whole + found.sum(), area + mask.mean()
                mapped += 1
    assert mapped == MOST
    return near / mapped, whole / mapped, area / mapped


@pytest.mark.parametrize("seed", [0, 3])
def test_at_least_seven_tenths_of_the_evidence_for_globs_lie_on_globs(seed: int) -> None:
    near, whole, area = _mass(separable_plate, seed)
    assert area < 0.25, "a map at random would not do"
    assert near >= 0.7 * whole > 0


@pytest.mark.parametrize("seed", [0, 3])
def test_where_classes_cannot_be_told_apart_globs_get_no_more_evidence_than_chance(seed: int) -> None:
    near, _, area = _mass(inseparable_plate, seed)
    _, whole, _ = _mass(separable_plate, seed)
    assert near <= area * whole, "the part of the evidence of another plate that lies there by chance"


def test_evidence_against_a_class_is_none_for_it() -> None:
    rng = np.random.default_rng(0)
    tile = rng.normal(100, 3, (48, 48, 1)).astype(np.float32)
    tile[10:14, 30:34] += 80

    def predict(some: np.ndarray) -> np.ndarray:
        bright = 1 / (1 + np.exp(-(some.max(axis=(1, 2, 3)) - 140) / 10))
        return np.stack([1 - bright, bright], axis=1).astype(np.float32)

    bright = occlusion_map(predict, tile, 1, 12)
    assert np.hypot(*(np.array(np.unravel_index(bright.argmax(), bright.shape)) - (11.5, 31.5))) < 4
    assert bright.max() > 1
    assert not occlusion_map(predict, tile, 0, 12).any()


def test_a_model_that_says_the_same_of_everything_gives_an_empty_map() -> None:
    tile = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    assert not occlusion_map(lambda some: np.full((len(some), 2), 0.5, np.float32), tile, 0).any()


def test_cancelling_ends_within_a_batch_of_patches() -> None:
    calls = []

    def predict(some: np.ndarray) -> np.ndarray:
        calls.append(len(some))
        return np.full((len(some), 2), 0.5, np.float32)

    with pytest.raises(CancelledError):
        occlusion_map(predict, np.zeros((64, 64, 1), np.uint8), 0, 4, Task(cancelled=lambda: len(calls) > 1))
    assert len(calls) == 2


def test_evidence_that_is_spread_over_a_tile_is_found_by_hiding_more_of_it() -> None:
    rng = np.random.default_rng(0)
    tile = rng.normal(100, 3, (64, 64, 1)).astype(np.float32)
    tile[:, 32:][rng.random((64, 32, 1)) < 0.1] += 60  # spots all over the right half

    def predict(some: np.ndarray) -> np.ndarray:
        spots = 1 / (1 + np.exp(-((some > 130).mean(axis=(1, 2, 3)) - 0.02) * 60))
        return np.stack([1 - spots, spots], axis=1).astype(np.float32)

    assert not occlusion_map(predict, tile, 1, 8).any(), "an eighth changes the odds by less than a tenth"
    found = occlusion_map(predict, tile, 1)
    assert found[:, 32:].sum() > 0.7 * found.sum() > 0
