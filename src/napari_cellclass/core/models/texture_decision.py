"""A linear model on texture features beside a network: whether it joins, and how probabilities are pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are used: half a second
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.stats.calibration import fit_temperature, scale_by_temperature
from napari_cellclass.core.stats.logistic import LogisticModel, fit_logistic
from napari_cellclass.core.stats.metrics import accuracies, confusion_matrix

MIN_PROBABILITY = 1e-6
"""Probabilities are clipped here, so that a probability of 0 does not rule a class out."""

MAX_FEATURE = 8.0
"""Standardised features are clipped to plus or minus this, for tiles unlike all training tiles."""

# Below so many training tiles a network is overconfident, with temperatures of 2 to 4, and weighs less.
_FEW, _WEIGHT_OF_FEW = 100, 0.25
# Below so many training tiles the linear model joins unless held-out tiles are evidence against it, above only if they
# are evidence for it, both by this difference of log-likelihoods: odds of 7 to 1. Measured on 25 to 190 tiles; the
# limit lies a little above.
_MANY, _EVIDENCE = 250, 2.0
# Cross-entropy of the network, after temperature scaling, below which there is little to gain. Not higher: held-out
# tiles are often of the fields that were trained on, and other fields are classified less well.
_GOOD = 0.05
# Penalty as of scikit-learn's C = 1 with two classes, whose weights are one vector instead of two.
_C = 0.5
# A feature with a smaller sd, as a fraction of its mean in training tiles, counts as constant: it varies by rounding.
_MIN_SD = 0.003


class TextureHead(BaseModel):
    """Whether texture features join a network, and why; stored in a model's manifest.

    Attributes
    ----------
    joined
        Whether the model uses texture features.
    why
        Reason of the decision.
    weight
        See :func:`network_weight`; meaningless where texture did not join.
    tiles, groups
        Numbers of held-out tiles and groups that decided.
    loss_network, loss_both
        Class-balanced cross-entropy of these tiles without and with texture, each after its own temperature scaling;
        None where it was not measured.
    accuracy_network, accuracy_both
        Balanced accuracy of these tiles without and with texture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    joined: bool
    why: str
    weight: float = _WEIGHT_OF_FEW
    tiles: int = Field(ge=1)
    groups: int = Field(ge=1)
    loss_network: float
    loss_both: float | None = None
    accuracy_network: float
    accuracy_both: float | None = None

    @classmethod
    def of(cls, training: Mapping[str, Any]) -> TextureHead | None:
        """Read it from a manifest's record of training; None where it has none that is valid."""
        try:
            return cls.model_validate(training.get("texture_head"))
        except ValidationError:
            return None

    def brief(self) -> str:
        """Return a sentence with the accuracy without and with texture; empty where texture did not join.

        The curves of a training are those of the network alone.
        """
        if not self.joined or self.accuracy_both is None:
            return ""
        return (
            f"Texture features joined the network: balanced accuracy {self.accuracy_network:.3f} without them, "
            f"{self.accuracy_both:.3f} with them."
        )

    def describe(self) -> str:
        """Describe the decision in one line: weight, reason, and the metrics without and with texture."""
        tested = f"{counted(self.tiles, 'held-out tile')} of {counted(self.groups, 'group')}"
        text = f"joined (weight of the network: {self.weight:g})" if self.joined else "did not join"
        text += f": {self.why}; {tested}: cross-entropy {self.loss_network:.3f}"
        if self.loss_both is None or self.accuracy_both is None:
            return f"{text}, balanced accuracy {self.accuracy_network:.3f} without it"
        return (
            f"{text} without it, {self.loss_both:.3f} with it; balanced accuracy {self.accuracy_network:.3f} "
            f"and {self.accuracy_both:.3f}"
        )


def fit_head(features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], classes: int) -> LogisticModel:
    """Fit the linear model to features (n, F) of training tiles and their class indices, shape (n,)."""
    return fit_logistic(features.astype(np.float64), labels, classes, _C, _MIN_SD)


def head_logits(head: LogisticModel, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the linear model's logits (n, K) for features (n, F), clipped as the network in the bundle does."""
    z = np.clip((features - head.mean) / head.scale, -MAX_FEATURE, MAX_FEATURE)
    return np.asarray(z @ head.weights + head.intercept)


def network_weight(trained: int) -> float:
    """Return the weight of a network's log-probabilities in the pool, for a number of training tiles.

    The logits of the linear model have weight 1.
    """
    return _WEIGHT_OF_FEW if trained < _FEW else 1.0


def pool_probabilities(network: NDArray[np.float32], logits: NDArray[np.float64], weight: float) -> NDArray[np.float32]:
    """Pool a network's probabilities (n, K) and logits (n, K) log-linearly: float32, shape (n, K).

    ``softmax(weight log p + logits)``, a logarithmic opinion pool (Genest & Zidek, Statistical Science 1:114, 1986).
    """
    mixed = weight * np.log(np.maximum(network.astype(np.float64), MIN_PROBABILITY)) + logits
    return np.asarray(scipy.special.softmax(mixed, axis=1), np.float32)


def skip_texture(
    network: NDArray[np.float32], truth: NDArray[np.integer[Any]], groups: Sequence[str]
) -> TextureHead | None:
    """Return the decision not to compute texture, as the network is good enough; None where texture may help.

    Parameters
    ----------
    network
        The network's probabilities (n, K) for held-out tiles.
    truth, groups
        Class indices and groups of these tiles.
    """
    loss = float(np.mean(_losses(network, truth)))
    if loss >= _GOOD:
        return None
    return TextureHead(
        joined=False, why="the network leaves little to gain", tiles=len(truth), groups=len(set(groups)),
        loss_network=loss, accuracy_network=_balanced(network, truth),
    )  # fmt: skip


def decide_texture(
    network: NDArray[np.float32],
    both: NDArray[np.float32],
    truth: NDArray[np.integer[Any]],
    groups: Sequence[str],
    trained: int,
) -> TextureHead:
    """Decide from held-out tiles whether texture joins.

    Below 250 training tiles it does unless they are evidence against it, as a network that was trained on so few tiles
    is seldom the better one, and few held-out tiles are weak evidence; else only if they are evidence for it.

    Parameters
    ----------
    network, both
        Probabilities (n, K) for held-out tiles: the network's, and pooled with those of a linear model that was not
        fitted to these tiles.
    truth, groups
        Class indices and groups of these tiles.
    trained
        Number of training tiles.
    """
    before, after = _losses(network, truth), _losses(both, truth)
    excess = float(np.sum(after - before))
    if excess <= -_EVIDENCE:
        joined, why = True, "held-out tiles are classified better with it"
    elif excess > _EVIDENCE:
        joined, why = False, "held-out tiles are classified worse with it"
    elif trained < _MANY:
        joined, why = True, "training tiles are few, and held-out tiles are no evidence against it"
    else:
        joined, why = False, "held-out tiles are no evidence for it"
    return TextureHead(
        joined=joined, why=why, weight=network_weight(trained), tiles=len(truth), groups=len(set(groups)),
        loss_network=float(before.mean()), loss_both=float(after.mean()),
        accuracy_network=_balanced(network, truth), accuracy_both=_balanced(both, truth),
    )  # fmt: skip


def _losses(prob: NDArray[np.float32], truth: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return the class-balanced cross-entropies (n,) of tiles, after the temperature scaling that fits them best."""
    scaled = scale_by_temperature(prob, fit_temperature(prob, truth)).astype(np.float64)
    counts = np.bincount(truth, minlength=prob.shape[1])
    weight = len(truth) / (np.count_nonzero(counts) * counts[truth])
    return np.asarray(-weight * np.log(np.maximum(scaled[np.arange(len(truth)), truth], MIN_PROBABILITY)))


def _balanced(prob: NDArray[np.float32], truth: NDArray[np.integer[Any]]) -> float:
    return float(accuracies(confusion_matrix(truth, prob.argmax(axis=1), prob.shape[1]))[1])
