"""Images classified on an existing Dask cluster; imported only where one is asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from distributed import Client, Security, WorkerPlugin, as_completed, get_worker

import napari_cellclass
from napari_cellclass.core.common.errors import CancelledError, CellClassError, EngineError, OutputError, ParamsError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.models.bundle import SUFFIX, ModelBundle
from napari_cellclass.runs.classify.field_files import RECORD
from napari_cellclass.runs.classify.field_job import (
    FieldJob,
    FieldOutcome,
    classify_and_write,
    failed_outcome,
    run_ended_check,
)
from napari_cellclass.runs.classify.folder_lock import wait_for_lock
from napari_cellclass.runs.common.engine_cache import EngineCache

_CONNECT_S = 10
_TLS = (
    "set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ..._CLIENT__CERT and ..._CLIENT__KEY to their files, as where the "
    "scheduler runs"
)
_RETRIES = 2
_POLL_S = 0.05
# What a shared folder may take to show a file that another machine has just written.
_SHARED_S = 10.0
_engines = EngineCache()  # of a worker, shared by its threads


class ModelPlugin(WorkerPlugin):
    """Sends the model to every worker, once, also to those that join or are restarted later.

    Parameters
    ----------
    name
        Of the plugin, and of the model's file in a worker's own folder.
    content
        Bytes of the ``.cellclass`` file.
    """

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.version = napari_cellclass.__version__
        self._content = content
        self.path = Path()

    def setup(self, worker: Any) -> None:
        """Write the model to the worker's own folder."""
        if napari_cellclass.__version__ != self.version:
            raise EngineError(
                f"the worker {worker.address} has napari-cellclass {napari_cellclass.__version__}, but here it is "
                f"{self.version}; install the same version"
            )
        self.path = Path(worker.local_directory) / f"{self.name}{SUFFIX}"
        self.path.write_bytes(self._content)

    def teardown(self, worker: Any) -> None:
        """Remove the model."""
        self.path.unlink(missing_ok=True)


def classify_on_cluster(
    jobs: Sequence[FieldJob], model: ModelBundle, address: str, task: Task
) -> Generator[FieldOutcome]:
    """Classify images on a Dask cluster, and yield each outcome as soon as it is ready.

    Dask sends the images of a worker that is lost to others; an error that is not the image's own is retried twice.

    Parameters
    ----------
    jobs
        Paths in them are those that the workers see.
    model
        Sent to every worker once.
    address
        ``tcp://host:port`` or ``tls://host:port``; certificates are those of Dask's own configuration.
    task
        Checked 20 times a second.

    Raises
    ------
    ParamsError
        No scheduler answers, or certificates are missing.
    EngineError
        The workers cannot be used, or the scheduler was lost.
    """
    with _client(address) as client:
        plugin = f"napari-cellclass-{jobs[0].run}"
        _send_model(client, ModelPlugin(plugin, model.path.read_bytes()))
        keys = [f"{plugin}-{number}" for number in range(len(jobs))]
        futures = client.map(_work, jobs, key=keys, plugin=plugin, retries=_RETRIES, pure=False)
        by_key = dict(zip(keys, jobs, strict=True))
        try:
            for future in _finished(client, futures, address, task):
                yield _visible(_outcome(future, by_key[future.key]), by_key[future.key])
                future.release()
        finally:
            with contextlib.suppress(Exception):  # the cluster may be gone
                client.cancel(futures)
                client.unregister_worker_plugin(plugin)


def _client(address: str) -> Client:
    if address.startswith("tls://"):
        _check_certificates(address)
    try:
        return Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError, TypeError, RuntimeError) as error:
        raise ParamsError(f"--scheduler {address}: no Dask scheduler answers there ({error})") from error


def _check_certificates(address: str) -> None:
    """Refuse an encrypted address without certificates: Dask would try for a while, and end with a traceback."""
    try:
        context = Security().get_connection_args("client")["ssl_context"]
    except (OSError, ValueError, TypeError) as error:  # ssl's own errors are OSErrors
        raise ParamsError(f"--scheduler {address}: Dask's certificates cannot be used ({error}); {_TLS}") from error
    if context is None:
        raise ParamsError(f"--scheduler {address}: Dask's configuration names no certificates; {_TLS}")


def _send_model(client: Client, plugin: ModelPlugin) -> None:
    try:
        client.register_plugin(plugin, name=plugin.name)
    except CellClassError:
        raise
    except Exception as error:
        raise EngineError(
            f"the Dask workers cannot be used ({type(error).__name__}: {error}); install the same napari-cellclass "
            "where they run"
        ) from error


def _finished(client: Client, futures: Sequence[Any], address: str, task: Task) -> Iterator[Any]:
    left, finished = len(futures), as_completed(futures, loop=client.loop)
    while left and not task.cancelled():
        if finished.has_ready():
            left -= 1
            yield next(finished)
        elif client.status == "closed":
            raise EngineError(f"the Dask scheduler {address} was lost; what was finished is kept, run again")
        else:
            time.sleep(_POLL_S)


def _outcome(future: Any, job: FieldJob) -> FieldOutcome:
    if future.cancelled():
        return failed_outcome(job, EngineError("the Dask cluster cancelled it; run again"), "cancelled by the cluster")
    error = future.exception()
    if error is None:
        outcome: FieldOutcome = future.result()
        return failed_outcome(job, _run_ended()) if outcome.cancelled else outcome
    trace = traceback.format_exception(type(error), error, future.traceback())
    return failed_outcome(job, error, "".join(trace))


def _visible(outcome: FieldOutcome, job: FieldJob) -> FieldOutcome:
    """Make sure that the tables that a worker has written are where this machine looks for them."""
    if outcome.error:
        return outcome
    record, end = Path(job.out) / f"{job.stem}{RECORD}", time.monotonic() + _SHARED_S
    while not record.is_file():
        if time.monotonic() > end:
            return failed_outcome(job, OutputError(
                f"a worker wrote {record}, but it cannot be seen here; give an --out that all machines share"
            ))  # fmt: skip
        time.sleep(_POLL_S)
    return outcome


def _run_ended() -> EngineError:
    return EngineError("a worker stopped, as the lock file in the folder of results was gone; run again")


def _work(job: FieldJob, plugin: str) -> FieldOutcome:
    """Classify one image on a worker; an error that is not the image's own is raised, for Dask to retry."""
    worker = get_worker()
    if not wait_for_lock(Path(job.out), _SHARED_S):
        raise OutputError(
            f"the worker {worker.address} does not see what this run has written to {job.out}; give an --out that all "
            "machines share"
        )
    # A worker's threads are what its machine can spare for it.
    here = dataclasses.replace(
        job, model_file=str(worker.plugins[plugin].path), threads=job.threads or max(1, int(worker.state.nthreads))
    )
    try:
        return classify_and_write(here, _engines, Task(cancelled=run_ended_check(job)))
    except CancelledError:
        return FieldOutcome(job.image, job.stem, cancelled=True)
    except (EngineError, OutputError):
        raise
    except CellClassError as error:
        return failed_outcome(job, error)
