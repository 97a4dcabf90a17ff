"""Measure how few labels the default needs: some tiles of each class, drawn many times, beside texture alone.

Features of all tiles are computed once and kept in ``--work``; each draw is a fit of linear models, as training and the
live map make it, and is evaluated on the held-out tiles of ``accuracy.py``.

    python benchmarks/few_labels.py                  all sets, a few minutes
    python benchmarks/few_labels.py --draws 3        fewer draws

The table goes to ``RESULTS.md`` beside this file, or where ``--out`` says.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from _labelled_sets import SETS, Fold
from _results import markdown, write_section
from napari_cellclass.core.common.task import NO_TASK
from napari_cellclass.core.datasets.split import train_on_all
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.models.head_record import balanced_accuracy
from napari_cellclass.core.models.linear_head import Standardisation, fit_head
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.stats.metrics import ece
from napari_cellclass.engine.features.extractor import FeatureExtractor, new_feature_spec
from napari_cellclass.engine.inference.openvino_graph import TileFormat
from napari_cellclass.engine.training.tile_pixels import has_colour, load_pixels

COUNTS = (3, 5, 10, 25)
HERE = Path(__file__).parent


def features(fold: Fold, work: Path) -> dict[str, np.ndarray]:
    """Compute the features of a fold's tiles, unless that has been done: ``z`` and labels, of training and test."""
    path = work / ("__".join(fold.name).replace(" ", "_") + ".npz")
    if not path.exists():
        data = train_on_all(read_dataset(fold.train, None, None))
        params = TrainParams.checked(data=fold.train, out="m.cellclass", network="pretrained", standardise="none")
        pixels = load_pixels(data, params, NO_TASK)
        spec = new_feature_spec(pixels.spec, has_colour(data, params))
        extract = FeatureExtractor(spec, TileFormat.of(pixels.tiles))
        test = read_dataset(fold.tests[""], None, None, classes=data.scheme.names)
        tiles = dict(test.tiles(np.arange(len(test))))
        np.savez(
            path, train=extract(pixels.tiles), labels=data.labels, groups=data.groups.astype(str),
            test=extract(np.stack([tiles[i] for i in range(len(test))])), truth=test.labels,
            columns=np.array(spec.columns),
        )  # fmt: skip
    with np.load(path) as found:
        return dict(found)


def measure(found: dict[str, np.ndarray], count: int, draws: int) -> list[dict[str, float]]:
    """Fit to so many tiles of each class, drawn at random, and evaluate: a row per draw."""
    cut, classes = int(found["columns"][0]), int(found["labels"].max()) + 1
    sets = [slice(0, cut), slice(cut, None)]
    scaling = [Standardisation.fit(found["train"][:, part]) for part in sets]  # of all tiles, labelled or not
    train = [scaled.apply(found["train"][:, part]) for scaled, part in zip(scaling, sets, strict=True)]
    test = [scaled.apply(found["test"][:, part]) for scaled, part in zip(scaling, sets, strict=True)]
    labels, rows = found["labels"].astype(int), []
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        of_class = [np.flatnonzero(labels == k) for k in range(classes)]
        chosen = np.concatenate([rng.permutation(own)[: min(count, len(own))] for own in of_class])
        row = {}
        for name, parts in (("auto", (0, 1)), ("backbone alone", (0,)), ("texture alone", (1,))):
            fit = fit_head([train[i][chosen] for i in parts], labels[chosen], found["groups"][chosen], classes)
            prob = fit.head.predict([test[i] for i in parts])
            row[name] = balanced_accuracy(prob, found["truth"])
            if name == "auto":
                row["ECE of auto"] = ece(prob, found["truth"])
                row["told"] = balanced_accuracy(fit.held_out, labels[chosen])
        rows.append(row)
    return rows


TITLE = "Balanced accuracy with few labels"
ABOUT = """`python benchmarks/few_labels.py`. So many tiles of each class are drawn at random from the training tiles of
each fold of the table above, 12 times; the models are fitted to them as in training and in the live map, and evaluated
on the held-out tiles. *auto*: linear models on pretrained features and on texture, averaged; *backbone alone*, *texture
alone*: one of the two. *told*: the balanced accuracy that a fit says itself, of leave-one-group-out cross-validation
or, where a class has one group only, leave-one-out. Means over draws and folds; *ECE*: expected calibration error on
the held-out tiles, before the temperature. A class with fewer tiles gives all it has.

"""


def main() -> None:
    """Measure what is asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "napari-cellclass-few-labels")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in given.sets:
        folds = [features(fold, given.work) for fold in SETS[name](given.data, given.work / "lists")]
        for count in COUNTS:
            frame = pd.DataFrame([row for found in folds for row in measure(found, count, given.draws)])
            about = {"set": name, "labels a class": str(count), "fits": str(len(frame))}
            rows.append(about | {column: f"{value:.3f}" for column, value in frame.mean().items()})
    table = pd.DataFrame(rows)
    means = table.groupby("set", sort=False)[["auto", "backbone alone", "texture alone"]].agg(
        lambda values: f"{values.astype(float).mean():.3f}"
    )
    text = markdown(table) + "\nMeans over the four counts:\n\n" + markdown(means.reset_index())
    write_section(given.out, TITLE, ABOUT + text)
    print(text)


if __name__ == "__main__":
    main()
