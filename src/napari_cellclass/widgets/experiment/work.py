"""The jobs of the Experiment widget, without Qt: run an experiment in a child process, and read its verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.task import Task
from napari_cellclass.core.evaluation.verdict import BY_TILE
from napari_cellclass.core.params.experiment import ExperimentParams
from napari_cellclass.runs.train.annotated_fields import AnnotatedField, TrainRequest, data_on_disk
from napari_cellclass.runs.train.child import experiment_in_child


@dataclass(frozen=True, eq=False)
class ExperimentResult:
    """The result of an experiment: its folder, and the content of ``verdict.json`` there."""

    out: Path
    verdict: Mapping[str, Any]

    @property
    def figures(self) -> dict[str, Path]:
        """What can be drawn, by its name for ``draw_saved_runs``, with a file that holds it.

        Trainings on shuffled labels may be of an earlier experiment in this folder, which does not count.
        """
        found = {"runs": "runs.png", "curves": "curves.png"}
        found |= {"shuffled": "null_curves.csv"} if self.verdict["settings"]["null"] else {}
        return {name: self.out / file for name, file in found.items() if (self.out / file).is_file()}

    def pair(self) -> str:
        """Describe both accuracies, by tile and by group, and their difference; empty where not compared."""
        numbers = self.verdict["numbers"]
        if numbers["by_tile"] is None:
            return ""
        sentence = next((text for text in self.verdict["sentences"] if text.startswith(BY_TILE)), "")
        return (
            f"Held out by group: {_estimate(numbers['held_out'])}. Held out at random: "
            f"{_estimate(numbers['by_tile'])}.\n{sentence[:1].upper()}{sentence[1:]}."
        )

    def text(self) -> str:
        """Describe the verdict and its reasons."""
        meaning = self.verdict["meaning"]
        reasons = [text for text in self.verdict["sentences"] if not text.startswith(BY_TILE)]
        lines = [f"{meaning[:1].upper()}{meaning[1:]}.", *(f"\N{BULLET} {text}" for text in reasons)]
        return "\n".join([*lines, *(f"Not done: {text}." for text in self.verdict["notes"])])


def run(params: ExperimentParams, fields: tuple[AnnotatedField, ...], task: Task) -> ExperimentResult:
    """Run an experiment, or continue it.

    Raises
    ------
    CellClassError
        In one line, what the user can correct.
    CancelledError
        The task was cancelled; the child process has ended, finished trainings are kept.
    """
    with data_on_disk(TrainRequest(params, fields), task) as ready:
        assert isinstance(ready, ExperimentParams)
        out = experiment_in_child(ready, task)
    return ExperimentResult(out, json.loads((out / "verdict.json").read_text(encoding="utf-8")))


def _estimate(value: Mapping[str, Any]) -> str:
    bounds = "" if value["lo"] is None else f" (95 % confidence interval {value['lo']:.3f} to {value['hi']:.3f})"
    return f"{value['value']:.3f}{bounds}"
