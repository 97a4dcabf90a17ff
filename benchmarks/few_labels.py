"""Measure how few labels the default needs: some tiles of each class, drawn many times, beside texture alone.

Features of all tiles are computed once and kept in ``--work``; each draw is a fit of linear models, as training and the
live map make it, and is evaluated on the held-out tiles of ``accuracy.py``.

    python benchmarks/few_labels.py                  all sets, a few minutes
    python benchmarks/few_labels.py --draws 3        fewer draws
    python benchmarks/few_labels.py --compact "neubias PLK1"     also the compact network, a training a draw: minutes

What the compact network has reached is kept in ``--work``, too, and stands in the table where it has been measured. The
table goes to ``RESULTS.md`` beside this file, or where ``--out`` says.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from _labelled_sets import SETS, Fold
from _results import markdown, write_section
from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.task import NO_TASK
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.datasets.split import split_by_group, train_on_all
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.models.head_record import balanced_accuracy
from napari_cellclass.core.models.linear_head import Standardisation, fit_head
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.stats.metrics import ece
from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.features.extractor import FeatureExtractor, new_feature_spec
from napari_cellclass.engine.inference.openvino_graph import TileFormat
from napari_cellclass.engine.networks.architectures import build_network
from napari_cellclass.engine.training.texture_joining import join_texture
from napari_cellclass.engine.training.tile_pixels import has_colour, load_pixels
from napari_cellclass.engine.training.training_run import TrainingRun
from napari_cellclass.runs.common.dataset_opening import resolve_auto_settings

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


def drawn(labels: np.ndarray, count: int, draw: int) -> np.ndarray:
    """Draw so many tiles of each class at random; give their places."""
    rng = np.random.default_rng(draw)
    of_class = [np.flatnonzero(labels == k) for k in range(int(labels.max()) + 1)]
    return np.concatenate([rng.permutation(own)[: min(count, len(own))] for own in of_class])


def compact_path(fold: Fold, count: int, work: Path) -> Path:
    """Give where the accuracies of the compact network are kept, one a draw."""
    return work / ("__".join([*fold.name, "compact", str(count)]).replace(" ", "_") + ".npy")


def measure_compact(fold: Fold, count: int, draws: int, work: Path) -> None:
    """Train the compact network on the same tiles as the linear models, as ``--network compact`` does, draw by draw."""
    path = compact_path(fold, count, work)
    found = np.load(path).tolist() if path.exists() else []
    everything = read_dataset(fold.train, None, None)
    test = read_dataset(fold.tests[""], None, None, classes=everything.scheme.names)
    tiles = dict(test.tiles(np.arange(len(test))))
    for draw in range(len(found), draws):
        start = time.process_time()
        data = everything.take(np.sort(drawn(everything.labels.astype(int), count, draw)))
        params = TrainParams.checked(data=fold.train, out="m.cellclass", network="compact")
        try:
            data = split_by_group(data, params.val_fraction)
        except DatasetError:  # all labels of a class lie where none can be held out
            found.append(np.nan)
        else:
            params, _ = resolve_auto_settings(params, data)
            predict, spec = trained_compact(data, params)
            prob = np.concatenate([predict(spec.apply(tiles[i][None])) for i in range(len(test))])
            found.append(balanced_accuracy(prob, test.labels))
        np.save(path, found)
        print(f"{path.stem} draw {draw}: {found[-1]:.3f}, {time.process_time() - start:.0f} CPU s", flush=True)


def trained_compact(data: TileDataset, params: TrainParams) -> tuple[Callable[[np.ndarray], np.ndarray], Any]:
    """Train the compact network without writing it; give how it predicts, and its preprocessing."""
    import_keras().backend.clear_session()
    pixels = load_pixels(data, params, NO_TASK)
    model = build_network(
        "compact", pixels.spec.input_px, data.channels, len(data.scheme), params.seed, params.standardise
    )
    run = TrainingRun(model, data, pixels, params, NO_TASK, lambda: False, time.perf_counter())
    run.fit(after_epoch=lambda _: None)
    run.choose_epoch()
    join_texture(run)
    return run.predict_batch, pixels.spec


def measure(found: dict[str, np.ndarray], count: int, draws: int) -> list[dict[str, float]]:
    """Fit to so many tiles of each class, drawn at random, and evaluate: a row per draw."""
    cut, classes = int(found["columns"][0]), int(found["labels"].max()) + 1
    sets = [slice(0, cut), slice(cut, None)]
    scaling = [Standardisation.fit(found["train"][:, part]) for part in sets]  # of all tiles, labelled or not
    train = [scaled.apply(found["train"][:, part]) for scaled, part in zip(scaling, sets, strict=True)]
    test = [scaled.apply(found["test"][:, part]) for scaled, part in zip(scaling, sets, strict=True)]
    labels, rows = found["labels"].astype(int), []
    for draw in range(draws):
        chosen = drawn(labels, count, draw)
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


def compared(
    folds: Sequence[Fold], found: Sequence[list[dict[str, float]]], count: int, work: Path
) -> list[dict[str, str]]:
    """Compare the compact network with the linear models on the draws that it was trained on, a row per fold."""
    rows = []
    for fold, own in zip(folds, found, strict=True):
        if not (path := compact_path(fold, count, work)).exists():
            continue
        network = np.load(path)[: len(own)]
        usable = np.flatnonzero(np.isfinite(network))
        frame = pd.DataFrame(own).iloc[usable][["auto", "texture alone"]]
        lead = frame["auto"].to_numpy() - network[usable]
        rows.append(
            {"set": fold.name[0], "fold": fold.name[1], "labels a class": str(count), "draws": str(len(usable))}
            | {column: f"{value:.3f}" for column, value in frame.mean().items()}
            | {"compact": f"{network[usable].mean():.3f}", "auto better in": f"{(lead > 0).sum()} of {len(usable)}"}
        )
    return rows


TITLE = "Balanced accuracy with few labels"
BESIDE = """
The compact network on the same draws, trained as `--network compact` does, which holds out a quarter of the groups of
the few labels; one fold of a set. A draw that cannot be split by group is left out.

"""
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
    parser.add_argument("--compact", nargs="+", choices=list(SETS), default=[], help="sets to train the network on")
    parser.add_argument("--folds", type=int, default=1, help="of these, on how many folds of each")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    for name in given.compact:
        for fold in list(SETS[name](given.data, given.work / "lists"))[: given.folds]:
            for count in COUNTS:
                measure_compact(fold, count, given.draws, given.work)
    rows, beside = [], []
    for name in given.sets:
        made = list(SETS[name](given.data, given.work / "lists"))
        folds = [features(fold, given.work) for fold in made]
        for count in COUNTS:
            of_fold = [measure(found, count, given.draws) for found in folds]
            beside += compared(made, of_fold, count, given.work)
            frame = pd.DataFrame([row for found in of_fold for row in found])
            about = {"set": name, "labels a class": str(count), "fits": str(len(frame))}
            rows.append(about | {column: f"{value:.3f}" for column, value in frame.mean().items()})
    table = pd.DataFrame(rows)
    means = table.groupby("set", sort=False)[["auto", "backbone alone", "texture alone"]].agg(
        lambda values: f"{values.astype(float).mean():.3f}"
    )
    text = markdown(table) + "\nMeans over the four counts:\n\n" + markdown(means.reset_index())
    text += BESIDE + markdown(pd.DataFrame(beside)) if beside else ""
    write_section(given.out, TITLE, ABOUT + text)
    print(text)


if __name__ == "__main__":
    main()
