"""Measure how near a compact network comes to the pretrained model that it learns from.

    python benchmarks/distillation.py                             four sets, about an hour on two cores
    python benchmarks/distillation.py --sets transfluor           a part
    python benchmarks/distillation.py --table                     the table of what has been measured

Methods, on the same training tiles: the teacher, ``--network pretrained``; the compact network from the labels alone;
the compact network taught by it on the labelled images; and also on the images of the held-out tiles, without their
labels, as one does for a plate that is to be classified. All are judged on held-out groups. Models are kept in
``--work``, so that parts add up.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from _labelled_sets import SETS, Fold
from _results import markdown, write_section
from napari_cellclass.core.common.errors import EngineError
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle
from napari_cellclass.core.stats.metrics import accuracies, confusion_matrix
from napari_cellclass.runs.common.engine_access import open_engine
from napari_cellclass.runs.evaluate.test_sets import predict_dataset

HERE = Path(__file__).parent
TEACHER, LABELS, TAUGHT, ALSO_FIELDS = "teacher", "compact", "taught", "taught, also on the held-out fields"
METHODS = (TEACHER, LABELS, TAUGHT, ALSO_FIELDS)
TITLE = "A fast copy of the pretrained model"
ABOUT = """`python benchmarks/distillation.py`. Balanced accuracy on held-out groups, the mean of the folds, one seed;
*same class*: fraction of these tiles to which the teacher gives the same class. *taught*: by `--teacher`, on all tiles
of the labelled images, but for the quarter of the groups that is held out to compare both; *also on the held-out
fields*: on their tiles, too, without the labels. The teacher was fitted to all labelled tiles.

"""


def words(method: str, fold: Fold, teacher: Path) -> list[str]:
    """Give the settings of a method."""
    if method == TEACHER:
        return ["--network", "pretrained"]
    found = ["--network", "compact"]
    found += ["--teacher", str(teacher)] if method in (TAUGHT, ALSO_FIELDS) else []
    return found + (["--unlabelled", str(fold.tests[""])] if method == ALSO_FIELDS else [])


def model_path(fold: Fold, method: str, work: Path) -> Path:
    """Give where the model of a method is kept."""
    return work / ("__".join([*fold.name, method]).replace(" ", "_").replace(",", "") + ".cellclass")


def trained(fold: Fold, method: str, work: Path) -> ModelBundle:
    """Train by the command line in a child process, unless that has been done."""
    path = model_path(fold, method, work)
    if not path.exists():
        line = [sys.executable, "-P", "-m", "napari_cellclass", "train", str(fold.train), "--out", str(path), "--quiet"]
        start = time.perf_counter()
        line += words(method, fold, model_path(fold, TEACHER, work))
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EngineError(f"training failed on {fold.name}: {done.stderr.strip()}")
        print(f"{path.stem}: {time.perf_counter() - start:.0f} s", flush=True)
    return open_bundle(path)


def row(folds: list[Fold], method: str, work: Path) -> dict[str, str]:
    """Give what a method reaches on a set."""
    balanced, same = [], []
    for fold in folds:
        data = read_dataset(fold.tests[""], None, None, classes=trained(fold, TEACHER, work).scheme.names)
        found = []
        for one in (method, TEACHER):
            bundle = trained(fold, one, work)
            with open_engine(bundle) as engine:
                found.append(predict_dataset(data, engine, spec=bundle.preprocess).argmax(axis=1))
        balanced.append(float(accuracies(confusion_matrix(data.labels, found[0], len(data.scheme)))[1]))
        same.append(float((found[0] == found[1]).mean()))
    return {
        "set": folds[0].name[0], "method": method, "balanced accuracy": f"{np.mean(balanced):.3f}",
        "folds": " ".join(f"{value:.3f}" for value in balanced), "same class": f"{np.mean(same):.3f}",
    }  # fmt: skip


def main() -> None:
    """Measure what is asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    chosen = ["transfluor", "bbbc013_cells", "chula_disease", "chula_rbc12"]
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=chosen)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "napari-cellclass-distillation")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--folds", type=int, default=9, help="how many folds of each set")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--table", action="store_true", help="measure nothing, make the table of what is there")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in given.sets:
        folds = list(SETS[name](given.data, given.work / "lists"))[: given.folds]
        for method in given.methods:
            if given.table and not all(model_path(fold, method, given.work).exists() for fold in folds):
                continue
            rows.append(row(folds, method, given.work))
            print(rows[-1], flush=True)
    write_section(given.out, TITLE, ABOUT + markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
