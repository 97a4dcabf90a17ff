"""Results of repeated runs of one training: a table of runs, their variability, and mean learning curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy  # its parts are imported when they are used: half a second
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.stats.agreement import contingency_tables
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.core.stats.metrics import EvalReport, GroupedMetrics, evaluate

VALIDATION_SET = "validation"
MEASURES = ("loss", "accuracy", "val_loss", "val_accuracy")
RUN_COLUMNS = (
    "run", "seed", "model", "test", "n", "groups", "accuracy", "balanced_accuracy", "lo", "hi", "train_accuracy",
    "train_balanced_accuracy", "loss", "val_loss",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SetPredictions:
    """Predictions of R runs for the N tiles of one test set.

    Parameters
    ----------
    name
        Of the set.
    tiles
        N rows with path, y0, x0, y1, x1.
    truth
        int, shape (N,): class indices, the ground truth.
    groups
        N names of wells, fields or regions.
    classes
        K names.
    prob
        float, shape (R, N, K): NaN where a tile holds no finite pixels.
    """

    name: str
    tiles: pd.DataFrame
    truth: NDArray[np.int16]
    groups: NDArray[np.object_]
    classes: tuple[str, ...]
    prob: NDArray[np.float32]

    @property
    def chance(self) -> float:
        """Balanced accuracy at chance level: 1 over the number of classes that occur."""
        return 1 / len(np.unique(self.truth))

    def report(self, prob: NDArray[Any]) -> EvalReport:
        """Return the metrics of one run's probabilities, shape (N, K)."""
        return evaluate(prob, self.truth, self.groups.tolist(), self.classes)

    def ensemble(self) -> EvalReport:
        """Return the metrics of the mean of the runs' probabilities."""
        return self.report(self.prob.mean(axis=0))

    def balanced_accuracy(self) -> Estimate:
        """Return the mean balanced accuracy over the runs, with a confidence interval over groups.

        The predictions of all runs are counted per group and whole groups are resampled, so that the interval is
        that over other wells, and not narrower for more runs on the same ones.
        """
        finite = np.isfinite(self.prob).all(axis=(0, 2))
        if not finite.any():
            raise DatasetError(f"{self.name} has no tile with finite pixels; check the images")
        counts = [
            contingency_tables(self.truth[finite], one[finite].argmax(axis=1), self.groups[finite], len(self.classes))[
                0
            ]
            for one in self.prob
        ]
        return GroupedMetrics(np.sum(counts, axis=0)).accuracies()[1]

    def tile_table(self) -> pd.DataFrame:
        """One row per tile: test, path, y0, x0, y1, x1, true_class, run_01 …, fraction_right, flips.

        ``run_01`` … are the classes that each run predicted, ``flips`` how many runs differ from the majority.
        """
        names = np.array([*self.classes, ""], object)
        finite = np.isfinite(self.prob).all(axis=2)
        index = np.where(finite, np.nan_to_num(self.prob).argmax(axis=2), -1)
        votes = np.stack([(index == k).sum(axis=0) for k in range(len(self.classes))])
        table = self.tiles.reset_index(drop=True).assign(true_class=names[self.truth])
        table.insert(0, "test", self.name)
        for run, row in enumerate(index, 1):
            table[f"run_{run:02d}"] = names[row]
        table["fraction_right"] = (index == self.truth).mean(axis=0)
        table["flips"] = finite.sum(axis=0) - votes.max(axis=0)
        return table


def concatenate_predictions(parts: Sequence[SetPredictions], name: str) -> SetPredictions:
    """Concatenate predictions of as many runs for different tiles, as those of folds.

    Groups of sets of different names get the name as a prefix.
    """
    mixed = len({part.name for part in parts}) > 1
    groups = [np.array([f"{p.name}/{g}" for g in p.groups], object) if mixed else p.groups for p in parts]
    return SetPredictions(
        name,
        pd.concat([part.tiles for part in parts], ignore_index=True),
        np.concatenate([part.truth for part in parts]),
        np.concatenate(groups),
        parts[0].classes,
        np.concatenate([part.prob for part in parts], axis=1),
    )


def short_set_names(paths: Sequence[Path]) -> list[str]:
    """Name test sets shortly: by folder or file where these differ, else by path."""
    short = [path.stem if path.suffix.lower() == ".csv" else path.name for path in paths]
    ambiguous = {VALIDATION_SET, ""} | {name for name in short if short.count(name) > 1}
    return [str(path) if name in ambiguous else name for name, path in zip(short, paths, strict=True)]


def mean_interval(values: Iterable[float]) -> Estimate:
    """Mean with its 95 % confidence interval by Student's t; without one for a single value.

    Over runs it is the interval over other seeds on the same tiles, not over other wells.
    """
    found = np.asarray(list(values), float)
    mean = float(found.mean())
    if len(found) < 2:
        return Estimate(mean, None, None)
    half = float(scipy.special.stdtrit(len(found) - 1, 0.975) * found.std(ddof=1) / np.sqrt(len(found)))
    return Estimate(mean, mean - half, mean + half)


def spread_table(runs: pd.DataFrame, predictions: Sequence[SetPredictions]) -> pd.DataFrame:
    """One row per test set: the variability of the runs' balanced accuracy, and their ensemble.

    Columns test, runs, mean, lo, hi (interval of the mean over seeds), sd, lowest, highest, by_group,
    by_group_lo, by_group_hi (the mean again, its interval over groups), ensemble_accuracy,
    ensemble_balanced_accuracy, ensemble_lo, ensemble_hi, tiles, tiles_that_flip.
    """
    rows = []
    for one in predictions:
        values = runs.loc[runs["test"] == one.name, "balanced_accuracy"]
        mean, pooled, ensemble = mean_interval(values), one.balanced_accuracy(), one.ensemble()
        balanced = ensemble.balanced_accuracy
        rows.append(
            {
                "test": one.name, "runs": len(values), "mean": mean.value, "lo": mean.lo, "hi": mean.hi,
                "sd": values.std(), "lowest": values.min(), "highest": values.max(),
                "by_group": pooled.value, "by_group_lo": pooled.lo, "by_group_hi": pooled.hi,
                "ensemble_accuracy": ensemble.accuracy.value, "ensemble_balanced_accuracy": balanced.value,
                "ensemble_lo": balanced.lo, "ensemble_hi": balanced.hi,
                "tiles": len(one.truth), "tiles_that_flip": int((one.tile_table()["flips"] > 0).sum()),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def run_row(run: Mapping[str, Any], name: str, report: EvalReport) -> dict[str, Any]:
    """One row of the table of runs, see ``RUN_COLUMNS``; lo and hi are those of the balanced accuracy."""
    balanced = report.balanced_accuracy
    found = dict(run) | {
        "test": name, "n": report.n, "groups": report.groups, "accuracy": report.accuracy.value,
        "balanced_accuracy": balanced.value, "lo": balanced.lo, "hi": balanced.hi,
    }  # fmt: skip
    return {column: found[column] for column in RUN_COLUMNS}


def mean_curve_table(histories: pd.DataFrame) -> pd.DataFrame:
    """Mean curves over the runs, with a band.

    Parameters
    ----------
    histories
        Columns run, epoch, loss, accuracy, val_loss, val_accuracy.

    Returns
    -------
    DataFrame
        Columns series (one of ``MEASURES``), epoch, runs, mean, smooth, lo, hi. ``smooth`` is the mean after a
        Gaussian of a thirtieth of the epochs, at least half an epoch; lo and hi the 95 % confidence interval of the
        mean over runs, smoothed in the same way; as wide as the mean itself where there is one run.
    """
    from scipy.ndimage import gaussian_filter1d

    parts = []
    for series in MEASURES:
        values = histories.pivot_table(index="epoch", columns="run", values=series)
        each = [mean_interval(row[np.isfinite(row)]) for row in values.to_numpy(float)]
        mean = np.array([one.value for one in each])
        lo, hi = (
            np.array([one.value if getattr(one, end) is None else getattr(one, end) for one in each])
            for end in ("lo", "hi")
        )
        sigma = max(0.5, len(mean) / 30)
        smooth, lo, hi = (gaussian_filter1d(line, sigma, mode="nearest") for line in (mean, lo, hi))
        parts.append(
            pd.DataFrame(
                {
                    "series": series, "epoch": values.index, "runs": values.notna().sum(axis=1).to_numpy(),
                    "mean": mean, "smooth": smooth, "lo": lo, "hi": hi,
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def epochs_to_reach(histories: pd.DataFrame, accuracy: float) -> pd.Series:
    """First epoch of every run in which the training accuracy is at least this; NaN where there is none."""
    reached = histories[histories["accuracy"] >= accuracy].groupby("run")["epoch"].min()
    return reached.reindex(pd.unique(histories["run"])).astype(float)


def describe_spread(spread: pd.DataFrame) -> list[str]:
    """Describe in a line per test set how the runs and their ensemble performed."""
    return [
        f"{row.test}: {counted(row.runs, 'run')}, mean balanced accuracy {Estimate(row.mean, row.lo, row.hi)} "
        "over seeds; their "
        f"ensemble {row.ensemble_balanced_accuracy:.3f}; {row.tiles_that_flip} of {row.tiles} tiles flip between runs"
        for row in spread.itertuples()
    ]
