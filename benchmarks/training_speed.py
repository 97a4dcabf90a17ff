"""How fast networks are trained, with and without augmentation, beside Keras's ``fit`` and PyTorch.

    python benchmarks/training_speed.py [--python PYTHON]

``--python`` is a Python that has PyTorch; without it that column is missing, and said to be. Every training is a
process of its own, all in turn; the first epoch of each, which compiles, is not counted.
"""

from __future__ import annotations

import argparse
import csv
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from _results import markdown, write_section
from _training_child import BATCH
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.samples.realfield import ihc_field
from napari_cellclass.engine.inference.openvino_graph import cpu_count

HERE = Path(__file__).parent
# Network, side of the tiles and of its input in px, tiles.
CASES = {"compact": (128, 768), "deep-50": (256, 384)}
OURS, PLAIN, KERAS, TORCH = "full augmentation", "no augmentation", "Keras fit", "PyTorch, channels last"
ABOUT = """`python benchmarks/training_speed.py`. Tiles per second of whole epochs, validation of a quarter of the tiles
included, in steps of {batch} tiles, {cores} cores; RGB tiles of 8 bits of scikit-image's real field, with noise. *full
augmentation*: `train` with its defaults. *Keras fit*: the same network with `fit` on float32 arrays in memory, without
augmentation, with oneDNN as here. *PyTorch, channels last*: the same layers, without augmentation. Medians of {rounds}
rounds in turn, each a process of its own with {epochs} epochs that count; the ratios are of medians."""


def write_tiles(folder: Path, side: int, count: int) -> None:
    """Write tiles of two classes of the real field, with noise, as PNG; a quarter of the groups is held out."""
    pixels, rng = np.asarray(ihc_field().data), np.random.default_rng(0)
    for number in range(count):
        y, x = rng.integers(0, 512 - side + 1, 2)
        tile = pixels[y : y + side, x : x + side] + rng.integers(-2, 3, (side, side, 3))
        path = folder / "ab"[number % 2] / f"g{number // 8:03d}_{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(tile, 0, 255).astype(np.uint8)).save(path)


def train(folder: Path, network: str, epochs: int, *words: str) -> tuple[list[float], pd.DataFrame]:
    """Train with ``napari-cellclass train``; give the seconds of each epoch, and which tiles were in which split."""
    out = folder / "model.cellclass"
    line = [sys.executable, "-m", "napari_cellclass", "train", str(folder / "tiles"), "--out", str(out), "--quiet"]
    line += ["--network", network, "--group-by", r"^(g\d+)", "--epochs", str(epochs), "--batch-size", str(BATCH)]
    subprocess.run([*line, "--standardise", "tile", *words], check=True, stderr=subprocess.DEVNULL)
    bundle = open_bundle(out)
    rows = csv.DictReader(io.StringIO(bundle.member("history.csv").decode()))
    return [float(row["seconds"]) for row in rows], pd.read_csv(io.BytesIO(bundle.member("split.csv")))


def write_arrays(folder: Path, split: pd.DataFrame) -> Path:
    """Write the tiles of both splits as arrays, for the others."""
    known: dict[str, np.ndarray] = {}
    for part, name in ((TRAIN, "train"), (VALIDATION, "held")):
        mine = split[split["split"] == part]
        known[name] = np.stack([np.asarray(Image.open(path)) for path in mine["path"]])
        known[f"{name}_labels"] = (mine["class_name"] == "b").to_numpy().astype(np.int64)
    np.savez(folder / "tiles.npz", **known)
    return folder / "tiles.npz"


def other(python: Path, way: str, arrays: Path, network: str, epochs: int) -> list[float]:
    """Train another way in a child; give the seconds of each epoch."""
    line = [str(python), str(HERE / "_training_child.py"), way, str(arrays), network, str(epochs)]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def measure(network: str, torch: Path | None, rounds: int, epochs: int, folder: Path) -> dict[str, str]:
    """Measure one network; give a row of the table."""
    side, count = CASES[network]
    write_tiles(folder / "tiles", side, count)
    _, split = train(folder, network, 1)
    arrays = write_arrays(folder, split)
    ways = {
        OURS: lambda: train(folder, network, epochs + 1)[0],
        PLAIN: lambda: train(folder, network, epochs + 1, "--augment", "none")[0],
        KERAS: lambda: other(Path(sys.executable), "keras", arrays, network, epochs + 1),
    }
    if torch is not None:
        ways[TORCH] = lambda: other(torch, "torch", arrays, network, epochs + 1)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            rates[name].append(count / float(np.median(way()[1:])))
            print(f"{network}, {number + 1}: {name}: {rates[name][-1]:.0f} tiles/s", flush=True)
    middle = {name: float(np.median(values)) for name, values in rates.items()}
    row = {"network": network, "input": f"{side} x {side} px", "tiles": str(count)}
    row |= {
        f"{name}, tiles/s": f"{middle[name]:.0f} ({min(rates[name]):.0f} to {max(rates[name]):.0f})" for name in ways
    }
    row |= {f"full / {name}": f"{middle[OURS] / middle[name]:.2f}" for name in list(ways)[1:]}
    return row


def main() -> None:
    """Measure, print, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path)
    parser.add_argument("--networks", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    rows = []
    for network in given.networks:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(network, given.python, given.rounds, given.epochs, Path(folder)))
    about = ABOUT.format(batch=BATCH, cores=cpu_count(), rounds=given.rounds, epochs=given.epochs)
    about += "" if given.python else " PyTorch was not there to be measured."
    table = markdown(pd.DataFrame(rows))
    write_section(given.out, "Speed of training", f"{about}\n\n{table}")
    print(table)


if __name__ == "__main__":
    main()
