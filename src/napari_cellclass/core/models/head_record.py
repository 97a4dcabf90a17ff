"""How linear models on features do on left-out groups, and whether a trained network is mixed in; with a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.models.linear_head import folds_of_groups
from napari_cellclass.core.stats.metrics import accuracies, confusion_matrix

FEATURE_SETS = ("backbone", "texture")
NETWORK_WEIGHT = 0.25
"""Weight of a trained network's probabilities where it is mixed in; the linear models have the rest."""

# Nats by which the likelihood of held-out tiles must rise for a network to be mixed in: odds of 7 to 1.
_EVIDENCE = 2.0
_MIN_PROBABILITY = 1e-6


class NetworkMix(BaseModel):
    """Whether a trained network is mixed in.

    Attributes
    ----------
    joined
        Whether it is.
    gain
        By how many nats the log-likelihood of held-out tiles rises with it.
    tiles
        Number of these tiles, which the network was not trained on.
    accuracy_without, accuracy_network, accuracy_both
        Balanced accuracies of these tiles: of the linear models, of the network, and of the mixture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    joined: bool
    gain: float
    tiles: int = Field(ge=1)
    accuracy_without: float
    accuracy_network: float
    accuracy_both: float

    def describe(self) -> str:
        """Describe the decision with its figures."""
        verb = "is mixed in" if self.joined else "is not mixed in"
        return (
            f"the compact network {verb}: the log-likelihood of {counted(self.tiles, 'held-out tile')} changes by "
            f"{self.gain:+.1f} with a quarter of it ({_EVIDENCE:g} or more are needed); balanced accuracy "
            f"{self.accuracy_without:.3f} without it, {self.accuracy_network:.3f} of it alone, "
            f"{self.accuracy_both:.3f} with it"
        )


class HeadRecord(BaseModel):
    """How a classifier of linear models on features was fitted; stored in a model's manifest.

    Attributes
    ----------
    held_out_by
        Whether the figures are of leave-one-group-out cross-validation, or of leave-one-out of single tiles.
    tiles, groups
        Numbers of tiles and groups that it was fitted to.
    penalties
        Ridge penalty by feature set.
    accuracies
        Balanced accuracy of left-out tiles, by each feature set alone.
    accuracy
        The same by their mean.
    curve
        Balanced accuracy of left-out tiles by the number of tiles that were fitted to: does it rise still?
    network
        Whether a network is mixed in; None where none was trained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    held_out_by: Literal["group", "tile"]
    tiles: int = Field(ge=1)
    groups: int = Field(ge=1)
    penalties: dict[str, float]
    accuracies: dict[str, float]
    accuracy: float
    curve: tuple[tuple[int, float], ...] = ()
    network: NetworkMix | None = None

    @classmethod
    def of(cls, training: Mapping[str, Any]) -> HeadRecord | None:
        """Read it from a manifest's record of training; None where it has none that is valid."""
        try:
            return cls.model_validate(training.get("head"))
        except ValidationError:
            return None

    @property
    def points(self) -> tuple[tuple[int, float], ...]:
        """The curve with its last point, that of all tiles."""
        return (*self.curve, (self.tiles, self.accuracy))

    @property
    def cross_validation(self) -> str:
        """The kind of cross-validation that the figures are of."""
        if self.held_out_by == "tile":
            return "leave-one-out cross-validation"
        folds = folds_of_groups(self.tiles, self.groups)
        return f"{'leave-one-group-out' if folds == self.groups else f'{folds}-fold'} cross-validation"

    @property
    def held_out(self) -> str:
        """How and of what tiles the figures were estimated, in a few words."""
        of = counted(self.groups, "group") if self.held_out_by == "group" else "single tiles, beside their neighbours"
        return f"{self.cross_validation} over {of}"

    def brief(self) -> str:
        """Return a sentence with the accuracies of each part and of the whole."""
        parts = ", ".join(f"{name} {value:.3f}" for name, value in self.accuracies.items())
        text = f"Fitted to all {self.tiles:,} tiles; balanced accuracy in {self.held_out}: {parts}"
        text += f", together {self.accuracy:.3f}" if len(self.accuracies) > 1 else ""
        return f"{text}." if self.network is None else f"{text}; {self.network.describe()}."

    def describe(self) -> str:
        """Describe the fit in one line."""
        penalties = ", ".join(f"{name} {value:g}" for name, value in self.penalties.items())
        return f"{self.brief()[:-1]}; ridge penalties {penalties}"


def decide_network(
    without: NDArray[np.float32], network: NDArray[np.float32], truth: NDArray[np.integer[Any]]
) -> NetworkMix:
    """Decide from held-out tiles whether a trained network is mixed in.

    Parameters
    ----------
    without, network
        Probabilities (n, K) by models that did not see these tiles: the linear models, and the network.
    truth
        Their classes, shape (n,).
    """
    both = mix(without, network)
    rows = np.arange(len(truth))
    before, after = (
        np.log(np.maximum(prob[rows, truth].astype(np.float64), _MIN_PROBABILITY)) for prob in (without, both)
    )
    gain = float((after - before).sum())
    return NetworkMix(
        joined=gain >= _EVIDENCE, gain=gain, tiles=len(truth),
        accuracy_without=balanced_accuracy(without, truth),
        accuracy_network=balanced_accuracy(network, truth),
        accuracy_both=balanced_accuracy(both, truth),
    )  # fmt: skip


def mix(without: NDArray[np.float32], network: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mix the probabilities (n, K) of linear models and of a network, at a quarter's weight."""
    return np.asarray((1 - NETWORK_WEIGHT) * without + NETWORK_WEIGHT * network, np.float32)


def balanced_accuracy(prob: NDArray[np.float32], truth: Sequence[int] | NDArray[np.integer[Any]]) -> float:
    """Return the mean recall over the classes that occur, for probabilities (n, K)."""
    return float(accuracies(confusion_matrix(np.asarray(truth), prob.argmax(axis=1), prob.shape[1]))[1])
