"""Learned or memorised: a verdict on a training, with its evidence in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.evaluation.repeats import epochs_to_reach, mean_interval
from napari_cellclass.core.stats.intervals import Estimate

Word = Literal["learned", "partly", "memorised", "nothing to learn", "undecided"]
WORDS: tuple[Word, ...] = get_args(Word)
BY_TILE = "with tiles held out at random"  # how the evidence from a split by tile begins
_LEARNED_FRACTION = 0.8  # fraction of the training accuracy above chance that must generalise to be called learned
_MEMORISED_FRACTION = 0.25  # below it hardly anything generalises
_MIN_DIFFERENCE = 0.05  # smallest difference of accuracies that is reported
_REACHED_FRACTION = 0.9  # fraction of the way to its final accuracy at which an accuracy counts as reached
_MEANINGS: dict[Word, str] = {
    "learned": "the network has learned the classes: its accuracy on the training tiles generalises to held-out groups",
    "partly": "the network has learned something that generalises to held-out groups, but less than its accuracy on "
    "the training tiles suggests, or less than would be useful",
    "memorised": "the network has memorised its training tiles: its accuracy is high on them, and hardly above chance "
    "on groups that were held out",
    "nothing to learn": "the network has found nothing to learn: its accuracy is hardly above chance even on its "
    "training tiles",
    "undecided": "whether the network has learned is undecided: its accuracy on the held-out groups is high, but these "
    "are too few or too different to exclude chance",
}


@dataclass(frozen=True)
class Speed:
    """How fast training reached an accuracy, with true labels and with shuffled ones.

    Parameters
    ----------
    accuracy
        The training accuracy that counts as reached: nine tenths of the way from always predicting the most frequent
        class to where the trainings with true labels ended.
    epochs
        Of each training.
    true, shuffled
        Median epoch of those that reached it; None where fewer than half did.
    true_reached, shuffled_reached, true_runs, shuffled_runs
        How many trainings reached it, of how many.
    shuffled_accuracy
        Training accuracy in which the trainings with shuffled labels ended, on average.
    """

    accuracy: float
    epochs: int
    true: float | None
    shuffled: float | None
    true_reached: int
    shuffled_reached: int
    true_runs: int
    shuffled_runs: int
    shuffled_accuracy: float


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    Parameters
    ----------
    chance
        Balanced accuracy at chance level: 1 over the number of classes that occur.
    training
        Balanced accuracy on the training tiles, mean over the runs.
    held_out
        The same on held-out groups, with its confidence interval over groups.
    groups, tiles
        Number held out.
    where
        What is held out, e.g. ``"validation"``.
    runs
        Number of trainings.
    speed
        See :func:`compare_speed`; None without shuffled labels.
    shuffled_held_out
        Balanced accuracy on held-out groups after training on shuffled labels.
    by_tile
        Balanced accuracy on tiles held out at random, while their neighbours were trained on.
    advice
        Whether more tiles would help, a sentence; empty without a learning curve.
    """

    chance: float
    training: Estimate
    held_out: Estimate
    groups: int
    tiles: int
    where: str = "validation"
    runs: int = 1
    speed: Speed | None = None
    shuffled_held_out: Estimate | None = None
    by_tile: Estimate | None = None
    advice: str = ""


@dataclass(frozen=True)
class Verdict:
    """One of ``WORDS``, what it means, the evidence in sentences, and the numbers."""

    word: Word
    meaning: str
    sentences: tuple[str, ...]
    evidence: Evidence

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``verdict.json``."""
        return {
            "verdict": self.word,
            "meaning": self.meaning,
            "kept": generalised_fraction(self.evidence),
            "sentences": list(self.sentences),
            "numbers": asdict(self.evidence),
        }

    def to_markdown(self) -> str:
        """Return the content of ``verdict.md``."""
        lines = [f"# Verdict: {self.word}", "", f"{self.meaning[0].upper()}{self.meaning[1:]}.", ""]
        return "\n".join([*lines, *(f"- {sentence}" for sentence in self.sentences)]) + "\n"


def generalised_fraction(evidence: Evidence) -> float | None:
    """Return the fraction of the training accuracy above chance that generalises to held-out tiles, 0 to 1.

    ``(held out - chance) / (training - chance)``; None where the training accuracy is hardly above chance.
    """
    known = evidence.training.value - evidence.chance
    if known < _MIN_DIFFERENCE:
        return None
    return float(np.clip((evidence.held_out.value - evidence.chance) / known, 0, 1))


def judge(evidence: Evidence) -> Verdict:
    """Judge a training by its accuracy on held-out groups.

    Where the confidence interval of the held-out balanced accuracy includes chance, the network has memorised if its
    training accuracy is high (half of the way from chance to perfect, or more), else it has found nothing to learn;
    where the held-out value itself is that high despite its interval, the verdict is undecided. Above chance, it has
    learned if the value is at least half of the way to perfect and at least 0.8 of the training accuracy above chance
    generalises; it has memorised if less than a quarter does; and between these it has learned partly. The other
    evidence is reported, but does not change the verdict.
    """
    middle, held = (1 + evidence.chance) / 2, evidence.held_out
    known, fraction = evidence.training.value >= middle, generalised_fraction(evidence)
    word: Word
    if held.lo is None or (held.lo <= evidence.chance and held.value >= middle):
        word = "undecided"
    elif held.lo <= evidence.chance:
        word = "memorised" if known else "nothing to learn"
    elif known and fraction is not None and fraction < _MEMORISED_FRACTION:
        word = "memorised"
    else:
        word = "learned" if held.value >= middle and (fraction is None or fraction >= _LEARNED_FRACTION) else "partly"
    return Verdict(word, _MEANINGS[word], tuple(_sentences(evidence, fraction)), evidence)


def _sentences(evidence: Evidence, fraction: float | None) -> list[str]:
    held, groups = evidence.held_out, f"{evidence.groups} group{'' if evidence.groups == 1 else 's'}"
    found = [
        f"balanced accuracy {_percent(held)} on {counted(evidence.tiles, 'tile')} of {groups} held out "
        f"({evidence.where}), "
        f"{_percent(evidence.training, False)} on the training tiles; chance is "
        f"{100 * evidence.chance:.0f} %; mean of {evidence.runs} training{'' if evidence.runs == 1 else 's'}"
    ]
    if fraction is not None:
        found.append(f"{100 * fraction:.0f} % of the training accuracy above chance generalises to held-out tiles")
    if evidence.speed is not None:
        found.append(_speed_sentence(evidence.speed))
    shuffled = evidence.shuffled_held_out
    if shuffled is not None and shuffled.lo is not None and shuffled.lo > evidence.chance:
        found.append(
            f"trained on shuffled labels, its balanced accuracy on held-out tiles is still {_percent(shuffled)}, which "
            "memorisation does not explain: check for copies of tiles in both splits"
        )
    if evidence.by_tile is not None:
        found.append(_pair_sentence(evidence.by_tile, held))
    if evidence.advice:
        found.append(evidence.advice)
    return found


def _speed_sentence(speed: Speed) -> str:
    goal = f"{100 * speed.accuracy:.0f} % training accuracy"
    times = f"{speed.shuffled_reached} of {speed.shuffled_runs} trainings on shuffled labels, which can only memorise"
    if speed.true is None:
        return f"fewer than half of the trainings reached {goal}"
    true = f"true labels took {speed.true:g} of {speed.epochs} epochs to {goal}"
    if speed.shuffled is None:
        return (
            f"{true}; {times}, reached it (they ended at {100 * speed.shuffled_accuracy:.0f} %), so memorisation alone "
            "does not explain it"
        )
    slower = "memorisation was as fast" if speed.shuffled <= 1.25 * speed.true else "memorisation was slower"
    return (
        f"{true}; {times}, reached it in {speed.shuffled:g} epochs: {slower}, so a training accuracy like this "
        "proves nothing by itself"
    )


def _pair_sentence(by_tile: Estimate, by_group: Estimate) -> str:
    text = f"{BY_TILE}, and their neighbours trained on, the balanced accuracy is {_percent(by_tile)}"
    gap = by_tile.value - by_group.value
    if gap <= _MIN_DIFFERENCE:
        return f"{text}, no higher than by group: fields are not recognised by themselves"
    if by_tile.lo is None or by_tile.lo <= by_group.value:
        return f"{text}: {100 * gap:.0f} points higher, not significant with so few groups"
    return f"{text}: {100 * gap:.0f} points too high, as the network recognises fields rather than classes"


def _percent(value: Estimate, interval: bool = True) -> str:
    if not interval or value.lo is None or value.hi is None:
        return f"{100 * value.value:.0f} %"
    return f"{100 * value.value:.0f} % (95 % confidence interval {100 * value.lo:.0f} to {100 * value.hi:.0f})"


def compare_speed(true: pd.DataFrame, shuffled: pd.DataFrame, commonest: float) -> Speed | None:
    """Compare how fast trainings with true and with shuffled labels reach the same training accuracy.

    Parameters
    ----------
    true, shuffled
        Histories: columns run, epoch, accuracy (on the training tiles, while training).
    commonest
        Fraction of the training tiles that are of the most frequent class.

    Returns
    -------
    Speed or None
        None where the true labels themselves were hardly learned, so that there is nothing to reach, or where nothing
        is trained in epochs.
    """
    if true["epoch"].max() < 2:
        return None
    ends = [frame.sort_values("epoch").groupby("run")["accuracy"].last() for frame in (true, shuffled)]
    last = mean_interval(ends[0]).value
    if last - commonest < 2 * _MIN_DIFFERENCE:
        return None
    goal = commonest + _REACHED_FRACTION * (last - commonest)
    reached = [epochs_to_reach(frame, goal) for frame in (true, shuffled)]
    median = [float(one.median()) if one.notna().mean() >= 0.5 else None for one in reached]
    return Speed(
        goal, int(true["epoch"].max()), median[0], median[1], int(reached[0].notna().sum()),
        int(reached[1].notna().sum()), len(reached[0]), len(reached[1]), float(ends[1].mean()),
    )  # fmt: skip


def weakest_class(recalls: Mapping[str, float]) -> str:
    """Return the class of the lowest recall."""
    return min(recalls, key=lambda name: recalls[name])
