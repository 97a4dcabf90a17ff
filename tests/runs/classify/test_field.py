from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.common.prefetch import single_threaded
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import TRAINING_TILES_MEMBER, open_bundle, write_bundle
from napari_cellclass.core.models.drift import STATISTICS, training_statistics
from napari_cellclass.core.samples.realfield import ihc_field
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.statistics import channel_stats
from napari_cellclass.core.tiles.streaming import iterate_tile_batches
from napari_cellclass.runs.classify.field import classify_field
from napari_cellclass.runs.common.engine_access import open_engine


@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
def test_every_tile_is_read_once_from_where_its_box_lies(edge: str) -> None:
    pixels = np.arange(100 * 130 * 2, dtype=np.int32).reshape(100, 130, 2)
    source, grid = SourceImage(pixels), TileGrid.regular((100, 130), 32, 0.25, edge)
    padded = np.pad(pixels, ((0, 64), (0, 64), (0, 0)), mode="symmetric")
    seen = []
    for places, tiles in iterate_tile_batches(source, grid, 32):
        seen += places.tolist()
        for place, tile in zip(places, tiles, strict=True):
            y0, x0, y1, x1 = grid.boxes[place]
            np.testing.assert_array_equal(tile, padded[y0:y1, x0:x1])
    assert sorted(seen) == list(range(len(grid)))


class Blind:
    """A network that says nothing, and may be slow."""

    name = "blind"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.tiles = seconds, 0

    def predict(self, tiles: np.ndarray, *_: object) -> np.ndarray:
        time.sleep(self.seconds * len(tiles))
        self.tiles += len(tiles)
        return np.tile(np.float32([0.48, 0.52]), (len(tiles), 1))


class Watched:
    """Pixels that count how often each of them is read."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.shape, self.dtype = pixels, pixels.shape, pixels.dtype
        self.times = np.zeros(pixels.shape[:2], int)

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        self.times[key] += 1
        return self.pixels[key]


@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
def test_a_field_is_read_once_for_its_classes_and_its_id(ihc_model: Path, edge: str) -> None:
    bundle = open_bundle(ihc_model)
    pixels = ihc_field().data[:500, :490]
    watched = Watched(pixels)
    source = SourceImage(watched)
    grid = TileGrid.regular(source.shape, 64, 0.0, edge)
    result = classify_field(source, bundle, Blind(), grid)
    assert result.table.record["image"]["id"] == SourceImage(pixels).image_id
    again = 2 if edge == "shift" else 1  # the last row of tiles lies over the one before
    assert watched.times.min() == 1
    assert watched.times.max() == again
    assert (watched.times[: 500 - 64] == 1).all()


def test_finished_tiles_are_handed_out_in_order(ihc_model: Path) -> None:
    bundle, source = open_bundle(ihc_model), ihc_field()
    grid = TileGrid.regular(source.shape, 32)
    told: list[tuple[np.ndarray, np.ndarray]] = []
    with open_engine(bundle) as engine:
        table = classify_field(source, bundle, engine, grid, finished=lambda *given: told.append(given)).table
    assert len(told) > 1
    assert np.concatenate([places for places, _ in told]).tolist() == list(range(256))
    np.testing.assert_array_equal(np.concatenate([prob for _, prob in told]), table.prob)


@pytest.mark.parametrize("in_turn", [False, True])
def test_a_slow_network_is_cancelled_within_a_few_tiles(ihc_model: Path, in_turn: bool) -> None:
    slow = Blind(0.01)
    source = ihc_field()
    grid = TileGrid.regular(source.shape, 32)
    with single_threaded(in_turn):
        result = classify_field(source, open_bundle(ihc_model), slow, grid, Task(cancelled=lambda: slow.tiles >= 24))
    assert not result.complete
    assert 0 < len(result.table) <= slow.tiles <= 24 + 3 * 8


@pytest.mark.parametrize("in_turn", [False, True])
def test_an_error_of_the_reader_ends_the_run_as_it_is(ihc_model: Path, in_turn: bool) -> None:
    class Broken(Watched):
        def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
            if key[0].start >= 256:
                raise OSError("bad sector")
            return super().__getitem__(key)

    source = SourceImage(Broken(ihc_field().data))
    before = set(threading.enumerate())
    with pytest.raises(ImageError, match="bad sector"), single_threaded(in_turn):
        classify_field(source, open_bundle(ihc_model), Blind(), TileGrid.regular(source.shape, 32))
    assert set(threading.enumerate()) <= before


def test_a_cancelled_field_keeps_finished_tiles_and_says_so(ihc_model: Path) -> None:
    bundle, source = open_bundle(ihc_model), ihc_field()
    grid = TileGrid.regular(source.shape, 32)
    asked: list[int] = []
    with open_engine(bundle) as engine:
        whole = classify_field(source, bundle, engine, grid)
        part = classify_field(source, bundle, engine, grid, Task(cancelled=lambda: asked.append(1) or len(asked) > 3))
    assert whole.complete
    assert not part.complete
    assert 0 < len(part.table) < 256
    np.testing.assert_array_equal(part.table.prob, whole.table.prob[: len(part.table)])
    assert part.table.grid.tile_id.tolist() == whole.table.grid.tile_id[: len(part.table)].tolist()


def test_a_process_with_one_core_starts_no_threads_and_gives_the_same(ihc_model: Path) -> None:
    bundle, source = open_bundle(ihc_model), ihc_field()
    grid = TileGrid.regular(source.shape, 32)
    threads: set[int | None] = set()
    with open_engine(bundle, threads=1) as engine:
        together = classify_field(source, bundle, engine, grid).table
        predict = engine.predict_with_distances
        engine.predict_with_distances = lambda *a: threads.add(threading.get_ident()) or predict(*a)
        with single_threaded():
            in_turn = classify_field(source, bundle, engine, grid).table
    assert threads == {threading.get_ident()}
    np.testing.assert_array_equal(in_turn.prob, together.prob)


def test_answers_do_not_depend_on_the_region(ihc_model: Path) -> None:
    bundle, source = open_bundle(ihc_model), ihc_field()
    grid = TileGrid.regular(source.shape, 32)
    chosen = np.array([3, 40, 41, 77, 255])
    with open_engine(bundle) as engine:
        whole = classify_field(source, bundle, engine, grid).table
        part = classify_field(source, bundle, engine, grid.take(chosen)).table
    np.testing.assert_array_equal(part.prob, whole.prob[chosen])


def test_another_pixel_size_than_trained_is_a_warning(ihc_model: Path) -> None:
    bundle, field = open_bundle(ihc_model), ihc_field()
    trained = bundle.__class__(bundle.path, bundle.manifest.model_copy(update={"pixel_size_um": (0.5, 0.5)}))
    source = SourceImage(field.data, pixel_size_um=(1.0, 1.0), rgb=True)
    with open_engine(bundle) as engine:
        result = classify_field(source, trained, engine, TileGrid.regular(source.shape, 64))
    assert any("pixels are 1 µm, but the model was trained on 0.5 µm" in text for text in result.warnings)


def test_a_field_out_of_the_training_range_is_a_warning_in_its_record(ihc_model: Path) -> None:
    bundle = open_bundle(ihc_model)
    source = ihc_field()
    grid = TileGrid.regular(source.shape, bundle.manifest.tile_px)
    known = training_statistics(
        np.concatenate([channel_stats(tiles) for _, tiles in iterate_tile_batches(source, grid, 32)])
    )
    manifest = bundle.manifest.model_copy(update={"data": bundle.manifest.data | {STATISTICS: known}})
    told = replace(bundle, manifest=manifest)
    with open_engine(bundle) as engine:
        same = classify_field(source, told, engine, grid)
        dark = classify_field(replace(source, data=source.data // 2), told, engine, grid)
        older = manifest.model_copy(update={"data": manifest.data | {STATISTICS: None}})
        untold = classify_field(replace(source, data=source.data // 2), replace(bundle, manifest=older), engine, grid)
    assert not any("training images" in text for text in same.warnings)
    assert any("darker than the training images" in text for text in dark.warnings)
    assert dark.table.record["warnings"] == list(dark.warnings)
    assert not any("darker" in text for text in untold.warnings)


def test_a_network_that_gives_one_answer_for_all_tiles_is_a_warning(ihc_model: Path) -> None:
    bundle = open_bundle(ihc_model)
    source = ihc_field()
    result = classify_field(source, bundle, Blind(), TileGrid.regular(source.shape, bundle.manifest.tile_px))
    assert any("predicts the same probabilities" in text for text in result.warnings)


def test_training_tiles_add_novelty_and_change_no_probability(ihc_model: Path, tmp_path: Path) -> None:
    bundle, source = open_bundle(ihc_model), ihc_field()
    members = {name: bundle.member(name) for name in bundle.manifest.files if name != TRAINING_TILES_MEMBER}
    without = write_bundle(tmp_path / "without.cellclass", bundle.manifest, members)
    grid = TileGrid.regular(source.shape, bundle.manifest.tile_px)
    tables = []
    for model in (bundle, without):
        with open_engine(model) as engine:
            tables.append(classify_field(source, model, engine, grid).table)
    np.testing.assert_allclose(tables[0].prob, tables[1].prob, atol=1e-6)
    assert "novelty_p" not in tables[1].columns()
    assert tables[1].with_novelty_rate(0.05).novelty_rate is None
    known = bundle.training_tiles
    assert known is not None
    p = tables[0].columns()["novelty_p"]
    np.testing.assert_array_equal(p, known.p_values(tables[0].columns()["novelty"]))
    trained = grid.boxes[:, 3] <= source.shape[1] // 2
    assert np.mean(p[trained] <= 0.05) < 0.2, "tiles that it was trained on are like training"
