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

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.common.files import write_json
from napari_cellclass.core.tiles.preprocess import PreprocessSpec
from napari_cellclass.engine.common.environment import import_openvino
from napari_cellclass.engine.inference.openvino_graph import OpenVinoNetwork, TileFormat, cpu_count, openvino_core

_ROUNDS, _ROUND_S = 3, 0.05  # in turn, and the best counts, so that what else the machine does decides nothing
_MARGIN = 1.1  # fewer streams must be so much faster


def streams_file() -> Path:
    """Where the choices are kept; it may be deleted at any time."""
    return Path(platformdirs.user_cache_dir("napari-cellclass", appauthor=False)) / "streams.json"


def fastest_network(model: Any, spec: PreprocessSpec, kind: TileFormat, threads: int | None) -> OpenVinoNetwork:
    """Compile a network with as many streams as are fastest here; the answers are the same with any number.

    Parameters
    ----------
    model, spec, kind, threads
        As for :class:`~napari_cellclass.engine.inference.openvino_graph.OpenVinoNetwork`.
    """
    count = threads or cpu_count()
    if count == 1:
        return OpenVinoNetwork(model, spec, kind, 1, 1)
    key, known = _key(model, spec, kind, count), _remembered()
    if known.get(key) in range(1, count + 1):
        return OpenVinoNetwork(model, spec, kind, count, known[key])
    tried = [OpenVinoNetwork(model, spec, kind, count, n) for n in sorted({count, max(1, count // 2), 1}, reverse=True)]
    for network in tried:  # the first tiles are not counted
        _rate(network, spec, 0.0)
    rates = np.max([[_rate(network, spec, _ROUND_S) for network in tried] for _ in range(_ROUNDS)], axis=0)
    best, best_rate = tried[0], rates[0]
    for network, rate in zip(tried[1:], rates[1:], strict=True):
        if rate > _MARGIN * best_rate:
            best, best_rate = network, rate
    with contextlib.suppress(OutputError):  # then it is tried again the next time
        write_json(streams_file(), _remembered() | {key: best.streams})
    return best


def _rate(network: OpenVinoNetwork, spec: PreprocessSpec, at_least_s: float) -> float:
    """Give tiles per second on made-up tiles."""
    tiles = np.ones((2 * network.streams * network.batch, *network.kind.shape), network.kind.dtype)
    start, done, seconds = time.perf_counter(), 0, 0.0
    while not done or seconds < at_least_s:
        network(tiles, spec.identity_levels)
        done, seconds = done + len(tiles), time.perf_counter() - start
    return done / seconds


def _key(model: Any, spec: PreprocessSpec, kind: TileFormat, count: int) -> str:
    shapes = [(str(op.get_type_name()), str(op.output(0).partial_shape)) for op in model.get_ordered_ops()]
    name = openvino_core().get_property("CPU", "FULL_DEVICE_NAME") or platform.processor()
    what = [_ROUNDS, name, count, import_openvino().__version__, kind.shape, kind.dtype, spec.input_px, shapes]
    return hashlib.blake2b(repr(what).encode(), digest_size=12).hexdigest()


def _remembered() -> dict[str, int]:
    """Read the choices; a damaged or missing file holds none."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(streams_file().read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return {}
