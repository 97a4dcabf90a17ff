"""Multinomial logistic regression: a linear baseline that shows how little is needed to separate classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # its parts are imported when they are used: half a second
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class LogisticModel:
    """A fitted regression of K classes on F features.

    Parameters
    ----------
    mean, scale
        float64, shape (F,): what features are standardised with.
    weights, intercept
        float64, shapes (F, K) and (K,).
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    intercept: NDArray[np.float64]

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities (n, K) of features (n, F)."""
        return np.asarray(scipy.special.softmax((x - self.mean) / self.scale @ self.weights + self.intercept, axis=1))


def fit_logistic(
    x: NDArray[np.float64], labels: NDArray[np.integer], classes: int, c: float = 1.0, least_sd: float = 1e-9
) -> LogisticModel:
    """Fit softmax regression with an L2 penalty, all classes weighted equally.

    Minimises ``c sum_i w_i CE_i + |W|^2 / 2`` over standardised features, ``w_i = n / (K n_class)``, without a
    penalty on the intercept (Hastie, Tibshirani & Friedman 2009, ch. 4.4 and 18.3.2), by Newton's method.

    Parameters
    ----------
    x
        Shape (n, F), finite.
    labels
        Shape (n,): 0 to ``classes`` - 1; a class may be missing.
    classes
        K.
    c
        Inverse strength of the penalty.
    least_sd
        Features whose standard deviation is at most this fraction of the larger of 1 and their mean keep their scale:
        as they hardly vary, they then hardly count.
    """
    n, features = x.shape
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > least_sd * np.maximum(1, np.abs(mean)), scale, 1.0)
    z = (x - mean) / scale
    truth = np.eye(classes)[labels]
    counts = truth.sum(axis=0)
    tile_weight = c * (n / (np.count_nonzero(counts) * np.maximum(counts, 1)))[labels]

    def parts(flat: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return flat[: features * classes].reshape(features, classes), flat[features * classes :]

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, intercept = parts(flat)
        log_prob = scipy.special.log_softmax(z @ weights + intercept, axis=1)
        loss = -(tile_weight * (truth * log_prob).sum(axis=1)).sum() + 0.5 * (weights**2).sum()
        error = tile_weight[:, None] * (np.exp(log_prob) - truth)
        return float(loss), np.concatenate([(z.T @ error + weights).ravel(), error.sum(axis=0)])

    def curvature(flat: NDArray[np.float64], along: NDArray[np.float64]) -> NDArray[np.float64]:
        (weights, intercept), (v, v0) = parts(flat), parts(along)
        prob = scipy.special.softmax(z @ weights + intercept, axis=1)
        step = z @ v + v0
        change = tile_weight[:, None] * prob * (step - (prob * step).sum(axis=1, keepdims=True))
        return np.concatenate([(z.T @ change + v).ravel(), change.sum(axis=0)])

    start = np.zeros((features + 1) * classes)
    # Not L-BFGS: SciPy's threads make a step of so few numbers take milliseconds on a busy machine.
    found = scipy.optimize.minimize(
        objective, start, jac=True, hessp=curvature, method="Newton-CG", options={"xtol": 1e-6}
    ).x
    return LogisticModel(
        mean, scale, found[: features * classes].reshape(features, classes), found[features * classes :]
    )
