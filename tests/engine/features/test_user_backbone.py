from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import correlate
from tests.engine.onnx_files import write_onnx

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.limits import limit_variable
from napari_cellclass.core.models.feature_spec import feature_preprocess
from napari_cellclass.engine.features import user_backbone
from napari_cellclass.engine.features.extractor import FeatureExtractor, feature_names, new_feature_spec
from napari_cellclass.engine.features.user_backbone import open_backbone
from napari_cellclass.engine.inference.openvino_graph import TileFormat

KERNEL = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
MEAN, SD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture
def network(tmp_path: Path) -> Callable[..., Path]:
    def written(name: str = "own.onnx", **options: Any) -> Path:
        options = {"kernel": KERNEL} | options
        (tmp_path / name).write_bytes(write_onnx(**options))
        return tmp_path / name

    return written


@pytest.fixture(scope="module")
def tiles() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)


def features(path: Path, tiles: NDArray, colour: bool = True, **options: Any) -> NDArray[np.float32]:
    own = open_backbone(path, **options)
    spec = new_feature_spec(feature_preprocess(tiles.dtype, tiles.shape[3], colour, tiles), colour, True, own)
    found = FeatureExtractor(spec, TileFormat.of(tiles), 1, own)(tiles)
    assert len(set(feature_names(spec, own))) == found.shape[1] == sum(spec.columns)
    return found[:, : spec.columns[0]]


def means_of_maps(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convolve images (n, H, W, 3) with the kernel, and average the maps."""
    kernels = KERNEL.transpose(0, 2, 3, 1)
    return np.array([[correlate(image, kernel, "valid").mean() for kernel in kernels] for image in images])


@pytest.mark.parametrize("vector", [False, True])
def test_a_network_gives_the_means_of_its_maps_or_its_vector(
    vector: bool, network: Callable[..., Path], tiles: NDArray[np.uint8]
) -> None:
    found = features(network(vector=vector), tiles)
    np.testing.assert_allclose(found, means_of_maps((tiles / 255 - MEAN) / SD), atol=1e-4)


@pytest.mark.parametrize(("scaling", "factor"), [("unit", 1 / 255), ("byte", 1.0)])
def test_the_values_that_a_network_takes_can_be_chosen(
    scaling: Any, factor: float, network: Callable[..., Path], tiles: NDArray[np.uint8]
) -> None:
    found = features(network(), tiles, scaling=scaling)
    np.testing.assert_allclose(found, means_of_maps(tiles * factor), rtol=1e-4, atol=1e-3)


def test_each_channel_is_a_view_for_a_network_of_colours(
    network: Callable[..., Path], tiles: NDArray[np.uint8]
) -> None:
    path = network()
    two = np.ascontiguousarray(tiles[..., :2])
    one = [features(path, np.ascontiguousarray(tiles[..., [c]]), colour=False) for c in range(2)]
    np.testing.assert_allclose(features(path, two, colour=False), np.concatenate(one, axis=1), atol=1e-5)
    assert features(path, tiles, colour=False).shape == (2, 12)


def test_a_network_of_the_images_own_channels_takes_them_together(
    network: Callable[..., Path], tiles: NDArray[np.uint8]
) -> None:
    five = network(kernel=np.ones((6, 5, 1, 1), np.float32), shape=(None, 5, 32, 32))
    assert features(five, tiles[..., [0, 1, 2, 0, 1]], colour=False).shape == (2, 6)
    with pytest.raises(ModelError, match=r"own.onnx takes 5 channels, but the images have 2"):
        features(five, tiles[..., :2], colour=False)


def test_the_size_of_a_network_is_its_own_or_is_given(network: Callable[..., Path], tiles: NDArray[np.uint8]) -> None:
    free = network(shape=(None, 3, None, None))
    assert open_backbone(free).input_px == (224, 224)
    np.testing.assert_allclose(features(free, tiles, input_px=32), features(network("b.onnx"), tiles), atol=1e-6)
    with pytest.raises(ModelError, match=r"takes 32 x 32 px, not 64; leave --backbone-px out"):
        open_backbone(network("b.onnx"), input_px=64)


def test_a_network_for_one_image_at_a_time_takes_several_views(
    network: Callable[..., Path], tiles: NDArray[np.uint8]
) -> None:
    fixed, free = network("fixed.onnx", shape=(1, 3, 32, 32)), network("free.onnx")
    two = np.ascontiguousarray(tiles[..., :2])
    np.testing.assert_array_equal(features(fixed, two, colour=False), features(free, two, colour=False))


def test_the_hash_of_the_file_is_part_of_the_features(network: Callable[..., Path], tiles: NDArray[np.uint8]) -> None:
    preprocess = feature_preprocess(tiles.dtype, 3, True)
    one, other = open_backbone(network()), open_backbone(network(kernel=-KERNEL))
    specs = [new_feature_spec(preprocess, True, True, own) for own in (one, other)]
    assert specs[0].key != specs[1].key
    with pytest.raises(ModelError, match=r"own\.onnx in another version"):
        FeatureExtractor(specs[0], TileFormat.of(tiles), 1, other)


def test_what_is_no_backbone_is_told_in_a_line(
    network: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = network().read_bytes()
    for name, content in {
        "empty": b"",
        "cut": good[:-30],
        "text": b"hello",
        "spoilt": good.replace(b"Conv", b"Exec"),
    }.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
    (tmp_path / "text.keras").write_text("hello")
    (tmp_path / "weights.pth").write_bytes(b"x")
    for name, words in {
        **dict.fromkeys(("empty.onnx", "cut.onnx", "text.onnx", "spoilt.onnx"), "cannot be read as ONNX"),
        "missing.onnx": "cannot open the backbone", "text.keras": "is not a Keras file",
        "weights.pth": "give a .onnx or .keras file",
    }.items():  # fmt: skip
        with pytest.raises(ModelError, match=words) as caught:
            open_backbone(tmp_path / name)
        assert name in str(caught.value)
        assert len(str(caught.value)) < 600
    with pytest.raises(ModelError, match="refused: its weights are in other files"):
        open_backbone(network(elsewhere=True))
    monkeypatch.setenv(limit_variable("model_bytes"), "100")
    with pytest.raises(ModelError, match="more than 100"):
        open_backbone(network())


@pytest.mark.training
def test_a_keras_network_is_converted_once_in_a_child_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job_folder: Callable[[str], Path], tiles: NDArray[np.uint8]
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path))
    folder = job_folder("networks_job.py")
    found = features(folder / "backbone.keras", tiles, input_px=32)
    with np.load(folder / "backbone keras.npz") as saved:
        expected = saved["kernel"]
    means = [[correlate(tile / 255.0, kernel, "valid").mean() for kernel in expected] for tile in tiles]
    np.testing.assert_allclose(found, means, atol=1e-4)
    monkeypatch.setattr(user_backbone, "run_child", None)  # it is not converted again
    np.testing.assert_array_equal(features(folder / "backbone.keras", tiles, input_px=32), found)
    (converted,) = (tmp_path / "models").iterdir()
    (converted / "model.xml").write_bytes(b"<net/>")
    with pytest.raises(ModelError, match="is damaged; delete that folder"):
        open_backbone(folder / "backbone.keras", input_px=32)
