"""What a network learned from another one, its teacher, and how both do on the same held-out tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import scipy  # its parts are imported when they are used: half a second
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.core.stats.metrics import evaluate

_NEITHER, _STUDENT, _TEACHER, _BOTH = range(4)
SeenName = Literal["left out", "held out", "trained on"]
_SEEN: dict[str, str] = {
    "left out": "The teacher's probabilities are of fits without the group of each tile",
    "held out": "Neither was trained on them",
    "trained on": "The teacher was trained on them, so that its accuracy is too good",
}


class TeacherRecord(BaseModel):
    """A student and its teacher on held-out tiles; stored in the student's manifest.

    Attributes
    ----------
    name, model_id, network
        Of the teacher: its file, its id, and its architecture.
    images, unlabelled
        Numbers of images that unlabelled tiles were taken from, and of these tiles.
    tiles, groups
        Numbers of held-out tiles and groups that both are compared on.
    seen
        What the teacher knew of them: ``"left out"`` where its probabilities are of fits without their groups,
        ``"held out"`` where they were held out of its training too, ``"trained on"`` where they were not.
    student, teacher, difference
        Balanced accuracies and the student's less the teacher's, with 95 % confidence intervals.
    agreement
        Fraction of the tiles that both give the same class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model_id: str
    network: str
    images: int = Field(ge=0)
    unlabelled: int = Field(ge=0)
    tiles: int = Field(ge=1)
    groups: int = Field(ge=1)
    seen: SeenName
    student: Estimate
    teacher: Estimate
    difference: Estimate
    agreement: float

    @classmethod
    def of(cls, training: Mapping[str, Any]) -> TeacherRecord | None:
        """Read it from a manifest's record of training; None where it has none that is valid."""
        try:
            return cls.model_validate(training.get("taught"))
        except ValidationError:
            return None

    def brief(self) -> str:
        """Describe both in two sentences: balanced accuracies, their difference, and what the teacher knew."""
        return (
            f"Learned from {self.name} ({self.network}) with {counted(self.unlabelled, 'unlabelled tile')}: balanced "
            f"accuracy {self.student}, the teacher {self.teacher}, on the same "
            f"{counted(self.tiles, 'held-out tile')} of {counted(self.groups, 'group')}; difference "
            f"{_signed(self.difference)}; both give {self.agreement:.1%} of them the same class. {_SEEN[self.seen]}."
        )


def _signed(value: Estimate) -> str:
    if value.lo is None or value.hi is None:
        return f"{value.value:+.3f}"
    return f"{value.value:+.3f} ({value.lo:+.3f} to {value.hi:+.3f})"


def compare_with_teacher(
    student: NDArray[np.float32],
    teacher: NDArray[np.float32],
    truth: NDArray[np.integer[Any]],
    groups: Sequence[str],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Evaluate a student and its teacher on the same tiles.

    Parameters
    ----------
    student, teacher
        Probabilities (n, K).
    truth, groups
        Class indices (n,) and n names of groups.
    classes
        Names of the K classes.

    Returns
    -------
    dict
        ``tiles``, ``groups``, ``student``, ``teacher``, ``difference`` and ``agreement`` of :class:`TeacherRecord`.
        The difference has the interval of a jackknife over groups, in each of which both are compared tile by tile; it
        has none where fewer than two groups of a kind tell how much it varies, or where both are right and wrong alike.
    """
    chosen = student.argmax(axis=1), teacher.argmax(axis=1)
    correct = np.stack([one == truth for one in chosen])
    outcome = np.where(correct[0], np.where(correct[1], _BOTH, _STUDENT), np.where(correct[1], _TEACHER, _NEITHER))
    names, of_tile = np.unique(np.asarray(groups, str), return_inverse=True)
    table = np.zeros((len(names), len(classes), 4), np.int64)
    np.add.at(table, (of_tile, truth, outcome), 1)
    reports = [evaluate(prob, truth, list(groups), tuple(classes)) for prob in (student, teacher)]
    return {
        "tiles": len(truth),
        "groups": len(names),
        "student": reports[0].balanced_accuracy,
        "teacher": reports[1].balanced_accuracy,
        "difference": _paired_difference(table),
        "agreement": float((chosen[0] == chosen[1]).mean()),
    }


def _paired_difference(table: NDArray[np.int64]) -> Estimate:
    """Return the difference of counts (G, K, 4) by group, with the interval of a jackknife over the groups."""
    value, groups = float(_difference(table.sum(axis=0))), len(table)
    kinds = len(np.unique(table.sum(axis=2) > 0, axis=0))  # groups with the same classes
    if groups - kinds < 1 or not table[..., (_STUDENT, _TEACHER)].any():
        return Estimate(value, None, None)
    without = _difference(table.sum(axis=0) - table)
    error = np.sqrt((groups - 1) / groups * np.sum((without - without.mean()) ** 2))
    half = float(scipy.special.stdtrit(groups - kinds, 0.975) * error)
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half))


def _difference(table: NDArray[Any]) -> NDArray[np.float64]:
    """Return the student's balanced accuracy less the teacher's, of tables (..., K, 4); absent classes do not count."""
    n = table.sum(axis=-1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = (table[..., _STUDENT] - table[..., _TEACHER]) / n
    return np.asarray(np.nansum(each, axis=-1) / np.maximum(1, (n > 0).sum(axis=-1)))
