"""Images of Qt that are made of arrays."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cellclass.widgets.common.images import image_of


@pytest.mark.parametrize("channels", [3, 4])
def test_an_image_keeps_its_pixels_when_the_array_is_gone(channels: int) -> None:
    rng = np.random.default_rng(0)
    expected = rng.integers(0, 256, (7, 5, channels)).astype(np.uint8)
    expected[..., 3:] = 255
    image = image_of(expected.copy()).scaled(5, 7, Qt.AspectRatioMode.KeepAspectRatio)
    gc.collect()
    others = [np.zeros((7, 5, channels), np.uint8).tobytes() for _ in range(1000)]
    found = [[image.pixelColor(x, y).getRgb()[:channels] for x in range(5)] for y in range(7)]
    assert np.array_equal(np.array(found), expected)
    assert others
