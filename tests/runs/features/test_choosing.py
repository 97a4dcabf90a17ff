from __future__ import annotations

import numpy as np
import pytest

from napari_cellclass.core.common.errors import CancelledError, ImageError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.runs.features.choosing import choose_features


def image(name: str, bright: float, channels: int = 2, dtype: str = "uint16", rgb: bool = False) -> SourceImage:
    pixels = np.random.default_rng(0).uniform(0, bright, (50, 60, channels)).astype(dtype)
    return SourceImage(pixels, name, rgb=rgb)


def test_all_images_share_the_range_of_each_channel() -> None:
    dark, bright = image("dark", 100), image("bright", 4000)
    ranges = choose_features([dark, bright], pretrained=False).preprocess.channel_ranges
    assert ranges is not None
    assert len(ranges) == 2
    pixels = np.concatenate([dark.data.reshape(-1, 2), bright.data.reshape(-1, 2)])
    np.testing.assert_allclose(ranges, np.percentile(pixels, (0.2, 99.8), axis=0).T)


def test_colours_are_one_view_and_channels_are_several() -> None:
    colour = image("a", 255, 3, "uint8", rgb=True)
    assert choose_features([colour]).columns[0] == 272
    assert choose_features([colour]).preprocess.whole_range == (0, 255)
    assert choose_features([colour], "channels").columns[0] == 3 * 272
    assert choose_features([image("b", 255, 3, "uint8")]).columns[0] == 3 * 272


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (image("b", 9, 1), "a has 2 channels, but b has 1"),
        (image("b", 9, 2, "float32"), "a has pixels of uint16, but b of float32"),
    ],
)
def test_images_that_do_not_belong_together_are_told_in_a_line(other: SourceImage, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        choose_features([image("a", 9), other])


def test_colours_among_channels_are_told_in_a_line() -> None:
    with pytest.raises(ImageError, match="--colour rgb or channels"):
        choose_features([image("a", 9, 3, "uint8"), image("b", 9, 3, "uint8", rgb=True)])


def test_choosing_can_be_cancelled() -> None:
    with pytest.raises(CancelledError):
        choose_features([image("a", 9)], task=Task(cancelled=lambda: True))
