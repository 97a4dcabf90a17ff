from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from napari_cellclass.core.stats.logistic import fit_logistic


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_regression_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, 120, p=[0.5, 0.3, 0.15, 0.05])
    x = rng.normal(0, 1, (120, 5)) * [1, 10, 0.1, 1000, 1] + labels[:, None] * [0.5, 1, 0.02, 0, 0] + 7
    ours = fit_logistic(x, labels, 4, c=0.7).predict(x)
    z = StandardScaler().fit_transform(x)
    theirs = LogisticRegression(C=0.7, class_weight="balanced", max_iter=5000, tol=1e-9).fit(z, labels)
    np.testing.assert_allclose(ours, theirs.predict_proba(z), atol=2e-4)


def test_a_class_without_tiles_and_a_feature_without_spread_do_no_harm() -> None:
    x = np.array([[0.0, 5], [0, 5], [1, 5], [1, 5]])
    prob = fit_logistic(x, np.array([0, 0, 2, 2]), 3).predict(x)
    assert np.isfinite(prob).all()
    assert prob.argmax(axis=1).tolist() == [0, 0, 2, 2]


def test_features_that_say_nothing_give_equal_chances_whatever_the_counts() -> None:
    labels = np.array([0] * 9 + [1])
    prob = fit_logistic(np.ones((10, 2)), labels, 2).predict(np.ones((1, 2)))
    np.testing.assert_allclose(prob, 0.5, atol=1e-4)
