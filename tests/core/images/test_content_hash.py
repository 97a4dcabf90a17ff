from __future__ import annotations

import numpy as np
import pytest

from napari_cellclass.core.images import content_hash as pixel_hash
from napari_cellclass.core.images.content_hash import PassingHash
from napari_cellclass.core.images.source import SourceImage


@pytest.mark.parametrize("largest", [1 << 30, 1000])
@pytest.mark.parametrize("bands", [[(0, 900)], [(0, 64), (64, 128), (500, 700)], [(32, 96), (64, 128)], []])
def test_the_hash_does_not_depend_on_which_rows_came_by(
    largest: int, bands: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_hash, "_WHOLE_HASH_BYTES", largest)
    monkeypatch.setattr(pixel_hash, "_BAND_BYTES", 300)
    pixels = np.random.default_rng(0).integers(0, 4000, (900, 20, 2)).astype(np.uint16)
    source = SourceImage(pixels)
    passing = PassingHash(source)
    for y0, y1 in bands:
        passing.rows(y0, pixels[y0:y1])
    found = passing.finish()
    assert found == source.image_id
    assert found.startswith("s") == (largest == 1000)
    changed = pixels.copy()
    changed[0, 3, 1] += 1
    assert SourceImage(changed).image_id != found
    swapped = SourceImage(pixels.astype(">u2"))
    assert swapped.image_id == found


def test_a_large_image_is_hashed_by_a_bounded_part_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
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
