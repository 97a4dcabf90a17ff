"""Features stream in where a user looks first, and can be cancelled at any time."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellclass.core.common.errors import CancelledError, ImageError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.engine.features import store
from napari_cellclass.runs.live.features import LiveExtractor
from napari_cellclass.runs.live.field_features import FieldFeatures
from napari_cellclass.runs.live.stream import FieldToRead, Priority, stream_features


@pytest.fixture(autouse=True)
def _empty_store(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "store_folder", lambda: tmp_path / "features")


def _field(seed: int = 0, side: int = 12 * 16) -> tuple[SourceImage, FieldFeatures, LiveExtractor]:
    pixels = np.random.default_rng(seed).integers(0, 4000, (side, side, 1), np.uint16)
    source = SourceImage(pixels, f"field {seed}")
    extractor = LiveExtractor.for_field(source, threads=1)
    grid = TileGrid.regular(source.shape, 16)
    return source, FieldFeatures(f"field {seed}", grid, sum(extractor.columns), "g"), extractor


def test_tiles_near_the_centre_of_the_view_come_first_and_a_moved_view_counts_at_once() -> None:
    source, field, extractor = _field()
    priority = Priority()
    priority.set_centre(8, 8)
    known = []
    for step, _ in enumerate(stream_features([FieldToRead(field, lambda: source, priority)], extractor)):
        known.append(field.known.copy())
        if step == 0:
            priority.set_centre(180, 180)
        if step == 1:
            break
    first, second = np.flatnonzero(known[0]), np.flatnonzero(known[1] & ~known[0])
    assert field.grid.row[first].max() < 6
    assert field.grid.row[second].min() > 5


def test_labelled_tiles_come_before_all_others() -> None:
    source, field, extractor = _field()
    priority = Priority()
    priority.set_centre(8, 8)
    priority.set_wanted(np.array([143, 100]))
    next(stream_features([FieldToRead(field, lambda: source, priority)], extractor))
    assert field.known[[143, 100]].all()


def test_a_cancelled_stream_keeps_what_it_has_and_goes_on_from_there() -> None:
    source, field, extractor = _field()
    wanted = [FieldToRead(field, lambda: source, Priority())]
    with pytest.raises(CancelledError):
        for _ in stream_features(wanted, extractor, Task(cancelled=lambda: field.known.sum() > 30)):
            pass
    before = field.values[field.known].copy(), np.flatnonzero(field.known)
    assert 30 < len(before[1]) < 144
    for _ in stream_features(wanted, extractor):
        pass
    assert field.complete
    assert np.array_equal(field.values[before[1]], before[0])


def test_another_field_that_cannot_be_read_stops_nothing() -> None:
    source, field, extractor = _field()
    _, missing, _ = _field(1)
    third_source, third, _ = _field(2)

    def fail() -> SourceImage:
        raise ImageError("gone")

    order = [(field, lambda: source), (missing, fail), (third, lambda: third_source)]
    for _ in stream_features([FieldToRead(one, open_it, Priority()) for one, open_it in order], extractor):
        pass
    assert field.complete
    assert third.complete
    assert not missing.known.any()
    with pytest.raises(ImageError):
        list(stream_features([FieldToRead(missing, fail, Priority())], extractor))


def test_fields_of_other_channels_are_another_session() -> None:
    source, _, extractor = _field()
    assert extractor.takes(source)
    assert not extractor.takes(SourceImage(np.zeros((32, 32, 2), np.uint16)))
