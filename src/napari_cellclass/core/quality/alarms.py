"""Warnings about a training or an evaluation: nothing learned, memorised, too few groups to decide."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from napari_cellclass.core.common.findings import Finding
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.quality.dataset_check import check_dataset
from napari_cellclass.core.stats.metrics import EvalReport

# An untrained network of K classes has a loss near ln K.
_CHANCE_LOSS = 0.95
_MEMORISED = 0.1
_FEW_HELD_OUT = 6
LEARNED_NOTHING = frozenset({"one-class", "loss-of-guessing"})
"""Codes of warnings which say that a network has not learned anything."""


def training_alarms(
    history: Sequence[Mapping[str, float]],
    report: EvalReport,
    data: TileDataset | None = None,
    texture_joined: bool = False,
) -> tuple[Finding, ...]:
    """Find what keeps a trained network from being trusted.

    Parameters
    ----------
    history
        A row per epoch with ``loss`` (unweighted cross-entropy) and ``accuracy`` on the training tiles, up to the
        epoch that is kept; may be empty.
    report
        The metrics on the held-out tiles.
    data
        The tiles, for what is confounded with the class; None leaves that out.
    texture_joined
        Whether texture features joined the network, whose own loss then does not say that nothing was learned.

    Returns
    -------
    tuple of Finding
        Warnings, and notes of what cannot be decided.
    """
    alarms = [*check_one_class(report)]
    if history and not texture_joined:
        alarms += [*check_training_loss(history[-1]["loss"], len(report.classes))]
    reported = bool(alarms)
    if history:
        alarms += [*check_memorised(history[-1]["accuracy"], report)]
    alarms += [*check_held_out(report, reported)]
    if data is not None:
        alarms += [finding for finding in check_dataset(data) if finding.code.startswith("confounded")]
    return tuple(alarms)


def check_one_class(report: EvalReport) -> Iterator[Finding]:
    """Warn where all held-out tiles are predicted to be one class."""
    predicted = np.flatnonzero(np.sum(report.confusion, axis=0))
    occurring = np.flatnonzero(np.sum(report.confusion, axis=1))
    if len(predicted) == 1 and len(occurring) > 1:
        name = report.classes[int(predicted[0])]
        text = f"the network predicts {name!r} for every held-out tile: it has learned nothing; train again"
        yield Finding("warning", "one-class", text)


def check_training_loss(loss: float, classes: int) -> Iterator[Finding]:
    """Warn where the training loss is at least 95 % of ln K, the loss at chance level with K classes."""
    if loss >= _CHANCE_LOSS * math.log(classes):
        yield Finding(
            "warning",
            "loss-of-guessing",
            f"the training loss ended at {loss:.3f}, as at chance with {classes} classes "
            f"({math.log(classes):.3f}): the network has learned nothing; train longer, or with another learning "
            "rate or seed",
        )


def check_memorised(train_accuracy: float, report: EvalReport) -> Iterator[Finding]:
    """Warn where the training accuracy is more than 0.1 above the upper bound of the held-out one.

    The training accuracy is measured during training, on augmented tiles, and so rather too low than too high.
    """
    held = report.accuracy
    if held.hi is not None and train_accuracy - held.hi > _MEMORISED:
        yield Finding(
            "warning",
            "memorised",
            f"the accuracy is {train_accuracy:.2f} on the training tiles, but {held.value:.2f} "
            f"({held.lo:.2f} to {held.hi:.2f}) on held-out groups: the network has memorised its tiles rather than "
            "learned the classes; add groups, or check that the classes can be distinguished",
        )


def check_held_out(report: EvalReport, reported: bool = False) -> Iterator[Finding]:
    """Warn where the held-out balanced accuracy is not significantly above chance.

    With fewer than 6 groups the interval of a good value may include chance only because they are few; that is a
    note, not a warning.

    Parameters
    ----------
    report
        The metrics on the held-out tiles.
    reported
        Whether another warning already says that nothing was learned.
    """
    occurring = int(np.count_nonzero(np.sum(report.confusion, axis=1)))
    value = report.balanced_accuracy
    if occurring < 2:
        return
    chance = 1 / occurring
    groups = f"{report.groups} group{'' if report.groups == 1 else 's'}"
    if value.lo is None:
        text = f"all held-out tiles are of {groups}: its accuracy on other groups is unknown; add fields"
        yield Finding("note", "too-few-groups", text)
    elif value.lo <= chance:
        span = f"{value.value:.2f} (95 % confidence interval {value.lo:.2f} to {value.hi:.2f})"
        if report.groups < _FEW_HELD_OUT and value.value >= (1 + chance) / 2:
            text = (
                f"only {groups} are held out: a balanced accuracy of {span} is not significantly above "
                f"chance ({chance:.2f}); add fields or wells"
            )
            yield Finding("note", "too-few-groups", text)
        elif not reported:
            text = (
                f"the held-out balanced accuracy of {span} is not significantly above chance ({chance:.2f}): the "
                "network has learned nothing that generalises to other groups; do not trust its maps"
            )
            yield Finding("warning", "nothing-learned", text)
