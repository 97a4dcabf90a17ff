from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.feature_spec import FeatureSpec, feature_preprocess, is_colour
from napari_cellclass.core.tiles.preprocess import PreprocessSpec


def spec(**changes: object) -> FeatureSpec:
    values = {
        "preprocess": PreprocessSpec(channels=3, input_px=(128, 128)), "backbone_sha256": "a",
        "texture_version": 1, "columns": (816, 54),
    }  # fmt: skip
    return FeatureSpec(**values | changes)


def test_the_key_changes_with_whatever_changes_a_feature() -> None:
    other = PreprocessSpec(channels=3, input_px=(128, 128), high=99)
    changed = [
        spec(), spec(preprocess=other), spec(colour=True, columns=(272, 54)), spec(backbone="own"),
        spec(backbone_sha256="b"), spec(texture_version=2), spec(columns=(0, 54), backbone=None),
    ]  # fmt: skip
    assert len({one.key for one in changed}) == len(changed)
    assert FeatureSpec.model_validate_json(spec().model_dump_json()).key == spec().key


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": (0, 0)}, {"columns": (0, 54)}, {"backbone": None}, {"columns": (-1, 54)},
        {"colour": True, "preprocess": PreprocessSpec(channels=2, input_px=(8, 8))},
    ],
)  # fmt: skip
def test_features_that_cannot_be_are_refused(changes: dict) -> None:
    with pytest.raises(ValidationError):
        spec(**changes)


def test_three_channels_are_colours_where_the_file_or_the_user_says_so() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    assert is_colour(SourceImage(pixels, rgb=True))
    assert not is_colour(SourceImage(pixels))
    assert is_colour(SourceImage(pixels), "rgb")
    assert not is_colour(SourceImage(pixels, rgb=True), "channels")
    assert not is_colour(SourceImage(pixels[..., :2]), "rgb")


def test_colours_share_a_range_and_channels_have_their_own() -> None:
    sample = np.random.default_rng(0).integers(0, (4000, 400, 40), (10_000, 3)).astype(np.uint16)
    assert feature_preprocess(np.dtype(np.uint8), 3, colour=True).whole_range == (0, 255)
    assert feature_preprocess(sample.dtype, 3, True, sample).channel_ranges is None
    ranges = feature_preprocess(sample.dtype, 3, False, sample).channel_ranges
    assert ranges is not None
    np.testing.assert_allclose(ranges, np.percentile(sample, (0.2, 99.8), axis=0).T)
