"""A linear model on hand-made texture features beside a network: whether it joins, and how their answers are pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.special import softmax

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.stats.calibration import fit_temperature, scale_by_temperature
from napari_cellclass.core.stats.logistic import LogisticModel, fit_logistic
from napari_cellclass.core.stats.metrics import accuracies, confusion_matrix

MIN_PROBABILITY = 1e-6
"""Probabilities below this count as this, so that an answer of 0 does not rule a class out for good."""

MAX_FEATURE = 8.0
"""Standardised features beyond this are as good as this, for tiles unlike all that were trained on."""

# Below so many training tiles a network answers far too sure of itself, with temperatures of 2 to 4, and weighs less.
_FEW, _WEIGHT_OF_FEW = 100, 0.25
# Below so many the linear model joins unless held-out tiles speak against it, above only if they speak for it, both by
# this difference of log-likelihoods: odds of 7 to 1. Measured on 25 to 190 tiles; the limit lies a little above.
_MANY, _EVIDENCE = 250, 2.0
# Cross-entropy of the network, after its temperature, below which there is nothing to be gained. Not more: held-out
# tiles are often of the fields that were trained on, and other fields are told apart less well.
_GOOD = 0.05
# Penalty as of scikit-learn's C = 1 with two classes, whose weights are one vector instead of two.
_C = 0.5
# A feature that varies less than this part of its mean in training tiles is as good as constant; rounding would show.
_LEAST_SD = 0.003


class TextureHead(BaseModel):
    """Whether texture features join a network, and what its held-out tiles said; stored in a model's manifest.

    Attributes
    ----------
    joined
        Whether the model holds them.
    why
        Why, or why not.
    weight
        See :func:`network_weight`; says nothing where texture did not join.
    tiles, groups
        Held-out tiles and groups that were asked.
    loss_network, loss_both
        Cross-entropy of these tiles, each after its own temperature, all classes weighing alike; None where it was
        not looked at.
    accuracy_network, accuracy_both
        Their balanced accuracy.
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
        """Read it from what a manifest tells of a training; None where that tells nothing, or something else."""
        try:
            return cls.model_validate(training.get("texture_head"))
        except ValidationError:
            return None

    def brief(self) -> str:
        """Say that texture joined, and what the network is without it: its curves are of itself alone."""
        if not self.joined or self.accuracy_both is None:
            return ""
        return (
            f"Texture features joined the network: balanced accuracy {self.accuracy_network:.3f} without them, "
            f"{self.accuracy_both:.3f} with them."
        )

    def describe(self) -> str:
        """Tell in one line whether texture joined, its weight, and the held-out tiles without and with it."""
        held = f"{counted(self.tiles, 'held-out tile')} of {counted(self.groups, 'group')}"
        text = f"joined, the network weighs {self.weight:g} beside it" if self.joined else "did not join"
        text += f": {self.why}; {held}: cross-entropy {self.loss_network:.3f}"
        if self.loss_both is None or self.accuracy_both is None:
            return f"{text}, balanced accuracy {self.accuracy_network:.3f} without it"
        return (
            f"{text} without it, {self.loss_both:.3f} with it; balanced accuracy {self.accuracy_network:.3f} "
            f"and {self.accuracy_both:.3f}"
        )


def fit_head(features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], classes: int) -> LogisticModel:
    """Fit the linear model to features (n, F) of training tiles and their classes, shape (n,)."""
    return fit_logistic(features.astype(np.float64), labels, classes, _C, _LEAST_SD)


def head_logits(head: LogisticModel, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Give the linear model's logits (n, K) of features (n, F), limited as the network in the bundle limits them."""
    z = np.clip((features - head.mean) / head.scale, -MAX_FEATURE, MAX_FEATURE)
    return np.asarray(z @ head.weights + head.intercept)


def network_weight(trained: int) -> float:
    """Give the weight of a network's logarithms of probabilities in the pool; those of the linear model weigh 1."""
    return _WEIGHT_OF_FEW if trained < _FEW else 1.0


def pool_probabilities(network: NDArray[np.float32], logits: NDArray[np.float64], weight: float) -> NDArray[np.float32]:
    """Pool a network's probabilities (n, K) and logits (n, K) log-linearly: float32, shape (n, K).

    ``softmax(weight log p + logits)``, a logarithmic opinion pool (Genest & Zidek, Statistical Science 1:114, 1986).
    """
    mixed = weight * np.log(np.maximum(network.astype(np.float64), MIN_PROBABILITY)) + logits
    return np.asarray(softmax(mixed, axis=1), np.float32)


def skip_texture(
    network: NDArray[np.float32], truth: NDArray[np.integer[Any]], groups: Sequence[str]
) -> TextureHead | None:
    """Say that texture need not be looked at, as the network tells held-out tiles well apart; None where it may help.

    Parameters
    ----------
    network
        Its probabilities (n, K) of held-out tiles.
    truth, groups
        Their classes and groups.
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

    Below 250 training tiles it does unless the tiles speak against it, as a network that was trained on so few is
    seldom the better one, and as few held-out tiles say little; else only if they speak for it.

    Parameters
    ----------
    network, both
        Probabilities (n, K) of held-out tiles: the network's, and pooled with those of a linear model that has not
        seen the tiles either.
    truth, groups
        Classes and groups of these tiles.
    trained
        Number of training tiles.
    """
    before, after = _losses(network, truth), _losses(both, truth)
    excess = float(np.sum(after - before))
    if excess <= -_EVIDENCE:
        joined, why = True, "held-out tiles are told apart better with it"
    elif excess > _EVIDENCE:
        joined, why = False, "held-out tiles are told apart worse with it"
    elif trained < _MANY:
        joined, why = True, "training tiles are few, and held-out tiles do not speak against it"
    else:
        joined, why = False, "held-out tiles do not speak for it"
    return TextureHead(
        joined=joined, why=why, weight=network_weight(trained), tiles=len(truth), groups=len(set(groups)),
        loss_network=float(before.mean()), loss_both=float(after.mean()),
        accuracy_network=_balanced(network, truth), accuracy_both=_balanced(both, truth),
    )  # fmt: skip


def _losses(prob: NDArray[np.float32], truth: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Give the tiles' cross-entropies (n,) after the temperature that suits them best, times weights of mean 1."""
    scaled = scale_by_temperature(prob, fit_temperature(prob, truth)).astype(np.float64)
    counts = np.bincount(truth, minlength=prob.shape[1])
    weight = len(truth) / (np.count_nonzero(counts) * counts[truth])
    return np.asarray(-weight * np.log(np.maximum(scaled[np.arange(len(truth)), truth], MIN_PROBABILITY)))


def _balanced(prob: NDArray[np.float32], truth: NDArray[np.integer[Any]]) -> float:
    return float(accuracies(confusion_matrix(truth, prob.argmax(axis=1), prob.shape[1]))[1])
