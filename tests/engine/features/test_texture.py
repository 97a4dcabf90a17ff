from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino.opset13 import parameter

from napari_cellclass.core.tiles.texture_features import ArrayOps
from napari_cellclass.core.tiles.texture_formulas import texture
from napari_cellclass.engine.features.texture import build_openvino, texture_columns
from napari_cellclass.engine.inference.openvino_graph import OpenVinoNetwork, TileFormat, identity_preprocessing


@pytest.mark.parametrize("shape", [(3, 3, 1), (5, 40, 2), (37, 53, 3), (128, 128, 1)])
def test_openvino_computes_the_features_of_the_formulas(shape: tuple[int, int, int]) -> None:
    x = np.random.default_rng(0).random((6, *shape), np.float32)
    x[:2] = 0.5 + 1e-4 * x[:2]  # bright and nearly flat
    x[2] = 0.25
    tiles = parameter([-1, *shape], ov.Type.f32)
    model = ov.Model([build_openvino(tiles)], [tiles], "texture")
    network = OpenVinoNetwork(model, identity_preprocessing(shape), TileFormat.of(x), threads=1)
    assert network.outputs == texture_columns(shape[2], shape[:2])
    np.testing.assert_allclose(network(x), texture(ArrayOps(), x), atol=1e-4)
