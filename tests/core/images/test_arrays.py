from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images.arrays import array_image


@given(st.permutations("TCZYX"), st.integers(0, 1), st.integers(0, 2))
def test_axes_may_come_in_any_order(axes: list[str], t: int, z: int) -> None:
    whole = np.arange(2 * 4 * 3 * 5 * 6, dtype=np.int32).reshape(2, 4, 3, 5, 6)  # T, C, Z, Y, X
    given_axes = whole.transpose(["TCZYX".index(letter) for letter in axes])
    image = array_image(given_axes, axes="".join(axes), t=t, z=z)
    assert np.array_equal(image.read(0, 0, 5, 6), np.moveaxis(whole[t, :, z], 0, -1))
    assert image.plane == {"T": t, "Z": z}


def test_nothing_is_read_before_it_is_asked_for() -> None:
    class Lazy:
        shape, dtype = (1000, 1000), np.dtype("uint8")

        def __getitem__(self, key: Any) -> np.ndarray:
            rows, columns = key
            assert (rows.stop - rows.start, columns.stop - columns.start) == (2, 3)
            return np.ones((2, 3), np.uint8)

    assert array_image(Lazy()).read(4, 5, 6, 8).shape == (2, 3, 1)


def test_three_samples_are_colours_unless_axes_say_otherwise() -> None:
    pixels = np.zeros((8, 9, 3), np.uint8)
    assert array_image(pixels).rgb
    assert not array_image(pixels, axes="YXC").rgb


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((4, 5), {"axes": "YXC"}, "one letter of TCZYXS per axis"),
        ((4, 5, 6), {"axes": "YYX"}, "one letter of TCZYXS per axis"),
        ((4, 5, 6), {"axes": "CZX"}, "one letter of TCZYXS per axis"),
        ((20, 50, 60), {}, "ambiguous"),
        ((4, 5), {"pixel_size_um": -1}, "is no size"),
        ((4, 5), {"pixel_size_um": (1, 2, 3)}, "is no size"),
        ((2, 4, 5), {"channel_names": ["DNA"]}, "2 channels, but 1 channel_names"),
        ((2, 4, 5), {"axes": "TYX", "t": 2}, "no time point 2"),
        ((0, 5), {}, "empty"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(shape: tuple[int, ...], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ImageError, match=words):
        array_image(np.zeros(shape, np.uint8), **options)
