"""Measure how long texture features take, alone, beside the compact network and as arrays.

    python benchmarks/texture.py

One core, OpenVINO in float32, tiles of network input in memory; the least of many calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import openvino as ov
from openvino.opset13 import parameter

from napari_cellclass.core.tiles.texture_features import texture_features
from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.features.texture import build_openvino, texture_columns
from napari_cellclass.engine.inference.openvino_graph import (
    OpenVinoNetwork,
    TileFormat,
    identity_preprocessing,
    read_network,
)
from napari_cellclass.engine.networks.architectures import build_network
from napari_cellclass.engine.training.export import export_network

_SHAPES = ((128, 128, 1), (128, 128, 3), (64, 64, 1), (64, 64, 2))
_TILES, _REPEATS = 32, 20


def milliseconds(compute: Callable[[np.ndarray], np.ndarray], tiles: np.ndarray) -> float:
    """Give the least time of a tile in ms."""
    compute(tiles)
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        compute(tiles)
        times.append(time.perf_counter() - start)
    return 1000 * min(times) / len(tiles)


def compiled(model: ov.Model, shape: tuple[int, int, int]) -> OpenVinoNetwork:
    """Compile a network for tiles that are its input, on one thread."""
    return OpenVinoNetwork(model, identity_preprocessing(shape), TileFormat(shape, "float32"), threads=1)


def main() -> None:
    """Print a row for each shape of tiles."""
    import_keras()
    print("tiles          features  graph ms  ms a channel  compact ms  ratio  arrays ms")
    for shape in _SHAPES:
        tiles = np.random.default_rng(0).random((_TILES, *shape), np.float32)
        node = parameter([-1, *shape], ov.Type.f32)
        graph = milliseconds(compiled(ov.Model([build_openvino(node)], [node], "texture"), shape), tiles)
        members = export_network(build_network("compact", shape[:2], shape[2], 2, seed=0))
        network = milliseconds(compiled(read_network(members["model.xml"], members["model.bin"]), shape), tiles)
        arrays = milliseconds(texture_features, tiles)
        name, columns = "x".join(map(str, shape)), texture_columns(shape[2], shape[:2])
        print(
            f"{name:14s} {columns:8d} {graph:9.2f} {graph / shape[2]:13.2f} {network:11.2f} {graph / network:6.2f} "
            f"{arrays:10.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
