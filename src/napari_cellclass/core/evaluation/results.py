"""Results of evaluating a model on labelled tiles: records and their tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.common.files import atomic_write, write_json
from napari_cellclass.core.common.findings import Finding
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.core.stats.metrics import EvalReport


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A data set, the model's probabilities (N, K) for it, the metrics, and the precision of the network."""

    data: TileDataset
    prob: NDArray[np.float32]
    report: EvalReport
    precision: str = "f32"

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Indices of the predicted classes, shape (N,), -1 where a tile is not finite."""
        finite = np.isfinite(self.prob).all(axis=1)
        return np.where(finite, np.nan_to_num(self.prob).argmax(axis=1), -1)

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the predicted class, shape (N,), NaN where a tile is not finite."""
        return np.where(self.predicted >= 0, self.prob.max(axis=1), np.nan).astype(float)

    def frame(self) -> pd.DataFrame:
        """One row per tile: its position, true class and prediction, and whether that is correct (column ``right``)."""
        names = np.array([*self.data.scheme.names, ""], object)
        frame = self.data.frame().drop(columns="split").rename(columns={"class_name": "true_class"})
        frame["class_name"] = names[self.predicted]
        frame["confidence"] = self.confidence
        frame["right"] = self.predicted == self.data.labels
        for k, name in enumerate(self.data.scheme.names):
            frame[f"p_{name}"] = self.prob[:, k]
        return frame

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``evaluation.json``."""
        return self.report.to_json() | {
            "precision": self.precision,
            "skipped": [{"path": str(path), "reason": reason} for path, reason in self.data.skipped],
        }


@dataclass(frozen=True, eq=False)
class EvaluatedSet:
    """A test set by name, the model's performance on it, and whether that is to be trusted.

    Parameters
    ----------
    name
        Also the name of its folder of figures.
    path
        The class folders or TILES.csv.
    evaluation
        Tiles, probabilities and metrics.
    alarms
        Warnings about the model and the test set.
    shortcuts, robustness
        See :class:`~napari_cellclass.runs.evaluate.trust.TrustChecks`; None where not asked for.
    """

    name: str
    path: Path
    evaluation: Evaluation
    alarms: tuple[Finding, ...] = ()
    shortcuts: pd.DataFrame | None = None
    robustness: pd.DataFrame | None = None

    @property
    def report(self) -> EvalReport:
        """The metrics."""
        return self.evaluation.report

    def row(self) -> dict[str, Any]:
        """Return a row of the summary: name, tiles, groups, the metrics with intervals, and how many warnings."""
        report = self.report
        row: dict[str, Any] = {"name": self.name, "n": report.n, "groups": report.groups}
        figures = (("accuracy", report.accuracy), ("balanced_accuracy", report.balanced_accuracy))
        for name, value in (*figures, ("kappa", report.kappa or Estimate(float("nan"), None, None))):
            row |= {name: value.value, f"{name}_lo": value.lo, f"{name}_hi": value.hi}
        warnings = sum(alarm.severity == "warning" for alarm in self.alarms)
        return row | {"ece": report.ece, "warnings": warnings, "path": str(self.path)}


def summary_table(sets: Sequence[EvaluatedSet]) -> pd.DataFrame:
    """Return one row per test set, see :meth:`EvaluatedSet.row`."""
    return pd.DataFrame([one.row() for one in sets])


def class_table(report: EvalReport) -> pd.DataFrame:
    """Return each class's recall, precision and F1 with intervals: class_name, n, recall, recall_lo, recall_hi, ..."""
    rows = []
    for found in report.per_class:
        row: dict[str, Any] = {"class_name": found["name"], "n": found["n"]}
        for figure in ("recall", "precision", "f1"):
            lo, hi = found[f"{figure}_interval"] or (None, None)
            row |= {figure: found[figure], f"{figure}_lo": lo, f"{figure}_hi": hi}
        rows.append(row)
    return pd.DataFrame(rows)


def confusion_table(report: EvalReport) -> pd.DataFrame:
    """Return the confusion matrix with the true classes in the column ``truth``, then a column per prediction."""
    table = pd.DataFrame(np.array(report.confusion), columns=list(report.classes))
    # A class may be called like the column.
    table.insert(0, "truth", list(report.classes), allow_duplicates=True)
    return table


def check_evaluation_folder(out: Path, data: Iterable[Path]) -> None:
    """Refuse a folder where the results would be written over tiles or labels.

    Raises
    ------
    OutputError
        It holds the data, or a ``tiles.csv`` that no evaluation has written.
    """
    listed = out / "tiles.csv"
    for path in data:
        if path.resolve() in (out.resolve(), listed.resolve()):
            raise OutputError(f"{listed} would be written into the data to evaluate on; choose another folder")
    if listed.exists() and not (out / "evaluation.json").exists():
        raise OutputError(
            f"{listed} was not written by an evaluation, but would be overwritten; move it, or choose another folder"
        )


def write_evaluation(evaluation: Evaluation, out: Path, alarms: Sequence[Finding] = ()) -> None:
    """Write ``tiles.csv`` and, last, ``evaluation.json``, with the alarms under that name.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    with atomic_write(out / "tiles.csv") as temporary:
        escape_formulas(evaluation.frame()).to_csv(
            temporary, index=False, float_format="%.6g", lineterminator="\n", errors="backslashreplace"
        )
    content = evaluation.to_json() | {"alarms": [alarm.to_json() for alarm in alarms]}
    write_json(out / "evaluation.json", content)
