from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.preprocess import PreprocessSpec
from napari_cellclass.runs.evaluate.test_sets import evaluate_folder
from napari_cellclass.runs.train.train import train_folders


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Two fields with a dark left and a bright right half, their tiles of 20 px listed as such."""
    rows = []
    for level, name in ((200, "a.png"), (220, "b.png")):
        pixels = np.zeros((40, 80), np.uint8)
        pixels[:, 40:] = level
        Image.fromarray(pixels).save(tmp_path / name)
        boxes = TileGrid.regular((40, 80), 20).boxes.tolist()
        rows += [(name, *box, "dark" if box[1] < 40 else "bright") for box in boxes]
    path = tmp_path / "tiles.csv"
    pd.DataFrame(rows, columns=["path", "y0", "x0", "y1", "x1", "class_name"]).to_csv(path, index=False)
    return path


class Threshold:
    """Stands for a network that tells bright from dark."""

    def predict(self, tiles: np.ndarray, levels: np.ndarray | None = None) -> np.ndarray:
        bright = tiles.mean(axis=(1, 2, 3)) > 100
        return np.stack([bright, ~bright], axis=1).astype(np.float32)


def test_a_model_is_evaluated_on_listed_tiles(tiles: Path) -> None:
    bundle: Any = SimpleNamespace(
        manifest=SimpleNamespace(tile_px=(64, 64)),
        scheme=SimpleNamespace(names=("bright", "dark")),
        preprocess=PreprocessSpec(channels=1, input_px=(64, 64)),
        calibrated=lambda prob: prob,
    )
    evaluation = evaluate_folder(tiles, bundle, Threshold())
    assert evaluation.report.n == 16
    assert evaluation.report.accuracy.value == 1
    assert evaluation.report.groups == 2


def test_a_tile_size_beside_a_list_of_tiles_is_refused(tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="drop --tile-px"):
        train_folders(TrainParams(data=tiles, out=tmp_path / "m.cellclass", tile_px=20))
