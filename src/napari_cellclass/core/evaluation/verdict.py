"""Learned or memorised: a verdict on a training, with its evidence in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from napari_cellclass.core.evaluation.repeats import epochs_to_reach, mean_interval
from napari_cellclass.core.stats.intervals import Estimate

Word = Literal["learned", "partly", "memorised", "nothing to learn", "undecided"]
WORDS: tuple[Word, ...] = get_args(Word)
_HOLDS = 0.8  # part of what is known of the training tiles that must hold elsewhere to be called learned
_HARDLY = 0.25  # below it hardly anything holds
_SAME = 0.05  # a difference of accuracies that is worth a word
_NEARLY = 0.9  # how far up to its last accuracy a training is counted as having come
_MEANINGS: dict[Word, str] = {
    "learned": "the network has learned to tell the classes apart: what it knows of its training tiles holds on groups "
    "it has never seen",
    "partly": "the network has learned something that holds on groups it has never seen, but less than its training "
    "tiles make believe, or less than would be useful",
    "memorised": "the network has memorised its training tiles: it knows them, and hardly does better than guessing on "
    "groups it has never seen",
    "nothing to learn": "the network has found nothing to learn: it hardly does better than guessing even on its "
    "training tiles",
    "undecided": "whether the network has learned cannot be told: it does well on the groups held out, but these are "
    "too few or too different to rule out guessing",
}


@dataclass(frozen=True)
class Speed:
    """How fast training reached an accuracy, with true labels and with shuffled ones.

    Parameters
    ----------
    accuracy
        The training accuracy that counts as reached: nine tenths of the way from always saying the commonest class to
        where the trainings with true labels ended.
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
        Balanced accuracy of guessing: 1 over the classes that occur.
    training
        Balanced accuracy on the training tiles, mean over the runs.
    held_out
        The same on held-out groups, its interval over groups.
    groups, tiles
        How many are held out.
    where
        What is held out, e.g. ``"validation"``.
    runs
        How many trainings.
    speed
        See :func:`compare_speed`; None without shuffled labels.
    shuffled_held_out
        Balanced accuracy on held-out groups after training on shuffled labels.
    by_tile
        Balanced accuracy on tiles held out at random, whose neighbours were trained on.
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
        """Give the content of ``verdict.json``."""
        return {
            "verdict": self.word,
            "meaning": self.meaning,
            "kept": generalised_fraction(self.evidence),
            "sentences": list(self.sentences),
            "numbers": asdict(self.evidence),
        }

    def to_markdown(self) -> str:
        """Give the content of ``verdict.md``."""
        lines = [f"# Verdict: {self.word}", "", f"{self.meaning[0].upper()}{self.meaning[1:]}.", ""]
        return "\n".join([*lines, *(f"- {sentence}" for sentence in self.sentences)]) + "\n"


def generalised_fraction(evidence: Evidence) -> float | None:
    """Part of what is known beyond guessing of the training tiles that holds on held-out ones, 0 to 1.

    ``(held out - chance) / (training - chance)``; None where hardly anything is known of the training tiles.
    """
    known = evidence.training.value - evidence.chance
    if known < _SAME:
        return None
    return float(np.clip((evidence.held_out.value - evidence.chance) / known, 0, 1))


def judge(evidence: Evidence) -> Verdict:
    """Judge a training by its accuracy on groups that it has not seen.

    Where the interval of the held-out balanced accuracy reaches down to guessing, the network has memorised if it
    knows its training tiles (half of the way from guessing to perfect, or more), else it has found nothing to learn;
    where the value itself is that high for all its interval, nothing is decided. Above guessing, it has learned if the
    value is at least half of the way to perfect and at least 0.8 of what is known of the training tiles holds; it has
    memorised if less than a quarter holds; and between these it has learned partly. The other evidence is told, but
    does not change the word.
    """
    middle, held = (1 + evidence.chance) / 2, evidence.held_out
    known, kept = evidence.training.value >= middle, generalised_fraction(evidence)
    word: Word
    if held.lo is None or (held.lo <= evidence.chance and held.value >= middle):
        word = "undecided"
    elif held.lo <= evidence.chance:
        word = "memorised" if known else "nothing to learn"
    elif known and kept is not None and kept < _HARDLY:
        word = "memorised"
    else:
        word = "learned" if held.value >= middle and (kept is None or kept >= _HOLDS) else "partly"
    return Verdict(word, _MEANINGS[word], tuple(_sentences(evidence, kept)), evidence)


def _sentences(evidence: Evidence, kept: float | None) -> list[str]:
    held, groups = evidence.held_out, f"{evidence.groups} group{'' if evidence.groups == 1 else 's'}"
    found = [
        f"on {evidence.tiles} tiles of {groups} never seen ({evidence.where}) {_percent(held)} are right, classes "
        f"weighed alike; on the tiles trained on {_percent(evidence.training, False)}; guessing gives "
        f"{100 * evidence.chance:.0f} %; mean of {evidence.runs} training{'' if evidence.runs == 1 else 's'}"
    ]
    if kept is not None:
        found.append(f"of what it knows of its training tiles beyond guessing, {100 * kept:.0f} % holds on others")
    if evidence.speed is not None:
        found.append(_speed_sentence(evidence.speed))
    shuffled = evidence.shuffled_held_out
    if shuffled is not None and shuffled.lo is not None and shuffled.lo > evidence.chance:
        found.append(
            f"trained on shuffled labels it is still right on {_percent(shuffled)} of the held-out tiles, which memory "
            "cannot be: check for copies of tiles on both sides"
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
        return f"fewer than half of the trainings came to {goal} at all"
    true = f"true labels took {speed.true:g} of {speed.epochs} epochs to {goal}"
    if speed.shuffled is None:
        return (
            f"{true}; of {times}, came that far (they ended at {100 * speed.shuffled_accuracy:.0f} %), so memory alone "
            "does not explain it"
        )
    slower = "memory alone was as fast" if speed.shuffled <= 1.25 * speed.true else "memory alone was slower"
    return (
        f"{true}; {times}, came that far, in {speed.shuffled:g} epochs: {slower}, so a training accuracy like this "
        "proves nothing by itself"
    )


def _pair_sentence(by_tile: Estimate, by_group: Estimate) -> str:
    text = f"held out tile by tile, with neighbours trained on, {_percent(by_tile)} would seem right"
    gap = by_tile.value - by_group.value
    if gap <= _SAME:
        return f"{text}, no more than by group: the fields themselves give nothing away"
    if by_tile.lo is None or by_tile.lo <= by_group.value:
        return f"{text}: {100 * gap:.0f} points more, too few for so few groups to tell it from chance"
    return f"{text}: {100 * gap:.0f} points too many, which is what it knows of the fields rather than the classes"


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
        Part of the training tiles that are of the commonest class.

    Returns
    -------
    Speed or None
        None where the true labels themselves were hardly learned, so that there is nothing to reach.
    """
    ends = [frame.sort_values("epoch").groupby("run")["accuracy"].last() for frame in (true, shuffled)]
    last = mean_interval(ends[0]).value
    if last - commonest < 2 * _SAME:
        return None
    goal = commonest + _NEARLY * (last - commonest)
    reached = [epochs_to_reach(frame, goal) for frame in (true, shuffled)]
    median = [float(one.median()) if one.notna().mean() >= 0.5 else None for one in reached]
    return Speed(
        goal, int(true["epoch"].max()), median[0], median[1], int(reached[0].notna().sum()),
        int(reached[1].notna().sum()), len(reached[0]), len(reached[1]), float(ends[1].mean()),
    )  # fmt: skip


def weakest_class(recalls: Mapping[str, float]) -> str:
    """Name the class that is recognised least."""
    return min(recalls, key=lambda name: recalls[name])
