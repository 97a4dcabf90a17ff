"""Classifies tiles in memory with one thread, over and over: what a processor can do without any file.

    python benchmarks/_engine_child.py MODEL.cellclass TILES

Answers each line read from standard input with the seconds that so many tiles took.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.runs.common.engine_access import open_engine

_AT_ONCE = 32

if __name__ == "__main__":
    bundle, count = open_bundle(Path(sys.argv[1])), int(sys.argv[2])
    shape = (_AT_ONCE, *bundle.manifest.tile_px, bundle.preprocess.channels)
    tiles = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    with open_engine(bundle, threads=1) as engine:
        engine.predict(tiles)
        for _ in sys.stdin:
            start = time.perf_counter()
            for _ in range(count // _AT_ONCE):
                engine.predict(tiles)
            print(time.perf_counter() - start, flush=True)
