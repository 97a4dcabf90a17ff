"""Number of batches that are computed in parallel: measured once per network and machine, and cached."""

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

_ROUNDS, _ROUND_S = 3, 0.05  # alternating, and the best counts, so that other load on the machine does not decide
_MARGIN = 1.1  # fewer streams must be faster by this factor


def streams_file() -> Path:
    """Return the path of the cached choices; the file may be deleted at any time."""
    return Path(platformdirs.user_cache_dir("napari-cellclass", appauthor=False)) / "streams.json"


def fastest_network(model: Any, spec: PreprocessSpec, tile_format: TileFormat, threads: int | None) -> OpenVinoNetwork:
    """Compile a network with the number of streams that is fastest here; predictions are the same with any number.

    Parameters
    ----------
    model, spec, tile_format, threads
        As for :class:`~napari_cellclass.engine.inference.openvino_graph.OpenVinoNetwork`.
    """
    count = threads or cpu_count()
    if count == 1:
        return OpenVinoNetwork(model, spec, tile_format, 1, 1)
    key, known = _key(model, spec, tile_format, count), _read_choices()
    if known.get(key) in range(1, count + 1):
        return OpenVinoNetwork(model, spec, tile_format, count, known[key])
    candidates = [
        OpenVinoNetwork(model, spec, tile_format, count, n)
        for n in sorted({count, max(1, count // 2), 1}, reverse=True)
    ]
    for network in candidates:  # warm-up, not measured
        _tiles_per_second(network, spec, 0.0)
    rates = np.max(
        [[_tiles_per_second(network, spec, _ROUND_S) for network in candidates] for _ in range(_ROUNDS)], axis=0
    )
    best, best_rate = candidates[0], rates[0]
    for network, rate in zip(candidates[1:], rates[1:], strict=True):
        if rate > _MARGIN * best_rate:
            best, best_rate = network, rate
    with contextlib.suppress(OutputError):  # then it is measured again the next time
        write_json(streams_file(), _read_choices() | {key: best.streams})
    return best


def _tiles_per_second(network: OpenVinoNetwork, spec: PreprocessSpec, at_least_s: float) -> float:
    """Return the speed of a network on synthetic tiles."""
    tiles = np.ones((2 * network.streams * network.batch, *network.tile_format.shape), network.tile_format.dtype)
    start, done, seconds = time.perf_counter(), 0, 0.0
    while not done or seconds < at_least_s:
        network(tiles, spec.identity_levels)
        done, seconds = done + len(tiles), time.perf_counter() - start
    return done / seconds


def _key(model: Any, spec: PreprocessSpec, tile_format: TileFormat, count: int) -> str:
    shapes = [(str(op.get_type_name()), str(op.output(0).partial_shape)) for op in model.get_ordered_ops()]
    name = openvino_core().get_property("CPU", "FULL_DEVICE_NAME") or platform.processor()
    parts = [
        _ROUNDS,
        name,
        count,
        import_openvino().__version__,
        tile_format.shape,
        tile_format.dtype,
        spec.input_px,
        shapes,
    ]
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()


def _read_choices() -> dict[str, int]:
    """Read the cached choices, none from a damaged or missing file."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(streams_file().read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return {}
