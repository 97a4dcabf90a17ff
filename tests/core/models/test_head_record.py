from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.core.models.head_record import HeadRecord, balanced_accuracy, decide_network, mix

TRUTH = np.arange(40) % 2


def confident(right: float, probability: float) -> NDArray[np.float32]:
    """Probabilities of two classes, of which the true one has the higher one in so many of the tiles."""
    good = np.arange(40) < right * 40
    true = np.where(good, probability, 1 - probability)
    return np.stack([np.where(k == TRUTH, true, 1 - true) for k in range(2)], axis=1).astype(np.float32)


def test_a_network_is_mixed_in_where_held_out_tiles_gain_two_nats() -> None:
    weak, strong = confident(0.8, 0.8), confident(1.0, 0.95)
    joined = decide_network(weak, strong, TRUTH)
    assert joined.joined
    assert joined.gain >= 2
    assert (joined.accuracy_without, joined.accuracy_network) == (0.8, 1.0)
    for network in (weak, confident(0.5, 0.9)):
        left_out = decide_network(weak, network, TRUTH)
        assert not left_out.joined
        assert left_out.gain < 2


def test_the_gain_is_that_of_the_mixture_not_of_the_network() -> None:
    a, b = confident(0.9, 0.9), confident(0.95, 0.7)
    rows = np.arange(40)
    gain = np.log(mix(a, b)[rows, TRUTH]).sum() - np.log(a[rows, TRUTH]).sum()
    assert decide_network(a, b, TRUTH).gain == pytest.approx(gain, rel=1e-5)


def test_a_certain_error_of_either_is_finite() -> None:
    certain = np.eye(2, dtype=np.float32)[1 - TRUTH]
    assert np.isfinite(decide_network(certain, certain, TRUTH).gain)
    assert balanced_accuracy(certain, TRUTH) == 0


def test_a_record_tells_each_part_and_the_whole_and_comes_back_from_a_manifest() -> None:
    record = HeadRecord(
        held_out_by="group", tiles=40, groups=8, penalties={"backbone": 0.1, "texture": 1.0},
        accuracies={"backbone": 0.9, "texture": 0.8}, accuracy=0.95, curve=((10, 0.7),),
        network=decide_network(confident(0.8, 0.8), confident(1.0, 0.95), TRUTH),
    )  # fmt: skip
    assert HeadRecord.of({"head": record.model_dump(mode="json")}) == record
    assert HeadRecord.of({}) is None
    told = record.describe()
    for words in ("leave-one-group-out cross-validation over 8 groups", "backbone 0.900, texture 0.800, together 0.950",
                  "is mixed in", "0.800 without it, 1.000 of it alone"):  # fmt: skip
        assert words in told
    assert record.points == ((10, 0.7), (40, 0.95))
    alone = record.model_copy(update={"held_out_by": "tile", "network": None})
    assert "leave-one-out cross-validation over single tiles" in alone.brief()
    many = record.model_copy(update={"tiles": 10_000, "groups": 200})
    assert "64-fold cross-validation over 200 groups" in many.brief(), "as they are left out in sets"
