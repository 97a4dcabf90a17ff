"""Thousands of hostile inputs, in processes that may take 2 GiB: each is read or refused in one line, never more.

What is counted here is printed at the end of the run; the seeds make every input again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests._patience import PROCESS_S

HERE = Path(__file__).parent
SEED = 20_261
JOBS = {"job_images.py": 1000, "job_files.py": 900, "job_words.py": 110, "job_foreign.py": 1100}
LEAST = 3100

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory can only be limited on Linux")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of all inputs, by job."""
    found = {}
    for job, count in JOBS.items():
        folder = tmp_path_factory.mktemp(job[:-3])
        places = {name: str(folder) for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")}
        done = subprocess.run(
            [sys.executable, str(HERE / job), str(folder / "work"), str(SEED), str(count)], env=os.environ | places,
            cwd=folder, capture_output=True, text=True, timeout=PROCESS_S, check=False,
        )  # fmt: skip
        last = folder / "work" / "last"
        assert done.returncode == 0, f"{job} died of {last.read_text() if last.exists() else ''}: {done.stderr[-2000:]}"
        found[job] = json.loads(done.stdout.splitlines()[-1]) | {
            "stderr": done.stderr,
            "left": sorted(path.name for path in folder.iterdir()),
        }
    return found


def test_no_hostile_input_crashes_hangs_or_shows_a_traceback(reports: dict[str, dict[str, Any]]) -> None:
    total = 0
    for job, report in reports.items():
        tried = sum(report["counts"].values())
        refused = sum(n for kind, n in report["counts"].items() if kind.endswith("refused"))
        total += tried
        print(
            f"\n{job} seed {SEED}: {tried} inputs, {refused} refused, {len(report['wrong'])} wrong, slowest "
            f"{report['slowest']} s, peak {report['peak_mb']} MB",
            end="",
        )
        assert report["wrong"] == []
        assert report["stderr"] == "", "a library speaks to the user"
    print(f"\n{total} inputs in all")
    assert total >= LEAST


def test_every_good_input_is_taken_and_enough_are_refused(reports: dict[str, dict[str, Any]]) -> None:
    """The law above would hold for a program that refuses, or takes, everything."""
    files = reports["job_files.py"]["counts"]
    assert {kind for kind in files if kind.endswith("whole refused")} == set()
    for kind in ("bundle", "keras", "geojson", "coco", "annotation", "renaming", "table", "list", "blind", "settings"):
        assert files.get(f"{kind} spoilt refused", 0) > 5, kind
    assert reports["job_images.py"]["counts"]["image spoilt taken"] > 100
    assert reports["job_images.py"]["counts"]["image spoilt refused"] > 100
    assert files.get("keras enemy taken", 0) == 0
    assert files.get("bundle enemy taken", 0) == 0
    assert files.get("checkpoint enemy taken", 0) == 0
    assert files.get("checkpoint spoilt refused", 0) > 5


def test_no_hostile_input_takes_two_gigabytes_or_half_a_minute(reports: dict[str, dict[str, Any]]) -> None:
    for report in reports.values():
        assert report["peak_mb"] < 2048 + 300  # what may be added, and what libraries take
        assert report["slowest"] < 30


def test_no_hostile_input_writes_elsewhere_runs_a_program_or_calls_anybody(reports: dict[str, dict[str, Any]]) -> None:
    for report in reports.values():
        assert report["outside"] == []
        assert report["called"] == []
        assert [name for name in report["left"] if name != "work"] == []
