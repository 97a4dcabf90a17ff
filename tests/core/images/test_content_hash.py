from __future__ import annotations

import numpy as np
import pytest

from napari_cellclass.core.images import content_hash
from napari_cellclass.core.images.source import SourceImage


@pytest.mark.parametrize("largest", [1 << 30, 1000])
@pytest.mark.parametrize("bands", [[(0, 900)], [(0, 64), (64, 128), (500, 700)], [(32, 96), (64, 128)], []])
def test_the_hash_does_not_depend_on_which_rows_came_by(
    largest: int, bands: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_hash, "_WHOLE_HASH_BYTES", largest)
    monkeypatch.setattr(content_hash, "_BAND_BYTES", 300)
    pixels = np.random.default_rng(0).integers(0, 4000, (900, 20, 2)).astype(np.uint16)
    source = SourceImage(pixels)
    row_hash = source.row_hash()
    for y0, y1 in bands:
        source.hash_rows(row_hash, y0, pixels[y0:y1])
    found = source.identify(row_hash=row_hash)
    assert found == source.image_id == SourceImage(pixels).image_id
    assert found.startswith("s") == (largest == 1000)
    changed = pixels.copy()
    changed[0, 3, 1] += 1
    assert SourceImage(changed).image_id != found
    swapped = SourceImage(pixels.astype(">u2"))
    assert swapped.image_id == found


def test_a_large_image_is_hashed_by_a_bounded_number_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0

    class Counted:
        shape, dtype = (50_000, 4000, 1), np.dtype(np.uint8)

        def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
            nonlocal read
            y, x = (len(range(*part.indices(n))) for part, n in zip(key, self.shape, strict=False))
            read += y * x
            return np.zeros((y, x, 1), np.uint8)

    assert SourceImage(Counted()).image_id.startswith("s")
    assert read <= 66 << 20


def test_rows_are_hashed_from_the_top_without_a_gap() -> None:
    pixels = np.arange(40, dtype=np.uint8).reshape(8, 5, 1)
    row_hash = SourceImage(pixels).row_hash()
    with pytest.raises(ValueError, match="row 0 is to be hashed before row 3"):
        row_hash.update(3, pixels[3:])
    row_hash.update(0, pixels[:6])
    with pytest.raises(ValueError, match="row 6 has not been hashed"):
        row_hash.hexdigest()
    row_hash.update(4, pixels[4:])
    assert row_hash.hexdigest() == SourceImage(pixels).image_id


def test_an_image_is_read_once_for_its_id_and_its_channels_have_one_of_their_own() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (90, 20, 2)).astype(np.uint8)
    source = SourceImage(pixels)
    assert source.known_id is None
    found = source.image_id
    pixels[0] = 0
    assert source.image_id == source.known_id == found
    one = source.select([1])
    assert one.known_id is None
    assert one.image_id == SourceImage(pixels[..., 1:]).image_id
