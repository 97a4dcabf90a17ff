from __future__ import annotations

import json

import numpy as np
import pytest

from napari_cellclass.core.models.drift import constant_output_warnings, drift_warnings, training_statistics
from napari_cellclass.core.tiles.statistics import channel_stats


def tiles(mean: float, sd: float, n: int = 60, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    level = mean * rng.uniform(0.8, 1.25, (n, 1, 1, 1))
    return level + sd * rng.uniform(0.8, 1.25, (n, 1, 1, 1)) * rng.normal(0, 1, (n, 16, 16, 2))


TRAINED = json.loads(json.dumps(training_statistics(channel_stats(tiles(500, 60)))))


def test_fields_like_the_training_images_raise_no_warning() -> None:
    for seed in range(1, 6):
        assert list(drift_warnings(channel_stats(tiles(500, 60, seed=seed)), TRAINED)) == []


@pytest.mark.parametrize(
    ("mean", "sd", "words"),
    [(1000, 60, "brighter"), (250, 60, "darker"), (500, 120, "richer in contrast"), (500, 20, "poorer in contrast")],
)
def test_a_field_out_of_the_training_range_is_warned_of_per_channel(mean: float, sd: float, words: str) -> None:
    field = tiles(500, 60, seed=1)
    field[..., 1] = tiles(mean, sd, seed=2)[..., 1]
    (text,) = drift_warnings(channel_stats(field), TRAINED, ("DAPI", "GFP"))
    assert text.startswith(f"channel GFP is {words} than the training images")


@pytest.mark.parametrize("outside", [0.1, 0.4, 0.5, 0.55, 0.6, 0.8, 1.0])
@pytest.mark.parametrize(("factor", "word"), [(4, "brighter"), (0.1, "darker")])
def test_a_field_is_out_of_the_training_range_where_most_of_its_tiles_are(
    outside: float, factor: float, word: str
) -> None:
    stats = channel_stats(tiles(500, 60, seed=1))
    stats[: round(outside * len(stats)), 0] *= factor
    found = list(drift_warnings(stats, TRAINED))
    assert len(found) == (2 if outside > 0.5 else 0)  # one of each channel
    assert all(word in text for text in found)


def test_a_few_unusual_tiles_a_model_without_statistics_and_no_finite_tile_give_no_warning() -> None:
    field = tiles(500, 60, seed=1)
    field[:20] *= 4
    assert list(drift_warnings(channel_stats(field), TRAINED)) == []
    assert list(drift_warnings(channel_stats(4 * field), None)) == []
    assert list(drift_warnings(channel_stats(np.full((4, 8, 8, 2), np.nan)), TRAINED)) == []


def test_constant_probabilities_are_warned_of_and_confident_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    same = np.tile([0.503, 0.497], (50, 1)) + rng.normal(0, 1e-4, (50, 1)) * [1, -1]
    assert len(list(constant_output_warnings(same))) == 1
    doubt = 10 ** rng.uniform(-9, -4, 50)
    assert list(constant_output_warnings(np.stack([1 - doubt, doubt], axis=1))) == []
    assert list(constant_output_warnings(same[:5])) == [], "too few tiles to say"
