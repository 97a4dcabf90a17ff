"""Workers and whole runs killed at any moment: what is there is whole, and a last run makes it complete."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests._patience import PROCESS_S, wait_until
from tests._plates import assert_files_are_whole, pool_workers, read_plate_table, tables, write_plate

from napari_cellclass.cli.main import main

FIELDS, RUNS = 18, 2
# (a worker, then the run) per run: four kills in all
WORDS = ["--workers", "2", "--overlap", "0.75", "--quiet"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no kill -9")
def test_every_field_is_there_once_and_equal_however_workers_and_runs_were_killed(
    tmp_path: Path, ihc_model: Path
) -> None:
    plate, out, whole = tmp_path / "plate", tmp_path / "out", tmp_path / "whole"
    write_plate(plate, FIELDS, px=128)
    line = ["classify", str(plate), "--model", str(ihc_model), *WORDS]
    chance = random.Random(11)
    points = sorted(chance.sample(range(FIELDS - 8), 2 * RUNS))
    kills = 0
    for run in range(RUNS):
        child = subprocess.Popen([sys.executable, "-m", "napari_cellclass", *line, "--out", str(out)])
        for point, killed in zip(points[2 * run : 2 * run + 2], ("worker", "run"), strict=True):
            victim = _at(out, point, child, killed)
            time.sleep(chance.uniform(0, 0.05))  # waits for nothing: any moment will do
            victim.kill()
            kills += 1
        child.wait(PROCESS_S)
        assert_files_are_whole(out)
        _, alive = psutil.wait_procs(pool_workers(child.pid), timeout=PROCESS_S)
        assert not alive
    assert kills == 2 * RUNS
    before = assert_files_are_whole(out)
    assert main([*line, "--out", str(out)]) == 0
    assert main(["classify", str(plate), "--model", str(ihc_model), *WORDS[2:], "--out", str(whole)]) == 0
    assert before < FIELDS, "the last run had something to do"
    assert tables(out) == tables(whole)
    fields = read_plate_table(out / "fields.csv")
    assert sorted(fields["stem"]) == sorted(path.stem for path in plate.iterdir())
    assert not list(out.glob(".*"))


def _at(out: Path, point: int, child: subprocess.Popen[bytes], killed: str) -> psutil.Process:
    """Wait until so many fields are finished, and give what is to be killed."""
    workers: list[psutil.Process] = []

    def there() -> bool:
        assert child.poll() is None, "the run ended before it could be killed"
        workers[:] = pool_workers(child.pid)
        return bool(workers) and len(list(out.glob("*.run.json"))) >= point

    wait_until(there)
    return workers[0] if killed == "worker" else psutil.Process(child.pid)
