"""A 384-well plate: one process, two workers, and a Dask cluster of two workers, in turn.

The fields are crops of real ones with a gain each. The network has one thread in all processes, so that two processes
are compared with one, and not with all cores. Whole commands are timed, with their start. All tables must be the same,
byte by byte.

    python benchmarks/plate.py                    about eleven minutes on two cores
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

from _plate_runs import cluster, command, model, tables, write_plate
from _results import markdown, write_section

HERE = Path(__file__).parent
ABOUT = """`python benchmarks/plate.py`. {fields} fields of 448 x 448 px, tiles of 128 px, one thread of the network per
process, {cores} cores: with one thread a process reads, computes and writes in turn, so that it keeps one core busy
(threads that read ahead would make one process about 5 % faster, and two beside each other 3 % slower).
Seconds of the whole command, its start included; median and range of {rounds} rounds, the three in turn. The tables of
all runs are the same, byte by byte. *the limit*: two processes that classify tiles in memory beside each other, one
thread each, are {most:.2f} times as fast as one on this machine."""


OVERLAP = 0.75
_LIMIT_TILES = 2048


def measure(words: list[object], ways: dict[str, list[object]], rounds: int, out: Path) -> dict[str, list[float]]:
    """Time the ways in turn; all have to leave the same tables."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    first: dict[str, str] = {}
    for number in range(rounds):
        for name, more in ways.items():
            # Not one folder again and again: some file systems are slow to make files where many were just removed.
            folder = out / f"{name.replace(' ', '-')}-{number}"
            times[name].append(seconds([*words, *more], folder))
            found = tables(folder)
            first = first or found
            if found != first:
                sys.exit(f"{name}: the tables are not the same")
            print(f"{name}: {times[name][-1]:.1f} s", flush=True)
    return times


def limit(network: Path, rounds: int) -> float:
    """Give how many times as fast two processes classify tiles in memory as one: the machine's own limit."""
    line = [sys.executable, str(HERE / "_engine_child.py"), str(network), str(_LIMIT_TILES)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(line, **pipes) as one, subprocess.Popen(line, **pipes) as other:
        ratios = []
        for number in range(rounds + 1):
            slowest = []
            for children in ((one,), (one, other)):
                for child in children:
                    print(file=child.stdin, flush=True)
                slowest.append(max(float(child.stdout.readline()) for child in children))
            if number:  # the first is not counted
                ratios.append(2 * slowest[0] / slowest[1])
        one.stdin.close()
        other.stdin.close()
    return float(np.median(ratios))


def seconds(words: list[object], out: Path) -> float:
    """Time one run into a new folder."""
    start = time.perf_counter()
    subprocess.run(command(*words, "--out", out), check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=["deep-50", "compact"], default=["deep-50"])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "napari-cellclass-plate")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    plate = given.work / f"plate-{given.fields}"
    write_plate(plate, given.fields)
    parts: list[dict[str, str]] = []
    with cluster(given.work / "dask") as dask:
        for network in given.networks:
            words: list[object] = [
                "classify",
                plate,
                "--model",
                model(given.work, network),
                "--overlap",
                OVERLAP,
            ]
            words += ["--threads", 1, "--quiet"]
            ways = {"1 process": [], "2 workers": ["--workers", 2], "Dask, 2 workers": ["--scheduler", dask.address]}
            with tempfile.TemporaryDirectory(dir=given.work) as out:
                times = measure(words, ways, given.rounds, Path(out))
                tiles = int(pd.read_csv(Path(out) / "1-process-0" / "fields.csv")["tiles"].sum())
            base, most = np.median(times["1 process"]), limit(model(given.work, network), given.rounds)
            parts += [
                {
                    "network": network,
                    "tiles": f"{tiles:,}",
                    "run": name,
                    "seconds": f"{np.median(values):.1f}",
                    "range": f"{min(values):.1f} to {max(values):.1f}",
                    "fields/s": f"{given.fields / np.median(values):.1f}",
                    "speed-up": f"{base / np.median(values):.2f}",
                    "of the limit": "" if name == "1 process" else f"{base / np.median(values) / most:.2f}",
                }
                for name, values in times.items()
            ]
    about = ABOUT.format(fields=given.fields, cores=os.cpu_count(), rounds=given.rounds, most=most)
    table = markdown(pd.DataFrame(parts))
    write_section(given.out, "A plate in one process, in two, and on a cluster", f"{about}\n\n{table}")
    print(table)


if __name__ == "__main__":
    main()
