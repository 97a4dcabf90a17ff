from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engine.training_job import field, spots_data

from napari_cellclass.cli.info import describe
from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle, write_bundle
from napari_cellclass.core.models.feature_spec import FeatureSpec, feature_preprocess
from napari_cellclass.core.models.head_record import HeadRecord
from napari_cellclass.core.models.linear_head import Standardisation, fit_head
from napari_cellclass.core.quality.alarms import training_alarms
from napari_cellclass.core.stats.metrics import evaluate
from napari_cellclass.engine.features.extractor import FeatureExtractor, new_feature_spec
from napari_cellclass.engine.inference.engines import open_engine
from napari_cellclass.engine.inference.openvino_graph import TileFormat

pytestmark = pytest.mark.training
ModelOf = Callable[[str], ModelBundle]


@pytest.fixture(scope="module")
def folder(job_folder: Callable[[str], Path]) -> Path:
    return job_folder("pretrained_job.py")


@pytest.fixture(scope="module")
def made(folder: Path) -> ModelOf:
    return lambda name: open_bundle(folder / name / "model.cellclass")


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def head_of(bundle: ModelBundle) -> HeadRecord:
    found = HeadRecord.of(bundle.manifest.training)
    assert found is not None
    return found


def predictions(bundle: ModelBundle, tiles: NDArray[Any]) -> NDArray[np.float32]:
    with open_engine(bundle) as engine:  # it checks the golden tiles
        return engine.predict(tiles)


def test_every_training_of_these_tests_came_to_its_end_but_one(results: dict[str, Any]) -> None:
    assert [name for name, run in results["runs"].items() if "error" in run] == ["cancelled"]
    assert results["runs"]["cancelled"]["left"] == []


def test_the_same_tiles_give_the_same_model_on_one_thread_and_on_all(made: ModelOf, tiles: NDArray[np.uint16]) -> None:
    a, b = made("good"), made("again")
    np.testing.assert_allclose(predictions(a, tiles), predictions(b, tiles), atol=1e-5)
    np.testing.assert_allclose(a.left_out(), b.left_out(), atol=1e-5)


def test_a_model_predicts_its_golden_tiles_again_by_keras_and_by_openvino(made: ModelOf, results: Any) -> None:
    assert max(results["keras"].values()) < 1e-5
    for name in ("good", "mixed", "one field", "beside", "ensemble"):
        bundle = made(name)
        raw, prob = bundle.golden
        with open_engine(bundle) as engine:
            np.testing.assert_allclose(engine.predict(raw, bundle.preprocess.identity_levels), prob, atol=1e-5)
        assert bundle.path.stat().st_size < 9_000_000


def test_the_network_is_the_linear_models_on_the_features_that_its_record_names(
    made: ModelOf, tiles: NDArray[np.uint16]
) -> None:
    bundle, data = made("good"), spots_data()
    own = np.stack([tile for _, tile in data.tiles(np.arange(len(data)))])
    spec = FeatureSpec.model_validate(bundle.manifest.training["features"])
    extract = FeatureExtractor(spec, TileFormat.of(own))
    sets = np.split(extract(own), [spec.columns[0]], axis=1)
    scaling = [Standardisation.fit(part) for part in sets]
    z = [scaled.apply(part) for scaled, part in zip(scaling, sets, strict=True)]
    fit = fit_head(z, data.labels, data.groups.astype(str), 2)
    np.testing.assert_allclose(bundle.left_out(), fit.held_out, atol=1e-5)
    others = np.split(extract(tiles), [spec.columns[0]], axis=1)
    expected = fit.head.predict([scaled.apply(part) for scaled, part in zip(scaling, others, strict=True)])
    np.testing.assert_allclose(predictions(bundle, tiles), expected, atol=1e-5)


def test_figures_are_those_of_leave_one_group_out_cross_validation(made: ModelOf) -> None:
    bundle, data = made("good"), spots_data()
    prob = bundle.left_out()
    assert prob is not None
    report = evaluate(prob, data.labels, data.groups.tolist(), data.scheme.names).to_json()
    stored = bundle.evaluation()
    assert stored["held_out"] == "leave-one-group-out cross-validation"
    assert stored["validation"]["n"] == len(data) == bundle.manifest.data["n_train"]
    assert stored["validation"]["balanced_accuracy"]["value"] == pytest.approx(report["balanced_accuracy"]["value"])
    assert bundle.manifest.calibration is not None
    assert bundle.manifest.calibration.groups == 6
    assert set(bundle.table("split.csv")["held_out"]) == {"leave-one-group-out cross-validation"}
    head = head_of(bundle)
    assert (head.held_out_by, head.tiles, head.groups, head.network) == ("group", len(data), 6, None)
    assert set(head.accuracies) == {"backbone", "texture"}
    assert head.points[-1] == (96, head.accuracy)


def test_tiles_that_the_split_holds_out_are_not_fitted_to(made: ModelOf) -> None:
    bundle = made("split")
    assert bundle.left_out() is None
    assert bundle.evaluation()["validation"]["n"] == 32
    assert (bundle.manifest.data["n_train"], head_of(bundle).tiles) == (64, 64)


def test_a_class_of_one_field_has_single_tiles_held_out_and_says_so(made: ModelOf) -> None:
    bundle = made("one field")
    assert head_of(bundle).held_out_by == "tile"
    assert bundle.evaluation()["held_out"] == "leave-one-out cross-validation"
    assert "leave-one-out cross-validation over single tiles" in describe(bundle)


def test_the_compact_network_is_told_of_whether_or_not_it_is_mixed_in(made: ModelOf) -> None:
    bundle = made("beside")
    network = head_of(bundle).network
    assert network is not None
    assert network.tiles < 96
    told = describe(bundle)
    assert f"the compact network {'is' if network.joined else 'is not'} mixed in" in told
    assert f"{network.accuracy_network:.3f} of it alone" in told
    assert bundle.manifest.training["epochs_trained"] == len(bundle.table("history.csv")) == 2


def test_a_mixture_gives_a_quarter_of_the_network(results: dict[str, Any]) -> None:
    assert results["mixture"]["difference"] < 1e-6
    assert results["mixture"]["layers"]


def test_an_ensemble_has_the_figures_of_its_members_left_out_groups(made: ModelOf) -> None:
    whole, member = made("ensemble"), made("good")
    np.testing.assert_allclose(whole.left_out(), member.left_out(), atol=1e-5)
    assert len(whole.manifest.training["members"]) == 2


def test_info_names_the_weights_their_origin_and_their_licence(made: ModelOf) -> None:
    told = describe(made("good"))
    for words in ("pretrained", "EfficientNet-Lite0", "Apache License 2.0", "leave-one-group-out"):
        assert words in told


def test_a_model_on_a_users_network_runs_by_openvino_and_names_its_hash(made: ModelOf, folder: Path) -> None:
    bundle = made("own")
    raw, prob = bundle.golden
    np.testing.assert_allclose(predictions(bundle, raw), prob, atol=1e-5)
    spec = FeatureSpec.model_validate(bundle.manifest.training["features"])
    digest = hashlib.sha256((folder / "own.onnx").read_bytes()).hexdigest()
    assert (spec.columns[0], spec.backbone_sha256, spec.backbone_scaling) == (8, digest, "imagenet")
    assert bundle.preprocess.input_px == (32, 32)
    assert head_of(bundle).accuracy > 0.7
    told = describe(bundle)
    assert f"own.onnx, SHA-256 {digest}" in told
    assert "EfficientNet" not in told
    with pytest.raises(ModelError, match="only OpenVINO runs; use --engine openvino"):
        open_engine(bundle, "tensorflow")


def test_a_model_on_our_backbone_without_its_keras_network_is_not_complete(made: ModelOf, tmp_path: Path) -> None:
    for name, complete in (("good", False), ("own", True)):
        bundle = made(name)
        members = {member: bundle.member(member) for member in bundle.manifest.files if member != "model.keras"}
        path = write_bundle(tmp_path / f"{name}.cellclass", bundle.manifest, members).path
        if complete:
            assert not open_bundle(path).has_keras
            continue
        with pytest.raises(ModelError, match=r"model\.keras is missing; train again"):
            open_bundle(path)


def test_a_model_of_a_labelling_session_stores_linear_models_that_keras_runs_as_openvino_does(
    made: ModelOf, results: Any, tiles: NDArray[np.uint16]
) -> None:
    bundle = made("kept")
    assert "model.keras" not in bundle.manifest.files
    assert bundle.has_keras
    assert results["keras"]["kept"] < 1e-5
    np.testing.assert_allclose(predictions(bundle, tiles), predictions(made("good"), tiles), atol=1e-5)
    with open_engine(bundle, "tensorflow") as by_keras:
        np.testing.assert_allclose(by_keras.predict(tiles), predictions(bundle, tiles), atol=1e-5)


def test_a_model_without_texture_has_one_set_of_features(made: ModelOf) -> None:
    assert set(head_of(made("mixed")).accuracies) == {"backbone"}
    names = [layer["name"] for layer in made("mixed").manifest.layers]
    assert "texture" not in names


@pytest.mark.parametrize("seed", range(5))
def test_of_two_classes_that_are_the_same_nothing_is_learned(seed: int) -> None:
    fields = [field(100 * seed + i, False, (128, 128, 1), "uint16") for i in range(8)]
    tiles = np.concatenate([one.reshape(4, 32, 4, 32, 1).swapaxes(1, 2).reshape(16, 32, 32, 1) for one in fields])
    groups = np.repeat([f"field {i}" for i in range(8)], 16)
    labels = np.repeat(np.arange(8) % 2, 16)
    spec = new_feature_spec(feature_preprocess(tiles.dtype, 1, False, tiles), False)
    sets = np.split(FeatureExtractor(spec, TileFormat.of(tiles))(tiles), [spec.columns[0]], axis=1)
    fit = fit_head([Standardisation.fit(part).apply(part) for part in sets], labels, groups, 2)
    report = evaluate(fit.held_out, labels, groups.tolist(), ("a", "b"))
    assert [alarm.code for alarm in training_alarms((), report)] in (["nothing-learned"], ["one-class"])
