"""A whole plate from the command line: what is found, written, kept, done again, and told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image
from tests._patience import PROCESS_S, wait_until
from tests._plates import pool_workers, tables, write_plate
from tests._program import line

from napari_cellclass.cli.main import main
from napari_cellclass.runs.classify.folder_lock import LOCK, locked_folder


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six fields of three wells."""
    folder = tmp_path_factory.mktemp("plate")
    write_plate(folder, 6)
    return folder


@pytest.fixture
def copy(plate: Path, tmp_path: Path) -> Path:
    """The same fields, to be changed."""
    return Path(shutil.copytree(plate, tmp_path / "copy"))


def classify(out: Path, model: Path, *words: Any) -> int:
    return main(["classify", *map(str, words), "--model", str(model), "--out", str(out), "--quiet"])


def report(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return content


def kept(out: Path) -> set[str]:
    return {result["stem"] for result in report(out)["results"] if result["kept"]}


def test_a_plate_gives_a_table_of_fields_one_of_wells_and_a_picture(
    tmp_path: Path, plate: Path, ihc_model: Path
) -> None:
    out = tmp_path / "out"
    assert classify(out, ihc_model, plate) == 0
    fields, wells = pd.read_csv(out / "fields.csv"), pd.read_csv(out / "wells.csv")
    assert fields["well"].tolist() == ["A01", "A01", "A02", "A02", "A03", "A03"]
    assert fields["site"].tolist() == [0, 1] * 3
    for row in fields.itertuples():
        table = pd.read_csv(out / f"{row.stem}.tiles.csv")
        assert (row.tiles, row.n_stained) == (len(table), (table["class_name"] == "stained").sum())
        assert row.fraction_stained == pytest.approx(row.n_stained / row.tiles, abs=1e-5)
        assert row.mean_confidence == pytest.approx(table["confidence"].mean(), abs=1e-5)
        assert table["novelty_p"].between(0, 1).all()
        assert row.unlike_training == (table["novelty_p"] <= 0.05).sum()
        assert row.unlike_training_share == pytest.approx(row.unlike_training / row.tiles, abs=1e-5)
    by_well = fields.groupby("well")
    assert wells["n_stained"].tolist() == by_well["n_stained"].sum().tolist()
    assert wells["unlike_training"].tolist() == by_well["unlike_training"].sum().tolist()
    assert wells["fraction_stained"].to_numpy() == pytest.approx(
        (by_well["n_stained"].sum() / by_well["tiles"].sum()).to_numpy(), abs=1e-5
    )
    with Image.open(out / "plate.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 20


def test_folders_patterns_and_lists_are_the_images_they_name(tmp_path: Path, copy: Path, ihc_model: Path) -> None:
    (tmp_path / "list.txt").write_text("copy/A03f0.png\n")
    words = [str(copy / "A01*.png"), tmp_path / "list.txt", copy / "A02f1.png"]
    assert classify(tmp_path / "out", ihc_model, *words) == 0
    fields = pd.read_csv(tmp_path / "out" / "fields.csv")
    assert fields["stem"].tolist() == ["A01f0", "A01f1", "A03f0", "A02f1"]


def test_wells_come_from_a_file_where_one_is_given(tmp_path: Path, plate: Path, ihc_model: Path) -> None:
    (tmp_path / "w.csv").write_text("image,well\nA01f0.png,P24\nA03f1,b7\n")
    out = tmp_path / "out"
    assert classify(out, ihc_model, plate, "--wells", tmp_path / "w.csv") == 0
    assert pd.read_csv(out / "wells.csv")["well"].tolist() == ["B07", "P24"]
    assert pd.read_csv(out / "fields.csv")["well"].isna().sum() == 4
    mine = (tmp_path / "w.csv").rename(out / "wells.csv").read_bytes()
    assert classify(out, ihc_model, plate, "--wells", out / "wells.csv") == 2
    assert (out / "wells.csv").read_bytes() == mine


def test_a_second_run_does_again_exactly_what_is_not_whole_and_equal(
    tmp_path: Path, copy: Path, ihc_model: Path
) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    (copy / "A02f0.png").write_bytes(b"no image")
    assert classify(out, ihc_model, copy) == 1
    assert classify(out, ihc_model, copy) == 1
    assert kept(out) == {"A01f0", "A01f1", "A02f1", "A03f0", "A03f1"}

    whole = (out / "A01f0.tiles.csv").read_bytes()
    (out / "A01f0.tiles.csv").write_bytes(whole[:200])
    (out / "A01f1.geojson").write_text((out / "A01f1.geojson").read_text().replace("stained", "strained", 1))
    (out / "A02f1.run.json").unlink()
    shutil.copy(copy / "A03f1.png", copy / "A03f0.png")
    shutil.copy(copy / "A01f0.png", copy / "A02f0.png")
    before = (out / "A03f1.tiles.csv").stat().st_mtime_ns
    assert classify(out, ihc_model, copy) == 0
    assert kept(out) == {"A03f1"}
    assert (out / "A03f1.tiles.csv").stat().st_mtime_ns == before
    assert (out / "A01f0.tiles.csv").read_bytes() == whole
    assert classify(fresh, ihc_model, copy) == 0
    assert tables(out) == tables(fresh)

    assert classify(out, ihc_model, copy, "--overlap", "0.5") == 0
    assert kept(out) == set(), "another setting"
    assert classify(out, ihc_model, copy, "--overlap", "0.5", "--workers", "2") == 0
    assert len(kept(out)) == 6


def test_a_failure_names_its_file_cause_and_traceback_and_the_others_go_on(
    tmp_path: Path, copy: Path, ihc_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "A02f0.png").write_bytes((copy / "A02f0.png").read_bytes()[:400])
    assert classify(tmp_path, ihc_model, copy, copy / "gone.png") == 1
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 2
    failed = {result["stem"]: result for result in report(tmp_path)["results"] if result["error"]}
    assert set(failed) == {"A02f0", "gone"}
    for stem, result in failed.items():
        assert f"{stem}.png" in result["error"]
        assert result["traceback"].startswith("Traceback")
        assert "ImageError" in result["traceback"]
    fields = pd.read_csv(tmp_path / "fields.csv")
    assert fields["state"].value_counts().to_dict() == {"done": 5, "failed": 2}
    assert len(fields) == 7, "as many rows as images"


def test_a_second_run_in_the_same_folder_is_told_so_and_a_dead_one_s_lock_is_taken_over(
    tmp_path: Path, plate: Path, ihc_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked_folder(tmp_path):
        assert classify(tmp_path, ihc_model, plate) == 2
        line = capsys.readouterr().err.strip()
        assert "\n" not in line
        assert f"another run is writing to {tmp_path} (process {os.getpid()} on " in line
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    with locked_folder(tmp_path / "other"):
        left = json.loads((tmp_path / "other" / LOCK).read_text())
    (tmp_path / LOCK).write_text(json.dumps(left | {"pid": int(dead.stdout)}))
    (tmp_path / ".tmp-left").write_text("half a ta")
    assert classify(tmp_path, ihc_model, plate) == 0
    assert not list(tmp_path.glob(".*")), "neither a lock nor what the dead run was writing"


def test_a_lock_of_another_machine_is_believed(
    tmp_path: Path, plate: Path, ihc_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / LOCK).write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "now", "token": "t"}))
    assert classify(tmp_path, ihc_model, plate) == 2
    assert "(process 1 on elsewhere, since now)" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes with names in folders")
def test_an_image_that_kills_its_process_twice_has_failed_and_the_others_are_done(
    tmp_path: Path, copy: Path, ihc_model: Path
) -> None:
    pipe = tmp_path / "B01f0.png"
    os.mkfifo(pipe)  # whoever opens it waits for a writer, and so is in work when it is killed
    out = tmp_path / "out"
    words = ["classify", pipe, copy, "--model", ihc_model, "--out", out, "--workers", "2", "--progress", "none"]
    child = subprocess.Popen(line(*words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    killed: set[int] = set()

    def fresh() -> list[psutil.Process]:
        return [worker for worker in pool_workers(child.pid) if worker.pid not in killed]

    wait_until(lambda: len(list(out.glob("*.run.json"))) == 6 or child.poll() is not None)
    for workers in (2, 1):
        wait_until(lambda workers=workers: len(fresh()) == workers or child.poll() is not None)
        seen = fresh()
        seen[0].kill()
        killed |= {seen[0].pid}
        psutil.wait_procs(seen, timeout=PROCESS_S)  # the other one is ended with the pool
    assert child.wait(PROCESS_S) == 1
    assert child.stderr is not None
    assert b"B01f0.png: the process that classified it was killed" in child.stderr.read()
    assert (report(out)["images"], report(out)["failed"]) == (7, 1)


def test_worker_processes_that_do_not_start_are_told_instead_of_tried_for_each_image(
    tmp_path: Path, plate: Path, ihc_model: Path
) -> None:
    script = tmp_path / "script.py"  # every process that it starts begins by running it again
    words = ["classify", plate, "--model", ihc_model, "--out", tmp_path / "out", "--workers", "2", "--quiet"]
    script.write_text(
        f"import sys\nfrom napari_cellclass.cli.main import main\nsys.exit(main({list(map(str, words))}))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=PROCESS_S, check=False)
    assert done.returncode == 2
    assert "3 worker processes were lost one after the other" in done.stderr.strip().splitlines()[-1]
    assert report(tmp_path / "out")["failed"] == 3
