"""A plate of real fields, a model of it, and a Dask cluster of this machine, for the benchmarks of many fields."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import tifffile

from napari_cellclass.core.images.reading import read_image

DATA = Path(__file__).parents[2] / "shared" / "data" / "transfluor"
_PX, _TRAINED_EPOCHS = 448, 2


def command(*words: object) -> list[str]:
    """Give the words that start this program."""
    return [sys.executable, "-m", "napari_cellclass", *map(str, words)]


def write_plate(folder: Path, fields: int, seed: int = 0) -> None:
    """Write one field of 448 x 448 px per well of a 384-well plate: crops of the real fields, each with a gain."""
    sources = [read_image(path).read(0, 0, 512, 512)[..., 0] for path in sorted(DATA.glob("*/*.TIF"))]
    if not sources:
        sys.exit(f"the real images are not at {DATA}")
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(fields):
        y, x = rng.integers(0, 512 - _PX + 1, 2)
        crop = sources[rng.integers(len(sources))][y : y + _PX, x : x + _PX] * rng.uniform(0.5, 2.0)
        path = folder / f"{chr(ord('A') + i // 24)}{i % 24 + 1:02d}f00.tif"
        if not path.exists():
            tifffile.imwrite(path, crop.clip(0, 255).astype(np.uint8))


def model(work: Path, network: str = "compact") -> Path:
    """Train a model for a moment, unless it is there: what it says does not matter here."""
    path = work / f"plate-{network}.cellclass"
    if not path.exists():
        words = [
            "train",
            DATA,
            "--out",
            path,
            "--tile-px",
            128,
            "--group-by",
            "^(...)",
            "--network",
            network,
            "--quiet",
        ]
        subprocess.run(command(*words, "--epochs", _TRAINED_EPOCHS), check=True)
    return path


def tables(out: Path) -> dict[str, str]:
    """Hashes of all tables of a run."""
    kinds = (".tiles.csv", ".geojson", ".run.json", "fields.csv", "wells.csv")
    files = sorted(path for path in out.iterdir() if path.name.endswith(kinds))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def is_worker(process: psutil.Process) -> bool:
    """Tell whether a process is one that another has started to compute; one that has just ended is none."""
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


class Cluster:
    """A scheduler and workers of one thread each.

    Parameters
    ----------
    folder
        For their files.
    workers
        How many.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        told = folder / "scheduler.json"
        told.unlink(missing_ok=True)
        here = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told)]
        self._processes = [self._start("scheduler", *here)]
        while not told.is_file() or not told.read_text().strip():
            time.sleep(0.1)
        self.address = json.loads(told.read_text())["address"]
        for i in range(workers):
            words = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(folder / str(i))]
            self._processes.append(self._start("worker", self.address, *words))

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "dask", *words]
        return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def workers(self) -> list[psutil.Process]:
        """Give the processes that compute; each has one beside it that starts it again when it ends."""
        found = [child for process in self._processes[1:] for child in psutil.Process(process.pid).children()]
        return [child for child in found if is_worker(child)]

    def close(self) -> None:
        """End them all."""
        for process in reversed(self._processes):
            family = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            process.wait(60)
            for child in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()


@contextlib.contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Have a cluster for as long as the block lasts."""
    made = Cluster(folder, workers)
    try:
        yield made
    finally:
        made.close()
