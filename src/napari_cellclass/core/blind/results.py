"""What came out of a blinded reading: each reader, the readers among themselves, and the network."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.blind.session import BlindSession, Reading
from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.files import atomic_write, write_json
from napari_cellclass.core.stats.agreement import PairedComparison, compare_paired, contingency_tables, kappa_estimate
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.core.stats.metrics import GroupedMetrics


@dataclass(frozen=True)
class Agreement:
    """How two readings of the same tiles agree.

    Parameters
    ----------
    n, same
        Tiles, and those that got the same class.
    kappa
        Cohen's kappa, None where it is not defined.
    """

    n: int
    same: int
    kappa: Estimate | None


@dataclass(frozen=True)
class ReaderResult:
    """One reader.

    Parameters
    ----------
    reader
        The name.
    n
        Tiles; a tile that came twice counts by its first reading.
    accuracy, balanced_accuracy
        Against the true classes.
    confusion
        Rows are the truth.
    median_seconds
        Time per tile, repeats included.
    within
        First against second reading of the tiles that came twice; None without repeats.
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
    """The results of a session.

    Parameters
    ----------
    seal
        See :attr:`BlindSession.seal`.
    classes
        Names.
    groups
        How many wells, fields or regions the tiles come from.
    readers
        One each.
    between
        (reader, reader, agreement) of every pair.
    network
        Name, accuracy and balanced accuracy on the same tiles; None without one.
    tiles
        A row per tile: tile, path, y0, x0, y1, x1, group, true_class, network's class and confidence, and each
        reader's class.
    answers
        A row per answer: reader, place, tile, reading (1 or 2), class_name, right, seconds.
    """

    seal: str
    classes: tuple[str, ...]
    groups: int
    readers: tuple[ReaderResult, ...]
    between: tuple[tuple[str, str, Agreement], ...]
    network: dict[str, Any] | None
    tiles: pd.DataFrame
    answers: pd.DataFrame

    def disagreements(self, reader: str) -> pd.DataFrame:
        """Give the rows of :attr:`tiles` where a reader and the network gave different classes."""
        if self.network is None:
            return self.tiles.iloc[:0]
        return self.tiles[self.tiles[f"reader {reader}"] != self.tiles["network"]]

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
        for target, frame in zip(written[1:], (self.tiles, self.answers), strict=True):
            with atomic_write(target) as temporary:
                escape_formulas(frame).to_csv(
                    temporary, index=False, float_format="%.6g", lineterminator="\n", errors="backslashreplace"
                )
        write_json(written[0], self.to_json())
        return written


def reveal(session: BlindSession) -> BlindResult:
    """Open the seals of a session and compare.

    Raises
    ------
    BlindError
        Not everybody who has begun is through, or something was changed since; see :meth:`BlindSession.reveal`.
    """
    sealed, network, readings = session.reveal()
    truth = np.array([tile["class"] for tile in sealed["tiles"]])
    groups = np.array([tile["group"] for tile in sealed["tiles"]], str)
    names = session.scheme.names
    said = None if network is None else _network_classes(network["prob"])
    first = {reading.reader: _readings(reading, len(truth))[0] for reading in readings}
    scored = None
    if network is not None and said is not None:
        # A tile with NaN pixels has no class of the network's: a column of its own, and never right.
        accuracy, balanced = GroupedMetrics(
            contingency_tables(truth, np.where(said < 0, len(names), said), groups, len(names) + 1)[0]
        ).accuracies()
        scored = {"name": network["name"], "accuracy": asdict(accuracy), "balanced_accuracy": asdict(balanced)}
    return BlindResult(
        session.seal,
        names,
        len(set(groups.tolist())),
        tuple(_reader(reading, truth, groups, said, len(names)) for reading in readings),
        tuple((a, b, _agreement(first[a], first[b], groups, len(names))) for a, b in combinations(first, 2)),
        scored,
        _tile_frame(sealed, network, said, first, names),
        pd.concat([_answer_frame(reading, truth, names) for reading in readings], ignore_index=True),
    )


def _network_classes(prob: list[list[float] | None]) -> NDArray[np.int64]:
    return np.array([-1 if row is None else int(np.argmax(row)) for row in prob], np.int64)


def _readings(reading: Reading, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give a reader's first and second class of each tile, -1 where there is no second."""
    found = np.full((2, n), -1, np.int64)
    for tile, answer in zip(reading.order, reading.answers, strict=True):
        found[0 if found[0, tile] < 0 else 1, tile] = answer.label
    return found[0], found[1]


def _agreement(a: NDArray[Any], b: NDArray[Any], groups: NDArray[Any], k: int) -> Agreement:
    return Agreement(len(a), int((a == b).sum()), kappa_estimate(a, b, groups, k))


def _reader(
    reading: Reading, truth: NDArray[Any], groups: NDArray[Any], said: NDArray[Any] | None, k: int
) -> ReaderResult:
    first, second = _readings(reading, len(truth))
    figures = GroupedMetrics(contingency_tables(truth, first, groups, k)[0])
    accuracy, balanced = figures.accuracies()
    twice = second >= 0
    return ReaderResult(
        reading.reader,
        len(truth),
        accuracy,
        balanced,
        tuple(tuple(int(v) for v in row) for row in figures.total),
        float(np.median([answer.seconds for answer in reading.answers])),
        _agreement(first[twice], second[twice], groups[twice], k) if twice.any() else None,
        None if said is None else compare_paired(first == truth, said == truth, groups),
    )


def _tile_frame(
    sealed: dict[str, Any],
    network: dict[str, Any] | None,
    said: NDArray[Any] | None,
    first: dict[str, NDArray[np.int64]],
    names: tuple[str, ...],
) -> pd.DataFrame:
    tiles = sealed["tiles"]
    columns: dict[str, Any] = {"tile": range(len(tiles)), "path": [tile["path"] for tile in tiles]}
    columns |= {name: [tile["box"][i] for tile in tiles] for i, name in enumerate(("y0", "x0", "y1", "x1"))}
    columns |= {"group": [tile["group"] for tile in tiles], "true_class": [names[tile["class"]] for tile in tiles]}
    if network is not None and said is not None:
        columns["network"] = [names[i] if i >= 0 else "" for i in said]
        columns["confidence"] = [np.nan if row is None else max(row) for row in network["prob"]]
    return pd.DataFrame(columns | {f"reader {name}": [names[i] for i in labels] for name, labels in first.items()})


def _answer_frame(reading: Reading, truth: NDArray[Any], names: tuple[str, ...]) -> pd.DataFrame:
    tile = np.array(reading.order)
    label = np.array([answer.label for answer in reading.answers])
    return pd.DataFrame(
        {
            "reader": reading.reader,
            "place": np.arange(len(tile)),
            "tile": tile,
            "reading": pd.Series(tile).groupby(tile).cumcount() + 1,
            "class_name": [names[i] for i in label],
            "right": label == truth[tile],
            "seconds": [answer.seconds for answer in reading.answers],
        }
    )
