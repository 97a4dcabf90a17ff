"""Results of a blinded reading: each reader, agreement between readers, and the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.blind.container import decode_png, read_tile_png
from napari_cellclass.core.blind.session import BlindSession, Reading
from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.files import atomic_write, write_json
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.stats.agreement import PairedComparison, compare_paired, contingency_tables, kappa_estimate
from napari_cellclass.core.stats.headlines import estimate_text, headline, sample_caveats, sample_text
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.core.stats.metrics import GroupedMetrics


@dataclass(frozen=True)
class Agreement:
    """Agreement of two readings of the same tiles.

    Parameters
    ----------
    n, same
        Number of tiles, and of those with the same class.
    kappa
        Cohen's kappa, None where it is undefined.
    """

    n: int
    same: int
    kappa: Estimate | None


@dataclass(frozen=True)
class ReaderResult:
    """Results of one reader.

    Parameters
    ----------
    reader
        Name.
    n
        Number of tiles; of a repeated tile the first reading counts.
    accuracy, balanced_accuracy
        Against the ground truth.
    confusion
        Rows are the ground truth.
    median_seconds
        Median time per tile, repeats included.
    within
        Intra-reader agreement: first against second reading of the repeated tiles; None without repeats.
    against_network
        a is the reader, b the network; None without a network.
    """

    reader: str
    n: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    confusion: tuple[tuple[int, ...], ...]
    median_seconds: float
    within: Agreement | None
    against_network: PairedComparison | None


@dataclass(frozen=True, eq=False)
class BlindResult:
    """Results of a session.

    Parameters
    ----------
    seal
        See :attr:`BlindSession.seal`.
    classes
        Class names.
    groups
        Number of wells, fields or regions that the tiles come from.
    readers
        Results of each reader.
    between
        Inter-reader agreement: (reader, reader, agreement) of every pair.
    network
        Name, accuracy and balanced accuracy on the same tiles, number of their images, and of those that it was trained
        on; None without one. Sessions of earlier versions lack both numbers.
    tiles
        A row per tile: tile, path, y0, x0, y1, x1, group, true_class, the network's class and confidence, and each
        reader's class.
    responses
        A row per response: reader, place, tile, reading (1 or 2), class_name, right, seconds.
    path
        The session's file, which holds the pictures of the tiles as they were read.
    """

    seal: str
    classes: tuple[str, ...]
    groups: int
    readers: tuple[ReaderResult, ...]
    between: tuple[tuple[str, str, Agreement], ...]
    network: dict[str, Any] | None
    tiles: pd.DataFrame
    responses: pd.DataFrame
    path: Path

    def disagreements(self, reader: str | None = None) -> pd.DataFrame:
        """Give the rows of :attr:`tiles` where a reader, or any of them, and the network gave different classes."""
        if self.network is None:
            return self.tiles.iloc[:0]
        names = [f"reader {one.reader}" for one in self.readers if reader in (None, one.reader)]
        return self.tiles[(self.tiles[names].ne(self.tiles["network"], axis=0)).any(axis=1)]

    def pictures(self, tiles: Sequence[int], task: Task = NO_TASK) -> list[NDArray[np.uint8]]:
        """Read tiles as they were read, uint8 (h, w, 3).

        Raises
        ------
        BlindError
            The file was removed or damaged.
        CancelledError
            The task was cancelled.
        """
        found = []
        for tile in tiles:
            task.check("cancelled while pictures were read")
            found.append(decode_png(read_tile_png(self.path, int(tile))))
        return found

    def caveats(self) -> list[str]:
        """Tell what the results do not show, the worst first."""
        found = []
        seen = 0 if self.network is None else self.network.get("images_trained_on", 0)
        if self.network is not None and seen:
            found.append(
                f"{seen} of the {counted(self.network['images'], 'image')} were trained on, so that the network is not "
                "fairly compared"
            )
        if len(np.unique(self.tiles[["y1", "x1"]].to_numpy() - self.tiles[["y0", "x0"]].to_numpy(), axis=0)) > 1:
            found.append("the tiles differ in size, which may have given a class away")
        counts = self.tiles["true_class"].value_counts()
        return [*found, *sample_caveats(counts.tolist(), self.groups)]

    def headline(self) -> str:
        """Describe the results in one sentence: balanced accuracy of readers and network, n, and the worst caveat."""
        figures = [(one.reader, one.balanced_accuracy) for one in self.readers]
        if self.network is not None:
            figures.append(("network", Estimate(**self.network["balanced_accuracy"])))
        notes = ", ".join(f"{name} {estimate_text(value)}" for name, value in figures)
        return headline(f"balanced accuracy: {notes}, {sample_text(len(self.tiles), self.groups)}", self.caveats())

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-able dict."""
        return {
            "seal": self.seal,
            "classes": list(self.classes),
            "tiles": len(self.tiles),
            "groups": self.groups,
            "network": self.network,
            "readers": [
                asdict(one) | {"differs_from_network": self.disagreements(one.reader)["tile"].tolist()}
                for one in self.readers
            ],
            "between_readers": [{"a": a, "b": b, **asdict(found)} for a, b, found in self.between],
        }

    def write(self, path: Path) -> list[Path]:
        """Write ``NAME.json``, ``NAME.tiles.csv`` and ``NAME.answers.csv``; give their paths.

        Raises
        ------
        OutputError
            A file cannot be written.
        """
        stem = path.with_suffix("") if path.suffix.lower() == ".json" else path
        written = [stem.with_name(stem.name + suffix) for suffix in (".json", ".tiles.csv", ".answers.csv")]
        for target, frame in zip(written[1:], (self.tiles, self.responses), strict=True):
            with atomic_write(target) as temporary:
                escape_formulas(frame).to_csv(
                    temporary, index=False, float_format="%.6g", lineterminator="\n", errors="backslashreplace"
                )
        write_json(written[0], self.to_json())
        return written


def reveal(session: BlindSession) -> BlindResult:
    """Unblind a session and compare readers and network.

    Raises
    ------
    BlindError
        Someone who has started has not finished, or something was changed since; see :meth:`BlindSession.reveal`.
    """
    sealed, network, readings = session.reveal()
    ground_truth = np.array([tile["class"] for tile in sealed["tiles"]])
    groups = np.array([tile["group"] for tile in sealed["tiles"]], str)
    names = session.scheme.names
    predicted = None if network is None else _network_classes(network["prob"])
    first = {reading.reader: _first_and_second(reading, len(ground_truth))[0] for reading in readings}
    scored = None
    if network is not None and predicted is not None:
        # A tile with NaN pixels has no predicted class: a column of its own, and never correct.
        accuracy, balanced = GroupedMetrics(
            contingency_tables(ground_truth, np.where(predicted < 0, len(names), predicted), groups, len(names) + 1)[0]
        ).accuracies()
        scored = {"name": network["name"], "accuracy": asdict(accuracy), "balanced_accuracy": asdict(balanced)}
        scored |= {name: network[name] for name in ("images", "images_trained_on") if name in network}
    return BlindResult(
        session.seal,
        names,
        len(set(groups.tolist())),
        tuple(_reader_result(reading, ground_truth, groups, predicted, len(names)) for reading in readings),
        tuple((a, b, _agreement(first[a], first[b], groups, len(names))) for a, b in combinations(first, 2)),
        scored,
        _tile_frame(sealed, network, predicted, first, names),
        pd.concat([_response_frame(reading, ground_truth, names) for reading in readings], ignore_index=True),
        session.path,
    )


def _network_classes(prob: list[list[float] | None]) -> NDArray[np.int64]:
    return np.array([-1 if row is None else int(np.argmax(row)) for row in prob], np.int64)


def _first_and_second(reading: Reading, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give a reader's first and second class index of each tile, -1 where there is no second."""
    found = np.full((2, n), -1, np.int64)
    for tile, response in zip(reading.order, reading.responses, strict=True):
        found[0 if found[0, tile] < 0 else 1, tile] = response.label
    return found[0], found[1]


def _agreement(a: NDArray[Any], b: NDArray[Any], groups: NDArray[Any], k: int) -> Agreement:
    return Agreement(len(a), int((a == b).sum()), kappa_estimate(a, b, groups, k))


def _reader_result(
    reading: Reading, ground_truth: NDArray[Any], groups: NDArray[Any], predicted: NDArray[Any] | None, k: int
) -> ReaderResult:
    first, second = _first_and_second(reading, len(ground_truth))
    figures = GroupedMetrics(contingency_tables(ground_truth, first, groups, k)[0])
    accuracy, balanced = figures.accuracies()
    repeated = second >= 0
    return ReaderResult(
        reading.reader,
        len(ground_truth),
        accuracy,
        balanced,
        tuple(tuple(int(v) for v in row) for row in figures.total),
        float(np.median([response.seconds for response in reading.responses])),
        _agreement(first[repeated], second[repeated], groups[repeated], k) if repeated.any() else None,
        None if predicted is None else compare_paired(first == ground_truth, predicted == ground_truth, groups),
    )


def _tile_frame(
    sealed: dict[str, Any],
    network: dict[str, Any] | None,
    predicted: NDArray[Any] | None,
    first: dict[str, NDArray[np.int64]],
    names: tuple[str, ...],
) -> pd.DataFrame:
    tiles = sealed["tiles"]
    columns: dict[str, Any] = {"tile": range(len(tiles)), "path": [tile["path"] for tile in tiles]}
    columns |= {name: [tile["box"][i] for tile in tiles] for i, name in enumerate(("y0", "x0", "y1", "x1"))}
    columns |= {"group": [tile["group"] for tile in tiles], "true_class": [names[tile["class"]] for tile in tiles]}
    if network is not None and predicted is not None:
        columns["network"] = [names[i] if i >= 0 else "" for i in predicted]
        columns["confidence"] = [np.nan if row is None else max(row) for row in network["prob"]]
    return pd.DataFrame(columns | {f"reader {name}": [names[i] for i in labels] for name, labels in first.items()})


def _response_frame(reading: Reading, ground_truth: NDArray[Any], names: tuple[str, ...]) -> pd.DataFrame:
    tile = np.array(reading.order)
    label = np.array([response.label for response in reading.responses])
    return pd.DataFrame(
        {
            "reader": reading.reader,
            "place": np.arange(len(tile)),
            "tile": tile,
            "reading": pd.Series(tile).groupby(tile).cumcount() + 1,
            "class_name": [names[i] for i in label],
            "right": label == ground_truth[tile],
            "seconds": [response.seconds for response in reading.responses],
        }
    )
