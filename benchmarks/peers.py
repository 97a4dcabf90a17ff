"""How fast other programs classify the same field: the article's way, TIAToolbox and WSInfer, beside ours.

    python benchmarks/peers.py [--python PYTHON]

``--python`` is a Python that has TIAToolbox and WSInfer; without it an environment is made in ``--work`` with pip,
which takes several GB. Every program classifies the same RGB field of 8192 px a side with ``deep-50``, in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from _results import markdown, write_section
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.engine.inference.openvino_graph import cpu_count
from napari_cellclass.runs.classify.field import classify_field
from napari_cellclass.runs.common.engine_access import Engine, open_engine
from speed import bundle_of, network, quantised_model, write_fields

HERE = Path(__file__).parent
PEERS = ("tiatoolbox==2.1.3", "wsinfer==0.6.1")
_SIDE, _TILE_PX = 8192, 256
ABOUT = """`python benchmarks/peers.py`. The field of the table above, {tiles} tiles of {px} px, the article's
`deep-50`, {cores} cores; medians of {rounds} rounds in turn, every program in a process that has run once before.
*the article's way*: the PNG is cut into PNG files, `flow_from_directory`, `predict`. TIAToolbox {tia}:
`PatchPredictor`, all tiles, on the tiled TIFF and on the PNG. WSInfer {wsi}: `run_inference` on the tiled TIFF,
without its search for tissue. Both with an equal network in PyTorch. *int8*: a network of the same layers,
quantised to int8, trained as published with `--precision int8`. Imports are not counted."""


def environment(work: Path) -> Path:
    """Make the other programs' environment, once."""
    folder = work / "peers"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not (folder / "made").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
        (folder / "made").touch()
    return python


@contextlib.contextmanager
def answering(*command: object) -> Iterator[Callable[[], float]]:
    """Start a child that answers each line with seconds; give what asks it."""
    words = [str(word) for word in command]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(words, **pipes, stderr=log, text=True) as child:

        def ask() -> float:
            print(file=child.stdin, flush=True)
            line = child.stdout.readline()
            if not line:
                log.seek(0)
                sys.exit(f"{words[1:3]} failed: {log.read()[-2000:]}")
            return float(line)

        yield ask
        child.stdin.close()


def main() -> None:
    """Measure, print, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "napari-cellclass-speed")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    python = given.python or environment(given.work)
    paths, keras_file = write_fields(given.work), network(given.work, "deep-50")
    bundle, grid = bundle_of(keras_file), TileGrid.regular((_SIDE, _SIDE), _TILE_PX)
    peer, own = HERE / "_peers_child.py", HERE / "_speed_child.py"
    tiff, quantised = paths["tiled TIFF"], quantised_model(given.work, "deep-50 as published")
    with (
        open_engine(bundle) as engine,
        open_engine(quantised, precision="int8") as int8,
        answering(sys.executable, own, "article", keras_file, paths["PNG"], given.work / "article") as article,
        answering(python, peer, "tiatoolbox", tiff, given.work) as tiatoolbox,
        answering(python, peer, "tiatoolbox", paths["PNG"], given.work / "png") as tiatoolbox_png,
        answering(python, peer, "wsinfer", tiff, given.work) as wsinfer,
    ):

        def ours(path: Path, model: ModelBundle = bundle, runs: Engine = engine) -> float:
            start = time.perf_counter()
            assert classify_field(read_image(path), model, runs, grid).complete
            return time.perf_counter() - start

        others: dict[str, Callable[[], float]] = {
            "WSInfer, tiled TIFF": wsinfer,
            "TIAToolbox, tiled TIFF": tiatoolbox,
            "TIAToolbox, PNG": tiatoolbox_png,
            "the article's way, PNG": article,
        }
        ways: dict[str, Callable[[], float]] = {
            **{f"napari-cellclass, {name}": (lambda path=path: ours(path)) for name, path in paths.items()},
            **{
                f"napari-cellclass int8, {name}": (lambda path=path: ours(path, quantised, int8))
                for name, path in paths.items()
            },
            **others,
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for name, way in ways.items():
            print(name, f"{way():.1f} s to warm up", flush=True)
        for _ in range(given.rounds):
            for name, way in ways.items():
                seconds[name].append(way())
    rates = {name: len(grid) / np.array(times) for name, times in seconds.items()}
    middle = {name: float(np.median(values)) for name, values in rates.items()}
    table = pd.DataFrame(
        {"from": list(rates), "tiles/s": [f"{middle[name]:.0f}" for name in rates]}
        | {"range": [f"{values.min():.0f} to {values.max():.0f}" for values in rates.values()]}
        | {f"times {name}": [f"{rate / middle[name]:.1f}" for rate in middle.values()] for name in others}
    )  # fmt: skip
    versions = dict(one.split("==") for one in PEERS)
    about = ABOUT.format(
        tiles=len(grid), px=_TILE_PX, cores=cpu_count(), rounds=given.rounds,
        tia=versions["tiatoolbox"], wsi=versions["wsinfer"],
    )  # fmt: skip
    write_section(given.out, "Speed beside other programs", f"{about}\n\n{markdown(table)}")
    print(markdown(table))


if __name__ == "__main__":
    main()
