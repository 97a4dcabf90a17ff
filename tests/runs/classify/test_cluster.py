"""A real Dask scheduler and real workers on this machine, started as `docs/how-to/dask-and-slurm.md` says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Security
from tests._patience import PROCESS_S, wait_until
from tests._plates import assert_files_are_whole, tables, write_plate
from tests._stacks import PLATE_WELLS, write_zarr_plate

from napari_cellclass.cli.main import main
from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.runs.classify.batch import classify_files

FIELDS = 12


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve fields, and a file that is no image."""
    folder = tmp_path_factory.mktemp("plate")
    write_plate(folder, FIELDS, px=128)
    (folder / "B01f0.png").write_bytes(b"no image")
    return folder


class Cluster:
    """A scheduler and workers, each a process started by a command."""

    def __init__(
        self, folder: Path, workers: tuple[str, ...] = ("one", "two"), tls: dict[str, str] | None = None
    ) -> None:
        told = folder / "scheduler.json"
        self.environment = os.environ | (tls or {})
        words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", told]
        words += [] if tls is None else ["--protocol", "tls"]
        self.processes = [self._start(*words)]
        wait_until(lambda: told.is_file() and told.read_text().strip())
        self.address = json.loads(told.read_text())["address"]
        for name in workers:
            options = ["--nthreads", 1, "--no-dashboard", "--local-directory", folder / name]
            self.processes.append(self._start("worker", self.address, *options))

    def _start(self, *words: Any) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "dask", *map(str, words)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(line, env=self.environment, **quiet)

    def worker(self) -> psutil.Process | None:
        """Give a process that computes: a child of the process that watches over it."""
        for process in self.processes[1:]:
            for child in psutil.Process(process.pid).children():
                if "spawn_main" in " ".join(child.cmdline()):
                    return child
        return None

    def close(self) -> None:
        for process in reversed(self.processes):
            family = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            process.wait(PROCESS_S)
            for child in family:
                if child.is_running():
                    child.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with two workers."""
    cluster = Cluster(tmp_path_factory.mktemp("dask"))
    yield cluster
    cluster.close()


def line(plate: Path, model: Path, out: Path, *words: str) -> list[str]:
    return ["classify", str(plate), "--model", str(model), "--out", str(out), "--quiet", *words]


def test_a_cluster_and_processes_give_the_bytes_of_one_process(
    tmp_path: Path, plate: Path, cluster: Cluster, ihc_model: Path
) -> None:
    ways = {"one": [], "two": ["--workers", "2"], "dask": ["--scheduler", cluster.address]}
    for name, words in ways.items():
        assert main(line(plate, ihc_model, tmp_path / name, *words)) == 1
        report = json.loads((tmp_path / name / "report.json").read_text())
        assert (report["images"], report["failed"]) == (FIELDS + 1, 1)
        (failed,) = [result for result in report["results"] if result["error"]]
        assert failed["stem"] == "B01f0"
        assert "ImageError" in failed["traceback"]
    assert len(tables(tmp_path / "one")) == 3 * FIELDS + 2
    assert tables(tmp_path / "one") == tables(tmp_path / "two") == tables(tmp_path / "dask")
    assert main(line(plate, ihc_model, tmp_path / "dask", "--scheduler", cluster.address)) == 1
    assert json.loads((tmp_path / "dask" / "report.json").read_text())["kept"] == FIELDS


def test_an_ome_zarr_plate_gives_the_same_bytes_on_a_cluster(
    tmp_path: Path, cluster: Cluster, striped_model: Path
) -> None:
    plate = write_zarr_plate(tmp_path / "plate.zarr", "0.5", fields=1)
    ways = {"one": [], "two": ["--workers", "2"], "dask": ["--scheduler", cluster.address]}
    for name, words in ways.items():
        assert main(line(plate, striped_model, tmp_path / name, *words)) == 0
    assert len(tables(tmp_path / "one")) == 3 * len(PLATE_WELLS) + 2
    assert tables(tmp_path / "one") == tables(tmp_path / "two") == tables(tmp_path / "dask")
    assert main(line(plate, striped_model, tmp_path / "dask", "--scheduler", cluster.address)) == 0
    assert json.loads((tmp_path / "dask" / "report.json").read_text())["kept"] == len(PLATE_WELLS)


def test_a_killed_worker_and_a_killed_run_on_a_cluster_lose_no_field(
    tmp_path: Path, plate: Path, cluster: Cluster, ihc_model: Path
) -> None:
    out, how = tmp_path / "out", ["--overlap", "0.8"]
    words = line(plate, ihc_model, out, *how, "--scheduler", cluster.address)
    child = subprocess.Popen([sys.executable, "-m", "napari_cellclass", *words], stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(out.glob("*.run.json"))) >= 2)
    worker = cluster.worker()
    assert worker is not None
    worker.kill()
    wait_until(lambda: len(list(out.glob("*.run.json"))) >= 4)
    child.kill()
    child.wait(PROCESS_S)
    assert_files_are_whole(out)
    assert main(words) == 1
    assert main(line(plate, ihc_model, tmp_path / "whole", *how)) == 1
    assert tables(out) == tables(tmp_path / "whole")
    assert not list(out.glob(".*"))


def certificates(folder: Path) -> dict[str, str]:
    """Make certificates for a scheduler, workers and clients; give what tells Dask of them."""
    made, found = Security.temporary(), {}
    for name in (
        "ca_file",
        *(f"{who}_{what}" for who in ("scheduler", "worker", "client") for what in ("cert", "key")),
    ):
        path = folder / f"{name}.pem"
        path.write_text(getattr(made, f"tls_{name}"))
        variable = name.upper() if name == "ca_file" else name.upper().replace("_", "__")
        found[f"DASK_DISTRIBUTED__COMM__TLS__{variable}"] = str(path)
    return found


def test_an_encrypted_cluster_takes_only_who_has_its_certificates(tmp_path: Path, plate: Path, ihc_model: Path) -> None:
    known = certificates(tmp_path)
    cluster = Cluster(tmp_path, ("one",), known)
    try:
        assert cluster.address.startswith("tls://")
        words = [sys.executable, "-m", "napari_cellclass"]
        words += line(plate, ihc_model, tmp_path / "out", "--scheduler", cluster.address)
        how: dict[str, Any] = {"capture_output": True, "text": True, "timeout": PROCESS_S}
        others = {**known, "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(tmp_path / "nowhere.pem")}
        for environment, told in ((os.environ, "names no certificates"), (os.environ | others, "cannot be used")):
            refused = subprocess.run(words, check=False, env=environment, **how)
            assert refused.returncode == 2
            assert told in refused.stderr
            assert len(refused.stderr.strip().splitlines()) == 1
        done = subprocess.run(words, check=False, env=os.environ | known, **how)
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)  # of the file that is no image
        assert len(list((tmp_path / "out").glob("*.run.json"))) == FIELDS
    finally:
        cluster.close()


def test_a_scheduler_that_does_not_answer_is_told(
    tmp_path: Path, plate: Path, ihc_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cellclass.runs.classify import cluster

    monkeypatch.setattr(cluster, "_CONNECT_S", 1)
    params = ClassifyParams(images=[plate], model=ihc_model, out=tmp_path, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ParamsError, match=r"no Dask scheduler answers there"):
        classify_files(params, open_bundle(ihc_model))
