from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.models.feature_spec import FeatureSpec, feature_preprocess
from napari_cellclass.engine.features.extractor import FeatureExtractor, feature_names, new_feature_spec
from napari_cellclass.engine.inference.openvino_graph import TileFormat


@pytest.fixture(scope="module")
def tiles() -> NDArray[np.uint16]:
    rng = np.random.default_rng(0)
    return rng.gamma(2, (30, 300), (7, 32, 32, 2)).astype(np.uint16)


@pytest.fixture(scope="module")
def spec(tiles: NDArray[np.uint16]) -> FeatureSpec:
    return new_feature_spec(feature_preprocess(tiles.dtype, 2, False, tiles), colour=False)


def extract(spec: FeatureSpec, tiles: NDArray, threads: int = 1) -> NDArray[np.float32]:
    return FeatureExtractor(spec, TileFormat.of(tiles), threads)(tiles)


def test_features_are_those_of_the_backbone_and_then_texture(spec: FeatureSpec, tiles: NDArray[np.uint16]) -> None:
    features = extract(spec, tiles)
    assert features.shape == (7, sum(spec.columns))
    assert features.dtype == np.float32
    assert len(set(feature_names(spec))) == features.shape[1]
    texture = new_feature_spec(spec.preprocess, colour=False, pretrained=False)
    np.testing.assert_allclose(extract(texture, tiles), features[:, spec.columns[0] :], atol=1e-5)
    assert feature_names(texture) == feature_names(spec)[spec.columns[0] :]


def test_features_do_not_depend_on_other_tiles_or_threads(spec: FeatureSpec, tiles: NDArray[np.uint16]) -> None:
    features = extract(spec, tiles)
    np.testing.assert_array_equal(extract(spec, tiles[[5, 2]]), features[[5, 2]])
    np.testing.assert_array_equal(extract(spec, tiles, threads=2), features)


def test_the_grey_value_ranges_take_out_units(spec: FeatureSpec, tiles: NDArray[np.uint16]) -> None:
    scaled = tiles * np.array([0.25, 4.0]) - 3  # float64, which is converted
    other = new_feature_spec(feature_preprocess(scaled.dtype, 2, False, scaled), colour=False)
    np.testing.assert_allclose(extract(other, scaled), extract(spec, tiles), atol=2e-3)


def test_tiles_with_nan_have_no_features(spec: FeatureSpec, tiles: NDArray[np.uint16]) -> None:
    bad = tiles.astype(np.float32)
    bad[3, 0, 0, 1] = np.nan
    features = extract(spec, bad)
    assert np.isnan(features[3]).all()
    assert np.isfinite(features[[0, 1, 2, 4, 5, 6]]).all()
    assert extract(spec, bad[:0]).shape == (0, features.shape[1])


def test_other_tiles_and_other_versions_are_refused(spec: FeatureSpec, tiles: NDArray[np.uint16]) -> None:
    extractor = FeatureExtractor(spec, TileFormat.of(tiles), 1)
    with pytest.raises(ModelError, match="uint8"):
        extractor(tiles.astype(np.uint8))
    with pytest.raises(ModelError, match="trained on 2 channels"):
        extractor(tiles[..., :1])
    with pytest.raises(ModelError, match="another version"):
        extract(spec.model_copy(update={"texture_version": 0}), tiles)


def test_features_are_had_without_tensorflow() -> None:
    code = (
        "import numpy as np, sys\n"
        "from napari_cellclass.core.models.feature_spec import feature_preprocess as p\n"
        "from napari_cellclass.engine.features.extractor import FeatureExtractor, new_feature_spec\n"
        "from napari_cellclass.engine.inference.openvino_graph import TileFormat\n"
        "t = np.ones((1, 8, 8, 3), np.uint8)\n"
        "print(FeatureExtractor(new_feature_spec(p(t.dtype, 3, True), True), TileFormat.of(t), 1)(t).shape)\n"
        "assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("(1, 3")
