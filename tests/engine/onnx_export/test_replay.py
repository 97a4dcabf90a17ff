"""An exported model predicts what the model does, in ONNX Runtime and in OpenCV, or is not exported."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from napari_cellclass.core.common.errors import EngineError, ModelError
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle, write_bundle
from napari_cellclass.core.stats.calibration import Calibration
from napari_cellclass.engine.inference.engines import open_engine
from napari_cellclass.engine.onnx_export.model import build_onnx
from napari_cellclass.engine.onnx_export.operations import WRITERS
from napari_cellclass.engine.onnx_export.replay import OnnxRuntimeModel, OpenCvModel, replay_golden, tile_blob

pytestmark = pytest.mark.training

Find = Callable[[str], Path]
# What is exported: a fixture, or a job's folder and the model in it.
MODELS = {
    "compact in colour": "ihc_model",
    "two channels": "striped_model",
    "texture joined": "texture_job.py/joined/model",
    "eight views, percentiles": "training_job.py/percentiles/model",
    "pretrained": "pretrained_job.py/good/model",
    "pretrained, percentiles": "pretrained_job.py/one field/model",
    "article": "networks_job.py/deep-50",
    "article, alexnet": "networks_job.py/alexnet",
}


@pytest.fixture
def find(request: pytest.FixtureRequest, job_folder: Callable[[str], Path]) -> Find:
    def find(name: str) -> Path:
        script, _, model = MODELS[name].partition("/")
        return job_folder(script) / f"{model}.cellclass" if model else Path(request.getfixturevalue(script))

    return find


def rewritten(bundle: ModelBundle, path: Path, update: dict[str, Any], **changes: bytes) -> ModelBundle:
    members = {name: bundle.member(name) for name in bundle.manifest.files} | changes
    return write_bundle(path, bundle.manifest.model_copy(update=update), members)


@pytest.mark.parametrize("name", MODELS)
def test_golden_tiles_are_predicted_as_at_training(name: str, find: Find) -> None:
    bundle = open_bundle(find(name))
    found = replay_golden(bundle, build_onnx(bundle))
    assert found.tiles == len(bundle.golden[0]) > 0
    assert max(found.onnxruntime, found.opencv) < 1e-4


@pytest.mark.parametrize("name", ["two channels", "pretrained", "article"])
def test_other_tiles_are_predicted_as_by_the_program_whatever_their_number(name: str, find: Find) -> None:
    bundle = open_bundle(find(name))
    golden = bundle.golden[0]
    rng = np.random.default_rng(0)
    # Of other brightness and contrast than any that were trained on, some flat.
    factor, offset = rng.uniform(0, 2, (9, 1, 1, 1)), rng.uniform(0, golden.max(), (9, 1, 1, 1))
    tiles = factor * golden[rng.integers(0, len(golden), 9)] + offset
    tiles = tiles.clip(0, np.iinfo(golden.dtype).max).astype(golden.dtype)
    tiles[0] = 7
    with open_engine(bundle) as engine:
        expected = bundle.calibrated(engine.predict(tiles, bundle.preprocess.identity_levels))
    content = build_onnx(bundle)
    for model in (OnnxRuntimeModel(content), OpenCvModel(content)):
        np.testing.assert_allclose(model(tile_blob(tiles)), expected, atol=1e-4)


def test_probabilities_are_calibrated(find: Find, tmp_path: Path) -> None:
    bundle = open_bundle(find("article"))
    calibration = Calibration(temperature=2.5, scores=(0.1,), n=1, groups=1, ece_before=0.1, ece_after=0.1)
    warmer = rewritten(bundle, tmp_path / "w.cellclass", {"calibration": calibration})
    plain, calibrated = (OpenCvModel(build_onnx(one))(tile_blob(bundle.golden[0])) for one in (bundle, warmer))
    assert np.abs(plain - calibrated).max() > 0.05
    np.testing.assert_allclose(calibrated, calibration.apply(plain), atol=1e-5)
    assert replay_golden(warmer, build_onnx(warmer)).opencv < 1e-4


def test_a_model_that_predicts_otherwise_is_not_exported(find: Find, tmp_path: Path) -> None:
    bundle = open_bundle(find("article"))
    tiles, prob = bundle.golden
    stream = io.BytesIO()
    np.savez(stream, tiles=tiles, prob=(prob * 0.99 + 0.01 / 3).astype(np.float32))
    other = rewritten(bundle, tmp_path / "o.cellclass", {}, **{"golden.npz": stream.getvalue()})
    with pytest.raises(EngineError, match=r"ONNX Runtime its probabilities differ by up to 0\.00"):
        replay_golden(other, build_onnx(other))


def test_a_file_that_a_library_cannot_load_is_told_in_one_line() -> None:
    for model, name in ((OnnxRuntimeModel, "ONNX Runtime"), (OpenCvModel, "OpenCV")):
        with pytest.raises(ModelError, match=f"^{name} cannot load the exported model"):
            model(b"no model")


def test_the_file_says_what_it_takes_and_gives(find: Find) -> None:
    bundle = open_bundle(find("article"))
    model = onnx.load_from_string(build_onnx(bundle))
    known = {one.key: one.value for one in model.metadata_props}
    assert json.loads(known["classes"]) == ["a", "b", "c"]
    assert json.loads(known["tile_px"]) == [64, 100]
    assert json.loads(known["pixel_size_um"]) is None
    assert known["model_id"] == bundle.model_id
    (tiles,) = model.graph.input
    assert [d.dim_value or d.dim_param for d in tiles.type.tensor_type.shape.dim] == ["N", 2, 64, 100]
    assert model.opset_import[0].version == 13


def test_an_operation_that_is_not_known_is_named(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(WRITERS, "MaxPool")
    with pytest.raises(ModelError, match="has the operation MaxPool, which is not known here"):
        build_onnx(open_bundle(find("article")))
