"""Measure how many planted label errors are found within the first tenth of the ranked list, by several rules.

Features of all tiles are computed once and kept in ``--work``; then 5 % of the labels are changed to another class,
drawn at random, linear models are fitted as in training, and labels are ranked from predictions of left-out groups.

    python benchmarks/label_errors.py                  all sets, five seeds, some minutes
    python benchmarks/label_errors.py --seeds 2        fewer

The table goes to ``RESULTS.md`` beside this file, or where ``--out`` says.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from _labelled_sets import SETS, Fold
from _results import markdown, write_section
from napari_cellclass.core.common.task import NO_TASK
from napari_cellclass.core.datasets.split import train_on_all
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.models.head_record import balanced_accuracy
from napari_cellclass.core.models.linear_head import Standardisation, fit_head
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.selection.label_errors import (
    class_thresholds,
    normalised_margin,
    rank_label_errors,
)
from napari_cellclass.engine.features.extractor import FeatureExtractor, new_feature_spec
from napari_cellclass.engine.inference.openvino_graph import TileFormat
from napari_cellclass.engine.training.tile_pixels import has_colour, load_pixels

HERE = Path(__file__).parent
PLANTED, LISTED, NEIGHBOURS = 0.05, 0.10, 10
CHOSEN = "shown"  # in the Gallery, and by check --label-errors


def features(fold: Fold, work: Path) -> dict[str, np.ndarray]:
    """Compute the features of all tiles of a set, training and test tiles together, unless that has been done."""
    path = work / ("__".join(fold.name).replace(" ", "_") + "_all.npz")
    if not path.exists():
        tables = [pd.read_csv(one, dtype=str) for one in (fold.train, fold.tests[""])]
        whole = fold.train.with_name("all.csv")
        pd.concat(tables).to_csv(whole, index=False)
        data = train_on_all(read_dataset(whole, None, None))
        params = TrainParams.checked(data=whole, out="m.cellclass", network="pretrained", standardise="none")
        pixels = load_pixels(data, params, NO_TASK)
        spec = new_feature_spec(pixels.spec, has_colour(data, params))
        found = FeatureExtractor(spec, TileFormat.of(pixels.tiles))(pixels.tiles)
        np.savez(
            path, features=found, labels=data.labels, groups=data.groups.astype(str), columns=np.array(spec.columns)
        )
    with np.load(path) as found:
        return dict(found)


def knn_agreement(z: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Return the fraction of the ten most similar tiles that have a tile's label, those of its group left out."""
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    similar = unit @ unit.T
    similar[np.eye(len(z), dtype=bool) if groups is None else groups[:, None] == groups] = -np.inf
    near = np.argsort(-similar, axis=1, kind="stable")[:, :NEIGHBOURS]
    return (labels[near] == labels[:, None]).mean(axis=1)


def entropy_weighted(labels: np.ndarray, prob: np.ndarray) -> np.ndarray:
    """Return self-confidence over entropy: confidence-weighted entropy, so that low is suspicious."""
    entropy = -(prob * np.log(np.maximum(prob, 1e-12))).sum(axis=1) / np.log(prob.shape[1])
    return np.log(np.maximum(prob[np.arange(len(labels)), labels], 1e-12)) - np.log(entropy + 1e-6)


def scores(z: list[np.ndarray], labels: np.ndarray, groups: np.ndarray, k: int) -> tuple[dict[str, np.ndarray], float]:
    """Score every label by every rule, low where it is likely wrong; and say how accurate left-out predictions are."""
    fit = fit_head(z, labels, groups, k)
    prob = fit.held_out.astype(float)
    rows = np.arange(len(labels))
    adjusted = prob - np.where(np.isfinite(t := class_thresholds(labels, prob)), t, 0) + 1
    single = fit_head(z, labels, rows, k).held_out.astype(float)
    joined = np.hstack([part / np.sqrt(part.shape[1]) for part in z])
    knn, far = knn_agreement(joined, labels), knn_agreement(joined, labels, groups)
    margin = normalised_margin(labels, prob)
    found = {
        "self-confidence": prob[rows, labels],
        "normalised margin": margin,
        "margin, per-class thresholds": normalised_margin(labels, adjusted / adjusted.sum(axis=1, keepdims=True)),
        "confidence-weighted entropy": entropy_weighted(labels, prob),
        "margin, single tiles left out": normalised_margin(labels, single),
        "agreement of ten neighbours": knn + 1e-6 * margin,
        "neighbours of other groups": far + 1e-6 * margin,
        "mean rank of margin and neighbours": rankdata(margin) + rankdata(knn),
        "mean rank, neighbours of other groups": rankdata(margin) + rankdata(far),
        "mean rank of both margins and neighbours": rankdata(margin)
        + rankdata(knn)
        + rankdata(normalised_margin(labels, single)),
        "margin of both, averaged": normalised_margin(labels, (prob + single) / 2),
        CHOSEN: rank_label_errors(labels, prob, single).quality,
    }
    return found, balanced_accuracy(fit.held_out, labels)


def measure(found: dict[str, np.ndarray], seeds: int, score: Callable[..., tuple] = scores) -> pd.DataFrame:
    """Plant errors and return a row per seed: the fraction of them within the first tenth, by rule."""
    cut, truth = int(found["columns"][0]), found["labels"].astype(int)
    z = [Standardisation.fit(part).apply(part) for part in (found["features"][:, :cut], found["features"][:, cut:])]
    k, table = int(truth.max()) + 1, []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        planted = rng.choice(len(truth), round(PLANTED * len(truth)), replace=False)
        labels = truth.copy()
        labels[planted] = (truth[planted] + rng.integers(1, k, len(planted))) % k
        by_rule, accuracy = score(z, labels, found["groups"], k)
        listed = round(LISTED * len(truth))
        row = {
            name: np.isin(planted, np.argsort(values, kind="stable")[:listed]).mean()
            for name, values in by_rule.items()
        }
        table.append({"tiles": len(truth), "classes": k, "accuracy": accuracy} | row)
    return pd.DataFrame(table)


TITLE = "Label errors that were planted"


def main() -> None:
    """Measure what is asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "napari-cellclass-label-errors")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in given.sets:
        fold = next(iter(SETS[name](given.data, given.work / "lists")))
        frame = measure(features(fold, given.work), given.seeds)
        about = {"set": name, "tiles": f"{frame['tiles'][0]:,}", "classes": frame["classes"][0]}
        about["accuracy"] = f"{frame['accuracy'].mean():.3f}"
        values = frame.drop(columns=["tiles", "classes", "accuracy"])
        rows.append(about | {rule: f"{v.mean():.3f} ({v.min():.2f})" for rule, v in values.items()})
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows).set_index("set").T.rename_axis("").reset_index()
    write_section(given.out, TITLE, ABOUT + markdown(table))


ABOUT = """`python benchmarks/label_errors.py`. 5 % of the labels of each set are changed to another class, drawn at
random, with five seeds; linear models are fitted to all labels as they are then, and every label is scored from the
prediction without its group (*accuracy*: balanced, of these predictions against the labels with errors). The table
gives the fraction of the planted errors that are within the first tenth of the list: mean of the seeds, and in brackets
the worst. *shown* is the rule of the program: the margin of the mean of both predictions, without the group and without
the tile alone. Leaving single tiles out finds such slips best, as the other tiles of a group share its staining and
light; but it believes whole groups of wrong labels, which is why the other prediction counts as well. The sets of one
field per class (*neubias*) have 4 to 10 planted errors a seed.

"""


if __name__ == "__main__":
    main()
