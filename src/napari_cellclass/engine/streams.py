"""How many batches a processor computes at once: tried once per network and machine, and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from napari_cellclass.core.contracts import OutputError
from napari_cellclass.core.files import write_json
from napari_cellclass.core.preprocess import PreprocessSpec
from napari_cellclass.engine.compiled import OpenVinoNetwork, TileKind, core, cores
from napari_cellclass.engine.environment import import_openvino

_TRIAL_S = 0.15
_MARGIN = 1.1  # fewer streams must be so much faster; a busy machine must not decide


def remembered_file() -> Path:
    """Where the choices are kept; it may be deleted at any time."""
    return Path(platformdirs.user_cache_dir("napari-cellclass", appauthor=False)) / "streams.json"


def best_network(model: Any, spec: PreprocessSpec, kind: TileKind, threads: int | None) -> OpenVinoNetwork:
    """Compile a network with as many streams as are fastest here; the answers are the same with any number.

    Parameters
    ----------
    model, spec, kind, threads
        As for :class:`~napari_cellclass.engine.compiled.OpenVinoNetwork`.
    """
    count = threads or cores()
    if count == 1:
        return OpenVinoNetwork(model, spec, kind, 1, 1)
    key, known = _key(model, spec, kind, count), _remembered()
    if known.get(key) in range(1, count + 1):
        return OpenVinoNetwork(model, spec, kind, count, known[key])
    best, best_rate = None, 0.0
    for streams in sorted({count, max(1, count // 2), 1}, reverse=True):
        network = OpenVinoNetwork(model, spec, kind, count, streams)
        rate = _rate(network, spec)
        if best is None or rate > _MARGIN * best_rate:
            best, best_rate = network, rate
    assert best is not None
    with contextlib.suppress(OutputError):  # then it is tried again the next time
        write_json(remembered_file(), _remembered() | {key: best.streams})
    return best


def _rate(network: OpenVinoNetwork, spec: PreprocessSpec) -> float:
    """Give tiles per second on made-up tiles; the first are not counted."""
    tiles = np.ones((2 * network.streams * network.batch, *network.kind.shape), network.kind.dtype)
    network(tiles, spec.no_levels)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < _TRIAL_S:
        network(tiles, spec.no_levels)
        done += len(tiles)
    return done / (time.perf_counter() - start)


def _key(model: Any, spec: PreprocessSpec, kind: TileKind, count: int) -> str:
    shapes = [(str(op.get_type_name()), str(op.output(0).partial_shape)) for op in model.get_ordered_ops()]
    name = core().get_property("CPU", "FULL_DEVICE_NAME") or platform.processor()
    what = [name, count, import_openvino().__version__, kind.shape, kind.dtype, spec.input_px, shapes]
    return hashlib.blake2b(repr(what).encode(), digest_size=12).hexdigest()


def _remembered() -> dict[str, int]:
    """Read the choices; a damaged or missing file holds none."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(remembered_file().read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return {}
