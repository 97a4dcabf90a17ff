"""How fast features of tiles are computed, against OpenVINO alone, and how fast they are read again.

    python benchmarks/features.py

Fields in memory, of noise: what is measured does not depend on what is in a tile.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from _results import markdown, write_section
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.feature_spec import FeatureSpec
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.engine.common.environment import import_openvino
from napari_cellclass.engine.features.extractor import FeatureExtractor, feature_model
from napari_cellclass.engine.features.store import FeatureStore
from napari_cellclass.engine.inference.openvino_graph import TileFormat, cpu_count
from napari_cellclass.runs.features.choosing import choose_features
from napari_cellclass.runs.features.extraction import image_features, open_extractor

HERE = Path(__file__).parent
_KINDS = {  # tile side in px, channels, whether they are red, green and blue
    "grey, 128 px": (128, 1, False),
    "RGB, 128 px": (128, 3, True),
    "2 channels, 64 px": (64, 2, False),
}
_TILES = 256
_ROUNDS = 3


def alone(spec: FeatureSpec, tiles: np.ndarray) -> Callable[[], None]:
    """Make what runs OpenVINO alone on tiles (n, h, w, C) in memory, as fast as it goes."""
    ov = import_openvino()
    model = feature_model(spec)
    model.reshape([1, *spec.preprocess.input_px, spec.preprocess.channels])
    steps = ov.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().tensor().set_spatial_static_shape(*tiles.shape[1:3])
    steps.input().model().set_layout(ov.Layout("NHWC"))
    low, high = spec.preprocess.scaling_levels.T
    steps.input().preprocess().convert_element_type(ov.Type.f32).mean(list(low)).scale(list(high - low))
    if tiles.shape[1:3] != spec.preprocess.input_px:
        steps.input().preprocess().resize(ov.preprocess.ResizeAlgorithm.RESIZE_LINEAR)
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    requests = ov.AsyncInferQueue(ov.Core().compile_model(steps.build(), "CPU", settings))

    def run() -> None:
        for tile in tiles:
            requests.start_async({0: tile[None]}, share_inputs=True)
        requests.wait_all()

    return run


def measured(kind: str, folder: Path) -> dict[str, str]:
    side, channels, colour = _KINDS[kind]
    rows = int(_TILES**0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (rows * side, rows * side, channels)).astype(np.uint8)
    source = SourceImage(pixels, rgb=colour)
    grid = TileGrid.regular(source.shape, side)
    tiles = np.stack([pixels[y0:y1, x0:x1] for y0, x0, y1, x1 in grid.boxes.tolist()])
    spec = choose_features([source])
    extractor, bare = open_extractor(source, grid, spec), alone(spec, tiles)
    one = FeatureExtractor(spec, TileFormat.of(tiles), threads=1)

    runs: dict[str, Callable[[], object]] = {
        "OpenVINO alone": bare,
        "features": lambda: image_features(source, grid, extractor),
        "and kept on disk": lambda: _kept(source, grid, extractor, folder / str(time.time_ns())),
        "read from disk": lambda: _kept(source, grid, extractor, folder / "again"),
        "one core": lambda: one(tiles),
    }
    wall: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(_ROUNDS + 1):
        for name, run in runs.items():
            start = time.perf_counter(), time.process_time()
            run()
            if turn:  # the first is a warm-up
                wall[name].append(time.perf_counter() - start[0])
                processor[name].append(time.process_time() - start[1])
    median = {name: float(np.median(values)) for name, values in wall.items()}
    views = 1 if colour else channels
    row = {
        "tiles": kind,
        **{f"{name}, tiles/s": f"{len(grid) / median[name]:.0f}" for name in list(runs)[:4]},
        "features / OpenVINO alone": _ratio(wall),
        "the same in processor time": _ratio(processor),
        "one core, ms a view": f"{median['one core'] / len(grid) / views * 1e3:.2f}",
        "of that processor time, ms": f"{np.median(processor['one core']) / len(grid) / views * 1e3:.2f}",
    }
    print(row, flush=True)
    return row


def _ratio(seconds: dict[str, list[float]]) -> str:
    return f"{np.median(np.array(seconds['OpenVINO alone']) / np.array(seconds['features'])):.2f}"


def _kept(source: SourceImage, grid: TileGrid, extractor: FeatureExtractor, folder: Path) -> None:
    with FeatureStore(source.image_id, extractor.spec, folder) as store:
        image_features(source, grid, extractor, store)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(kind, Path(folder) / kind) for kind in _KINDS]
    about = f"""`python benchmarks/features.py`. Pretrained backbone and texture in float32, {_TILES} tiles of 8-bit
noise in memory, {cpu_count()} cores. *OpenVINO alone*: the same graph with OpenVINO's own preprocessing, tile by tile,
nothing else. *read from disk*: kept by an earlier run. *one core*: with texture features; tiles of 64 px are resized
to 128 px for the network, so that a view takes as long. *processor time*: of all threads, which other load on the
machine changes least. Medians of {_ROUNDS} rounds in turn; the ratios are medians of ratios."""
    write_section(HERE / "RESULTS.md", "Features of tiles", f"{about}\n\n{markdown(pd.DataFrame(rows))}")


if __name__ == "__main__":
    main()
