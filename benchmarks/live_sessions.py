"""Simulate labelling sessions on the labelled sets: labels to a given accuracy, and how often the interval is right.

A simulated user answers truthfully. Order: the tiles that the program suggests (typical ones, then the least sure),
against random order. Labels are counted until balanced accuracy on all other tiles first reaches 0.9 of what all labels
give (each tile left out). Coverage: after some suggested tiles, some tiles are drawn at random; the interval that is
shown then is compared with the accuracy on all tiles that are not labelled. `nothing to learn` are sets with shuffled
classes, on which nothing may be claimed to be better than chance.

    .venv/bin/python benchmarks/live_sessions.py --data ../shared/data [--seeds 20]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _labelled_sets import SETS
from _results import markdown, write_section
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.models.linear_head import Standardisation, fit_head
from napari_cellclass.core.selection.sample_accuracy import SampleAccuracy, sample_accuracy
from napari_cellclass.core.selection.suggestions import suggest_tiles
from napari_cellclass.core.selection.typical_tiles import typical_tiles
from napari_cellclass.engine.features.extractor import FeatureExtractor
from napari_cellclass.engine.inference.openvino_graph import TileFormat
from napari_cellclass.runs.features.choosing import choose_features

_TARGET = 0.9  # of the accuracy with all labels
_SESSIONS = ((20, 20), (40, 30))  # suggested and drawn tiles of a session
ABOUT = """`benchmarks/live_sessions.py --data DATA`, {seeds} sessions per set and row. Features of all tiles of the
first fold of each labelled set; accuracies are balanced, on the tiles of the same fields that are not labelled."""

Parts = list[NDArray[np.float32]]


def features_of(name: str, data: Path, work: Path) -> tuple[Parts, NDArray[np.int64]]:
    """Compute standardised features of all tiles of a set, and their classes."""
    fold = next(iter(SETS[name](data, work)))
    frame = pd.concat([pd.read_csv(fold.train), pd.read_csv(fold.tests[""])], ignore_index=True)
    sources = {path: read_image(Path(path)) for path in frame["path"].unique()}
    spec = choose_features(list(sources.values()))
    tiles = np.stack([sources[row.path].read(row.y0, row.x0, row.y1, row.x1) for row in frame.itertuples()])
    found = FeatureExtractor(spec, TileFormat.of(tiles))(tiles)
    parts = np.split(found, [spec.columns[0]], axis=1)
    return [Standardisation.fit(part).apply(part) for part in parts], pd.factorize(frame["class_name"])[0]


def balanced(truth: NDArray[np.int64], prob: NDArray[np.float32]) -> float:
    """Return the mean recall of the classes that occur."""
    predicted = prob.argmax(axis=1)
    return float(np.mean([(predicted[truth == k] == k).mean() for k in np.unique(truth)]))


class Session:
    """One simulated user."""

    def __init__(self, parts: Parts, truth: NDArray[np.int64], seed: int) -> None:
        self.parts, self.truth, self.k = parts, truth, int(truth.max()) + 1
        self.labels = np.full(len(truth), -1, np.int16)
        self.order = np.random.default_rng(seed).permutation(len(truth))
        everything = np.arange(len(truth))
        self.typical = typical_tiles(np.concatenate(parts, axis=1), everything, seed=seed)
        self.prob: NDArray[np.float32] | None = None

    def draw(self) -> int:
        """Label the next tile at random."""
        tile = int(self.order[self.labels[self.order] == -1][0])
        self.labels[tile] = self.truth[tile]
        return tile

    def take_suggestion(self) -> None:
        """Label the tile that is suggested."""
        queue = suggest_tiles(self.prob, self.typical, self.labels)
        if len(queue):
            self.labels[queue[0]] = self.truth[queue[0]]
        else:
            self.draw()

    def fit(self) -> NDArray[np.float32] | None:
        """Predict all tiles; give the held-out probabilities of the labelled ones."""
        rows = np.flatnonzero(self.labels >= 0)
        if len(np.unique(self.labels[rows])) < 2:
            return None
        fit = fit_head([part[rows] for part in self.parts], self.labels[rows], np.arange(len(rows)), self.k)
        self.prob = fit.head.predict(self.parts)
        return fit.held_out

    def accuracy(self) -> float:
        """Return the accuracy on the tiles that are not labelled; chance before there are predictions."""
        rest = self.labels < 0
        return 1 / self.k if self.prob is None else balanced(self.truth[rest], self.prob[rest])


def labels_needed(parts: Parts, truth: NDArray[np.int64], seed: int, suggested: bool, target: float, most: int) -> int:
    """Count labels until the accuracy on the others reaches the target, at most ``most``."""
    session = Session(parts, truth, seed)
    for n in range(1, most + 1):
        session.take_suggestion() if suggested else session.draw()
        session.fit()
        if session.accuracy() >= target:
            return n
    return most


def shown_interval(
    parts: Parts, truth: NDArray[np.int64], seed: int, suggested: int, drawn: int
) -> tuple[SampleAccuracy, float]:
    """Run a session, and give what it shows with the accuracy on the tiles that are not labelled."""
    session = Session(parts, truth, seed)
    for _ in range(suggested):
        session.take_suggestion()
        session.fit()
    sample = np.array([session.draw() for _ in range(drawn)])
    held_out = session.fit()
    assert held_out is not None
    rows = np.flatnonzero(session.labels >= 0)
    inside = np.isin(rows, sample)
    found = sample_accuracy(
        truth[rows[inside]], held_out[inside].argmax(axis=1), session.k, int((session.labels < 0).sum())
    )
    return found, session.accuracy()


def main() -> None:
    """Run all sessions, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    needed, intervals = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS:
            parts, truth = features_of(name, options.data, Path(folder))
            every = fit_head(parts, truth, np.arange(len(truth)), int(truth.max()) + 1)
            target, most = _TARGET * balanced(truth, every.held_out), min(70, len(truth) // 2)
            counts = {
                how: np.mean(
                    [labels_needed(parts, truth, s, how == "suggested", target, most) for s in range(options.seeds)]
                )
                for how in ("random", "suggested")
            }
            ratio = f"{counts['suggested'] / counts['random']:.2f}"
            shown = {how: f"{count:.1f}" for how, count in counts.items()}
            needed.append({"set": name, "accuracy to reach": f"{target:.3f}", **shown, "ratio": ratio})
            intervals.append(coverage(name, parts, truth, options.seeds))
            print(needed[-1], intervals[-1], flush=True)
    mean = np.mean([float(row["ratio"]) for row in needed])
    covered = sum(row["inside"] for row in intervals), sum(row["sessions"] for row in intervals)
    text = "\n\n".join(
        [ABOUT.format(seeds=options.seeds), "Labels that are needed:", markdown(pd.DataFrame(needed)),
         f"Mean ratio: {mean:.2f}.", "95 % confidence intervals that are shown, and how many hold the accuracy:",
         markdown(pd.DataFrame(intervals)), f"All: {covered[0]} of {covered[1]} ({covered[0] / covered[1]:.1%})."]
    )  # fmt: skip
    write_section(options.out, "Live sessions", text)


def coverage(name: str, parts: Parts, truth: NDArray[np.int64], seeds: int) -> dict[str, object]:
    """Count the sessions whose interval holds the accuracy on the tiles that are not labelled."""
    inside, shown, width, claims, shuffled = 0, 0, [], 0, 0
    for suggested, drawn in _SESSIONS:
        if suggested + drawn > 0.6 * len(truth):
            continue
        for seed in range(seeds):
            found, accuracy = shown_interval(parts, truth, 1000 + seed, suggested, drawn)
            if found.estimate is not None:
                shown += 1
                inside += found.estimate.lo <= accuracy <= found.estimate.hi
                width.append(found.estimate.hi - found.estimate.lo)
            nothing = np.random.default_rng(seed).permutation(truth)
            shuffled += 1
            claims += shown_interval(parts, nothing, 2000 + seed, suggested, drawn)[0].above_chance
    return {
        "set": name, "sessions": shown, "inside": int(inside), "mean width": f"{np.mean(width):.2f}",
        "claims where there is nothing to learn": f"{claims} of {shuffled}",
    }  # fmt: skip


if __name__ == "__main__":
    main()
