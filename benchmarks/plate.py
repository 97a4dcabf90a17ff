"""A 384-well plate: one process, two workers, and a Dask cluster of two workers, in turn.

The fields are crops of real ones with a gain each. The network has one thread in all processes, so that two processes
are compared with one, and not with all cores. Whole commands are timed, with their start. All tables must be the same,
byte by byte.

    python benchmarks/plate.py                    about five minutes on two cores
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from _plate_runs import cluster, command, model, tables, write_plate
from _results import markdown, write_section

HERE = Path(__file__).parent
ABOUT = """`python benchmarks/plate.py`. {fields} fields of 448 x 448 px, {tiles:,} tiles of 128 px, one thread of the
network per process, {cores} cores. Seconds of the whole command, its start included; median and range of {rounds}
rounds, the three in turn. The tables of all runs are the same, byte by byte."""


def seconds(words: list[object], out: Path) -> float:
    """Time one run into an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    subprocess.run(command(*words, "--out", out), check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--overlap", type=float, default=0.75)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "napari-cellclass-plate")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    plate = given.work / f"plate-{given.fields}"
    write_plate(plate, given.fields)
    words: list[object] = ["classify", plate, "--model", model(given.work), "--overlap", given.overlap]
    words += ["--threads", 1, "--quiet"]
    times: dict[str, list[float]] = {}
    first: dict[str, str] = {}
    with cluster(given.work / "dask") as dask:
        ways = {"1 process": [], "2 workers": ["--workers", 2], "Dask, 2 workers": ["--scheduler", dask.address]}
        for _ in range(given.rounds):
            for name, more in ways.items():
                out = given.work / "out"
                times.setdefault(name, []).append(seconds([*words, *more], out))
                found = tables(out)
                first = first or found
                if found != first:
                    sys.exit(f"{name}: the tables are not the same")
                print(f"{name}: {times[name][-1]:.1f} s", flush=True)
    tiles = int(pd.read_csv(out / "fields.csv")["tiles"].sum())
    base = np.median(times["1 process"])
    rows = [
        {
            "run": name,
            "seconds": f"{np.median(values):.1f}",
            "range": f"{min(values):.1f} to {max(values):.1f}",
            "fields/s": f"{given.fields / np.median(values):.1f}",
            "speed-up": f"{base / np.median(values):.2f}",
        }
        for name, values in times.items()
    ]
    about = ABOUT.format(fields=given.fields, tiles=tiles, cores=os.cpu_count(), rounds=given.rounds)
    table = markdown(pd.DataFrame(rows))
    write_section(given.out, "A plate in one process, in two, and on a cluster", f"{about}\n\n{table}")
    print(table)


if __name__ == "__main__":
    main()
