"""Measure how well trained networks do on wells and fields that they have never seen.

Methods on the same tiles: the default of ``napari-cellclass train`` (``--network auto``), alone and with the compact
network beside it; that network alone (``--network compact``); the article's recipe (``--as-published``); and logistic
regression on 28 texture features per channel with mean and sd of the grey values, and without these two.
Every training runs in a process of its own and gets the same training tiles; the table is of held-out tiles only.

    python benchmarks/accuracy.py                                        everything, about an hour on two cores
    python benchmarks/accuracy.py --sets transfluor --seeds 1            a part
    python benchmarks/accuracy.py --table                                the table of what has been measured

Predictions are kept in ``--work``; what is there is not measured again, so that parts add up. The table goes
to ``RESULTS.md`` beside this file, or where ``--out`` says.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from _labelled_sets import SETS, Fold
from _results import markdown, write_section
from napari_cellclass.core.common.errors import EngineError
from napari_cellclass.core.datasets.dataset import TRAIN, TileDataset
from napari_cellclass.core.datasets.split import split_by_group
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.quality.shortcuts import measure_brightness_and_texture
from napari_cellclass.core.stats.calibration import prediction_sets, scale_by_temperature
from napari_cellclass.core.stats.metrics import accuracies, confusion_matrix, ece, evaluate
from napari_cellclass.runs.common.engine_access import open_engine
from napari_cellclass.runs.evaluate.test_sets import predict_dataset

# Linear models, by the features that each goes without.
LINEAR = {"texture": True, "texture, exposure left out": False}
METHODS: dict[str, list[str] | None] = {
    "auto": [],
    "auto with compact": ["--with-compact"],
    "compact": ["--network", "compact"],
    "as published": ["--as-published"],
    **dict.fromkeys(LINEAR),
}
WITHOUT_CHANCE = {"auto", *LINEAR}
HERE = Path(__file__).parent


RATES = (0.05, 0.1)


def labelled(path: Path, classes: tuple[str, ...] | None = None) -> TileDataset:
    """Read a list of tiles."""
    return read_dataset(path, None, None, classes=classes)


def run_network(fold: Fold, words: list[str], seed: int, folder: Path) -> dict[str, np.ndarray]:
    """Train by the command line in a child process; give the probabilities for the held-out tiles."""
    model = folder / "model.cellclass"
    line = [sys.executable, "-P", "-m", "napari_cellclass", "train", str(fold.train), "--out", str(model), "--quiet"]
    start = time.perf_counter(), cpu_seconds()
    done = subprocess.run([*line, "--seed", str(seed), *words], capture_output=True, text=True, check=False)
    seconds, cpu = time.perf_counter() - start[0], cpu_seconds() - start[1]
    if done.returncode:
        raise EngineError(f"training failed on {fold.name}: {done.stderr.strip()}")
    bundle = open_bundle(model)
    found = {"seconds": np.array(seconds), "cpu": np.array(cpu), "n_train": np.array(bundle.manifest.data["n_train"])}
    calibration = bundle.manifest.calibration
    if calibration is not None:
        found["temperature"] = np.array(calibration.temperature)
        found |= {f"limit {rate:g}": np.array(calibration.threshold(rate)) for rate in RATES}
    with open_engine(bundle) as engine:
        for kind, path in fold.tests.items():
            data = labelled(path, bundle.scheme.names)
            found[kind or "clean"] = predict_dataset(data, engine, spec=bundle.preprocess)
    return found


def cpu_seconds() -> float:
    """Give the time that child processes have computed so far, on all cores together."""
    times = os.times()
    return times.children_user + times.children_system


def run_texture(fold: Fold, exposure: bool) -> dict[str, np.ndarray]:
    """Fit logistic regression to texture features, with mean and sd or without, of a network's training tiles."""
    start = time.perf_counter(), time.process_time()
    data = split_by_group(labelled(fold.train))
    train = data.tile_indices(TRAIN)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000, class_weight="balanced"))
    model.fit(features(data, train, exposure), data.labels[train])
    seconds, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    found = {"seconds": np.array(seconds), "cpu": np.array(cpu), "n_train": np.array(len(train))}
    for kind, path in fold.tests.items():
        test = labelled(path, data.scheme.names)
        found[kind or "clean"] = model.predict_proba(features(test, np.arange(len(test)), exposure))
    return found


def features(data: TileDataset, places: np.ndarray, exposure: bool) -> np.ndarray:
    """Describe tiles in the order of their places."""
    stats, texture = measure_brightness_and_texture(data.take(places), "measuring texture")
    return np.concatenate([stats.reshape(len(places), -1), texture], axis=1) if exposure else texture


def measure(fold: Fold, method: str, seed: int, work: Path) -> Path:
    """Run one method on one fold, unless that has been done; give the file of its predictions."""
    name = "__".join([*fold.name, method, f"seed{seed}"]).replace(" ", "_")
    path = work / f"{name}.npz"
    if not path.exists():
        words = METHODS[method]
        with tempfile.TemporaryDirectory() as folder:
            found = run_texture(fold, LINEAR[method]) if words is None else run_network(fold, words, seed, Path(folder))
        temporary = path.with_suffix(".part.npz")
        np.savez(temporary, **found)
        temporary.replace(path)
        print(f"{name}: {float(found['seconds']):.0f} s", flush=True)
    return path


def table(folds: list[Fold], seeds: int, work: Path) -> pd.DataFrame:
    """Make one row per set, condition and method, of all runs that have been measured."""
    rows = []
    for name in dict.fromkeys(fold.name[0] for fold in folds):
        mine = [fold for fold in folds if fold.name[0] == name]
        for kind in mine[0].tests:
            for method in METHODS:
                row = summary(mine, kind, method, seeds, work)
                if row:
                    rows.append({"set": f"{name} {kind}".strip(), "method": method} | row)
    return pd.DataFrame(rows)


def calibration_table(folds: list[Fold], work: Path) -> pd.DataFrame:
    """Make one row per set: how far the default's confidences and prediction sets hold on the held-out tiles."""
    rows = []
    for name in dict.fromkeys(fold.name[0] for fold in folds):
        raw, fair, inside, truths = [], [], [], []
        for fold in (fold for fold in folds if fold.name[0] == name):
            truth = labelled(fold.tests[""]).labels
            for path in sorted(work.glob("__".join([*fold.name, "auto", "seed*.npz"]).replace(" ", "_"))):
                with np.load(path) as found:
                    prob = found["clean"]
                    scaled = scale_by_temperature(prob, float(found["temperature"]))
                    sets = [prediction_sets(scaled, float(found[f"limit {rate:g}"])) for rate in RATES]
                raw.append(prob)
                fair.append(scaled)
                truths.append(truth)
                inside.append(np.stack([one[np.arange(len(truth)), truth] for one in sets], axis=1))
        if truths:
            true = np.concatenate(truths)
            covered = np.concatenate(inside).mean(axis=0)
            rows.append(
                {"set": name, "trainings": str(len(truths)), "answers": str(len(true))}
                | {"ECE before": f"{ece(np.concatenate(raw), true):.3f}"}
                | {"ECE after": f"{ece(np.concatenate(fair), true):.3f}"}
                | {f"coverage at {rate:.0%}": f"{value:.3f}" for rate, value in zip(RATES, covered, strict=True)}
            )
    return pd.DataFrame(rows)


def summary(folds: list[Fold], kind: str, method: str, seeds: int, work: Path) -> dict[str, str]:
    """Sum up the runs of one method: the mean and lowest balanced accuracy, and the interval over groups."""
    runs, probs, truths, groups, seconds, cpu, trained = [], [], [], [], [], [], []
    names: tuple[str, ...] = ()
    for fold in folds:
        data = labelled(fold.tests[kind])
        names = data.scheme.names
        for seed in range(seeds):
            path = work / ("__".join([*fold.name, method, f"seed{seed}"]).replace(" ", "_") + ".npz")
            if not path.exists():
                continue
            with np.load(path) as found:
                prob = found[kind or "clean"]
                seconds.append(float(found["seconds"]))
                cpu.append(float(found["cpu"]))
                trained.append(int(found["n_train"]))
            runs.append(float(accuracies(confusion_matrix(data.labels, prob.argmax(axis=1), len(names)))[1]))
            probs.append(prob)
            truths.append(data.labels)
            groups += [str(group) for group in data.groups]
    if not runs:
        return {}
    whole = evaluate(np.concatenate(probs), np.concatenate(truths), groups, names).balanced_accuracy
    interval = "none" if whole.lo is None else f"{whole.lo:.3f} to {whole.hi:.3f}"
    return {
        "runs": str(len(runs)),
        "mean": f"{np.mean(runs):.3f}",
        "lowest": f"{min(runs):.3f}",
        "95 % confidence interval": interval,
        "groups": str(len(set(groups))),
        "training tiles": str(round(np.mean(trained))),
        "s a run": f"{np.median(seconds):.0f}",
        "CPU s": f"{np.median(cpu):.0f}",
    }


TITLE = "Balanced accuracy on held-out wells, fields and regions"
ABOUT = """`python benchmarks/accuracy.py`. *mean* and *lowest*: balanced accuracy of the runs (folds times seeds);
the interval is a bootstrap over whole groups of the pooled predictions. transfluor: wells are held out; chula sets:
fields; bbbc013_cells: columns of montages of single cells; the pairs have one field per class, so that half of the
rows of tiles is held out and the groups are rows of one field: their figures say nothing of another field. *gain*:
the held-out fields of one class with doubled or halved grey values. *texture* is logistic regression on 30
hand-made features per channel; *exposure left out* goes without the two that change with it, mean and sd of the
grey values: the others are of standardised tiles, which is what *compact* sees where it does not keep the
brightness. *auto*, the default: linear models on pretrained features and texture, fitted to all training tiles; all
other methods leave out the quarter of their groups that networks are validated on.
Times are medians of a process from its start to its end; where other programs kept the machine busy, the CPU time,
of all cores together, says more.

"""
CALIBRATED = """

*ECE*: expected calibration error of the default on the same held-out tiles, before and after temperature scaling by
the model's own held-out predictions; *coverage*: how often the true class is in the prediction set at that error rate.
All seeds together.

"""


def main() -> None:
    """Measure what is asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "napari-cellclass-accuracy")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--table", action="store_true", help="measure nothing, make the table of what is there")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    folds = {name: list(SETS[name](given.data, given.work / "lists")) for name in SETS}
    if not given.table:
        for seed in range(given.seeds):
            for fold in (fold for name in given.sets for fold in folds[name]):
                for method in given.methods:
                    if method not in WITHOUT_CHANCE or seed == 0:
                        measure(fold, method, seed, given.work)
    frame = table([fold for part in folds.values() for fold in part], 1000 if given.table else given.seeds, given.work)
    calibrated = calibration_table([fold for part in folds.values() for fold in part], given.work)
    text = markdown(frame) + (CALIBRATED + markdown(calibrated) if len(calibrated) else "")
    write_section(given.out, TITLE, ABOUT + text)
    print(text)


if __name__ == "__main__":
    main()
