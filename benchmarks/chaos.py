"""A 384-well plate whose workers and runs are killed at twenty random moments, then finished and compared.

After each kill of a run every file under its name has to be whole; at the end every field is there once,
and all tables are those of a run that nobody disturbed.

    python benchmarks/chaos.py                    local workers
    python benchmarks/chaos.py --dask             a Dask cluster of this machine
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil

from _plate_runs import Cluster, cluster, command, is_worker, model, tables, write_plate
from _results import markdown, write_section

HERE = Path(__file__).parent
ABOUT = """`python benchmarks/chaos.py{dask}`. {fields} fields; `kill -9` of a worker or of the whole run
whenever another random number of fields was finished, and the run started again. *half files*: files under their final
names that were not whole after a kill. At the end all tables are compared with those of an undisturbed run."""


def finished(out: Path) -> int:
    """Count the fields that are finished."""
    return len(list(out.glob("*.run.json")))


def half_files(out: Path) -> int:
    """Count the files under their final names that are not whole."""
    bad = 0
    for path in [*out.glob("[!.]*.json"), *out.glob("[!.]*.geojson")]:
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            bad += 1
    for path in out.glob("[!.]*.tiles.csv"):
        text = path.read_text(encoding="utf-8")
        bad += not text.endswith("\n") or len({line.count(",") for line in text.splitlines()}) != 1
    return bad


def local_workers(pid: int) -> list[psutil.Process]:
    """Find the processes that a run has started."""
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(pid).children(recursive=True)
        return [child for child in children if is_worker(child)]
    return []


def disturb(words: list[object], out: Path, points: list[int], chance: random.Random, dask: Cluster | None) -> int:
    """Run, kill and run again; give how many files were ever found broken."""
    bad, child = 0, None
    for point in points:
        if child is None:
            child = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL)
        running = child
        find: Callable[[], list[psutil.Process]] = lambda: (  # noqa: E731
            dask.workers() if dask is not None else local_workers(running.pid)  # noqa: B023
        )
        while finished(out) < point or not find():
            if child.poll() is not None:
                sys.exit(f"the run ended with {child.returncode} before {point} fields were finished")
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.2))
        if chance.random() < 0.5:
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                chance.choice(find()).kill()
            print(f"killed a worker at {finished(out)} fields", flush=True)
        else:
            child.kill()
            child.wait()
            print(f"killed the run at {finished(out)} fields", flush=True)
            child = None
            bad += half_files(out)
    if child is not None:
        child.wait()
    return bad


def main() -> None:
    """Kill, finish, compare, and write the line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=384)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dask", action="store_true")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "napari-cellclass-plate")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    plate, out, whole = given.work / f"plate-{given.fields}", given.work / "killed", given.work / "undisturbed"
    write_plate(plate, given.fields)
    for folder in (out, whole):
        shutil.rmtree(folder, ignore_errors=True)
    chance = random.Random(given.seed)
    points = sorted(chance.sample(range(given.fields - given.fields // 20), given.kills))
    words: list[object] = ["classify", plate, "--model", model(given.work), "--quiet"]
    with cluster(given.work / "dask") if given.dask else contextlib.nullcontext() as dask:
        how = ["--workers", 2] if dask is None else ["--scheduler", dask.address]
        bad = disturb([*words, *how, "--out", out], out, points, chance, dask)
        subprocess.run(command(*words, *how, "--out", out), check=True)
    subprocess.run(command(*words, "--workers", 2, "--out", whole), check=True)
    same, fields = tables(out) == tables(whole), pd.read_csv(out / "fields.csv")
    row = {
        "run": "Dask, 2 workers" if given.dask else "2 workers",
        "kills": given.kills,
        "half files": bad,
        "fields there once": int((~fields["stem"].duplicated() & (fields["state"] == "done")).sum()),
        "tables equal": "yes" if same else "no",
        "left behind": len(list(out.glob(".*"))),
    }
    table = markdown(pd.DataFrame([row]))
    about = ABOUT.format(fields=given.fields, dask=" --dask" if given.dask else "")
    write_section(given.out, f"Killed at any moment{', on a cluster' if given.dask else ''}", f"{about}\n\n{table}")
    print(table)
    if not same or bad:
        sys.exit(1)


if __name__ == "__main__":
    main()
