from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.core.common.prefetch import single_threaded
from napari_cellclass.core.common.task import Progress, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.engine.features.extractor import FeatureExtractor, new_feature_spec
from napari_cellclass.engine.features.store import FeatureStore
from napari_cellclass.runs.features.choosing import choose_features
from napari_cellclass.runs.features.extraction import image_features, iterate_features, open_extractor, open_store

GRID = TileGrid.regular((70, 100), 10, edge="pad")


@pytest.fixture(scope="module")
def source() -> SourceImage:
    return SourceImage(np.random.default_rng(0).integers(0, 256, (70, 100, 1)).astype(np.uint8))


@pytest.fixture(scope="module")
def extractor(source: SourceImage) -> FeatureExtractor:
    spec = choose_features([source], pretrained=False)
    return open_extractor(source, GRID, spec, threads=1)


@pytest.fixture(scope="module")
def expected(source: SourceImage, extractor: FeatureExtractor) -> NDArray[np.float32]:
    return extractor(np.stack([source.read(*box) for box in GRID.boxes.tolist()]))


class Counted(FeatureExtractor):
    """An extractor that counts the tiles that it is given."""

    def __init__(self, other: FeatureExtractor) -> None:
        self.__dict__ = other.__dict__ | {"tiles": 0}

    def __call__(self, tiles: NDArray) -> NDArray[np.float32]:
        self.tiles += len(tiles)
        return super().__call__(tiles)


@pytest.fixture
def store(source: SourceImage, extractor: FeatureExtractor, tmp_path: Path) -> FeatureStore:
    return FeatureStore(source.image_id, extractor.spec, tmp_path)


def test_features_come_in_the_order_that_is_asked_for(
    source: SourceImage, extractor: FeatureExtractor, expected: NDArray[np.float32], store: FeatureStore
) -> None:
    order = np.random.default_rng(1).permutation(len(GRID))[:40]
    for kept in (None, store, store):
        found = list(iterate_features(source, GRID, extractor, order, kept))
        np.testing.assert_array_equal(np.concatenate([indices for indices, _ in found]), order)
        np.testing.assert_array_equal(np.concatenate([features for _, features in found]), expected[order])


def test_no_tile_is_computed_twice(
    source: SourceImage, extractor: FeatureExtractor, expected: NDArray[np.float32], store: FeatureStore
) -> None:
    counted = Counted(extractor)
    list(iterate_features(source, GRID, counted, range(20), store))
    np.testing.assert_array_equal(image_features(source, GRID, counted, store), expected)
    again = FeatureStore(source.image_id, extractor.spec, store._root)
    np.testing.assert_array_equal(image_features(source, GRID, counted, again), expected)
    list(iterate_features(source, GRID, counted, [69, 3, 5], again))
    assert counted.tiles == len(GRID)


def test_without_threads_they_are_the_same(
    source: SourceImage, extractor: FeatureExtractor, expected: NDArray[np.float32]
) -> None:
    with single_threaded():
        np.testing.assert_array_equal(image_features(source, GRID, extractor), expected)


@pytest.mark.parametrize("ordered", [False, True])
def test_a_cancelled_run_keeps_finished_tiles(
    ordered: bool, source: SourceImage, extractor: FeatureExtractor, expected: NDArray[np.float32], store: FeatureStore
) -> None:
    reports: list[Progress] = []
    task = Task(reports.append, lambda: bool(reports) and reports[-1].done >= 20)
    order = np.arange(len(GRID))[::-1] if ordered else None
    given = [indices for indices, _ in iterate_features(source, GRID, extractor, order, store, task)]
    finished = np.concatenate(given)
    assert 20 <= len(finished) < len(GRID)
    assert [reports[0].done, reports[-1].done, reports[0].total] == [0, len(finished), len(GRID)]
    found, features = FeatureStore(source.image_id, extractor.spec, store._root).get(GRID.boxes[finished])
    assert found.all()
    np.testing.assert_array_equal(features, expected[finished])


def test_a_caller_that_stops_early_keeps_finished_tiles(
    source: SourceImage, extractor: FeatureExtractor, store: FeatureStore
) -> None:
    batches: Iterator = iterate_features(source, GRID, extractor, store=store)
    indices, _ = next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert FeatureStore(source.image_id, extractor.spec, store._root).known(GRID.boxes[indices]).all()


def test_features_lost_from_the_disk_are_computed_again(
    source: SourceImage, extractor: FeatureExtractor, expected: NDArray[np.float32], store: FeatureStore
) -> None:
    image_features(source, GRID, extractor, store)
    for path in store._root.rglob("*.features"):
        path.unlink()
    np.testing.assert_array_equal(image_features(source, GRID, extractor, store), expected)


def test_where_nothing_can_be_kept_the_features_still_come(
    source: SourceImage, extractor: FeatureExtractor, expected: NDArray[np.float32], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    store = FeatureStore(source.image_id, extractor.spec, tmp_path / "file")
    np.testing.assert_array_equal(image_features(source, GRID, extractor, store), expected)
    assert store.problem is not None


def test_an_image_has_one_place_on_disk_for_each_kind_of_features(
    source: SourceImage, extractor: FeatureExtractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cellclass.engine.features.store.store_folder", lambda: tmp_path)
    image_features(source, GRID, extractor, open_store(source, extractor.spec))
    same = SourceImage(source.data.copy(), name="copy")
    assert open_store(same, extractor.spec).known(GRID.boxes).all()
    assert not open_store(SourceImage(source.data + 1), extractor.spec).known(GRID.boxes).any()
    other = new_feature_spec(extractor.spec.preprocess.model_copy(update={"input_px": (64, 64)}), False, False)
    assert not open_store(source, other).known(GRID.boxes).any()
