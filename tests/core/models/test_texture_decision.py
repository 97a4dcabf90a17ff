"""When a linear model on texture features joins a network, and what comes of the two."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.core.models.texture_decision import (
    MAX_FEATURE,
    TextureHead,
    decide_texture,
    fit_head,
    head_logits,
    network_weight,
    pool_probabilities,
    skip_texture,
)

TRUTH = np.array([0, 1] * 20)
GROUPS = [f"g{i // 10}" for i in range(40)]


def probabilities(errors: int, confidence: float = 0.9) -> NDArray[np.float32]:
    """Probabilities for 40 tiles of two classes, the first ``errors`` of which are predicted as the other class."""
    predicted = np.where(np.arange(40) < errors, 1 - TRUTH, TRUTH)
    return np.where(np.eye(2)[predicted] == 1, confidence, 1 - confidence).astype(np.float32)


@pytest.mark.parametrize(
    ("network", "both", "trained", "joined", "why"),
    [(12, 4, 5000, True, "better with it"), (12, 11, 5000, False, "no evidence for it"),
     (12, 12, 99, True, "training tiles are few"), (12, 13, 249, True, "training tiles are few"),
     (12, 13, 250, False, "no evidence for it"), (8, 16, 30, False, "worse with it")],
)  # fmt: skip
def test_texture_joins_where_held_out_tiles_are_evidence_for_it_or_training_tiles_are_few(
    network: int, both: int, trained: int, joined: bool, why: str
) -> None:
    found = decide_texture(probabilities(network), probabilities(both), TRUTH, GROUPS, trained)
    assert found.joined is joined
    assert why in found.why
    assert (found.tiles, found.groups) == (40, 4)
    assert found.accuracy_network == pytest.approx(1 - network / 40)
    assert found.accuracy_both == pytest.approx(1 - both / 40)


def test_the_confidence_of_a_network_does_not_decide() -> None:
    # Each is judged after the temperature that suits it best, so that one which says 0.999 has no drawback.
    meek, bold = (
        decide_texture(probabilities(12, confidence), probabilities(12), TRUTH, GROUPS, 5000)
        for confidence in (0.7, 0.999)
    )
    assert not meek.joined
    assert not bold.joined
    assert bold.loss_network == pytest.approx(meek.loss_network, rel=0.05)


def test_a_rare_class_weighs_as_much_as_a_common_one() -> None:
    truth = np.array([0] * 36 + [1] * 4)
    called = np.eye(2, dtype=np.float32) * 0.8 + 0.1
    rare, common = called[np.where(truth == 1, 0, truth)], called[np.where(truth == 0, 1, truth)]
    by_class = [decide_texture(prob, prob, truth, GROUPS, 50).loss_network for prob in (rare, common)]
    # One class is wholly incorrect in both; with equal weights of tiles, the second would lose nine times as much.
    assert by_class[1] < 2 * by_class[0]


def test_a_network_that_leaves_nothing_to_gain_is_left_alone() -> None:
    found = skip_texture(probabilities(0), TRUTH, GROUPS)
    assert found is not None
    assert not found.joined
    assert found.loss_both is None
    assert skip_texture(probabilities(2), TRUTH, GROUPS) is None


def test_the_pool_is_a_weighted_product_of_probabilities() -> None:
    rng = np.random.default_rng(0)
    prob, logits = rng.dirichlet(np.ones(3), 50).astype(np.float32), rng.normal(0, 2, (50, 3))
    for weight in (0.25, 1.0):
        product = prob.astype(float) ** weight * np.exp(logits)
        expected = product / product.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(pool_probabilities(prob, logits, weight), expected, rtol=1e-5)
        even = np.full((50, 3), 1 / 3, np.float32)
        same = pool_probabilities(prob**0, logits, weight)
        np.testing.assert_allclose(pool_probabilities(even, logits, weight), same, rtol=1e-5)


def test_a_network_of_few_tiles_weighs_less_and_the_weight_is_recorded() -> None:
    assert network_weight(99) < network_weight(100) == 1
    for trained in (99, 100):
        found = decide_texture(probabilities(12), probabilities(4), TRUTH, GROUPS, trained)
        assert found.weight == network_weight(trained)


def test_a_probability_of_0_rules_no_class_out() -> None:
    prob = pool_probabilities(np.array([[0, 1]], np.float32), np.array([[8.0, 0]]), 0.25)
    assert np.isfinite(prob).all()
    assert prob[0, 0] > 0.9


def test_a_feature_that_hardly_varies_hardly_counts() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    good = labels[:, None] + rng.normal(0, 1, (60, 1))
    nearly_constant = -5 + 1e-5 * labels[:, None]  # separates the classes, by less than engines round
    head = fit_head(np.hstack([good, nearly_constant]), labels, 2)
    moved = np.hstack([good, nearly_constant + 1e-5])
    assert np.abs(head_logits(head, moved) - head_logits(head, np.hstack([good, nearly_constant]))).max() < 1e-4


def test_a_tile_unlike_all_others_counts_as_one_at_the_limit() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(0, 1, (60, 2)), np.arange(60) % 2
    head = fit_head(x + labels[:, None], labels, 2)
    at_limit = head.mean + MAX_FEATURE * head.scale
    np.testing.assert_allclose(head_logits(head, at_limit[None] * 1e6), head_logits(head, at_limit[None]))


def test_the_decision_is_described_in_one_line() -> None:
    joined = decide_texture(probabilities(12), probabilities(4), TRUTH, GROUPS, 5000).describe()
    assert "\n" not in joined
    assert joined.startswith("joined (weight of the network: 1): ")
    assert "40 held-out tiles of 4 groups" in joined
    assert "balanced accuracy 0.700 and 0.900" in joined
    alone = skip_texture(probabilities(0), TRUTH, GROUPS)
    assert alone is not None
    assert alone.describe().startswith("did not join: the network leaves little to gain")
    assert TextureHead.model_validate(alone.model_dump(mode="json")) == alone


def test_an_unknown_record_in_a_manifest_is_not_an_error() -> None:
    head = decide_texture(probabilities(12), probabilities(4), TRUTH, GROUPS, 5000)
    assert TextureHead.of({"texture_head": head.model_dump(mode="json")}) == head
    assert TextureHead.of({}) is None
    assert TextureHead.of({"texture_head": {"joined": True}}) is None
    assert TextureHead.of({"texture_head": ["joined"]}) is None
