from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.train import NetworkName
from napari_cellclass.core.tiles.preprocess import field_levels
from napari_cellclass.engine.inference.engines import open_engine
from napari_cellclass.engine.training.tile_pixels import dihedral, network_input_size
from napari_cellclass.engine.training.training_run import default_epochs

pytestmark = pytest.mark.training
ModelOf = Callable[[str], ModelBundle]


def test_a_network_learns_spots_from_no_spots(good: ModelBundle) -> None:
    scores = good.manifest.scores
    assert scores["balanced_accuracy"]["value"] >= 0.95
    assert scores["collapsed"] is False
    assert scores["warnings"] == []


def test_a_bundle_is_complete(good: ModelBundle) -> None:
    manifest = good.manifest
    assert set(manifest.files) == {
        "model.keras", "model.xml", "model.bin", "history.csv", "split.csv", "evaluation.json", "golden.npz",
        "training_tiles.npz",
    }  # fmt: skip
    assert manifest.tile_px == manifest.preprocess.input_px == (32, 32)
    assert manifest.preprocess.low == 0
    assert 3000 < manifest.preprocess.high <= 4095  # 12 bits, stored in 16
    assert manifest.training["epochs"] == 12
    assert manifest.training["learning_rate"] == 2e-3
    assert manifest.training["optimizer"] == "AdamW"
    assert (manifest.network, manifest.parameters) == ("compact", 69_730)
    assert manifest.preprocess.normalisation == "range"
    assert manifest.training["seed"] == 3
    assert not {"out", "progress", "quiet"} & set(manifest.training)
    assert (manifest.data["n_train"], manifest.data["n_validation"]) == (64, 32)
    assert manifest.data["skipped"] == [{"path": "broken.tif", "reason": "it is empty"}]
    assert manifest.data["split_rule"] == "the last group"
    assert len(manifest.data["images"]) == 6
    assert manifest.export["max_abs_difference"] <= 1e-4
    assert manifest.export["tiles"] == 64
    assert set(manifest.versions) == {"python", "machine", "keras", "tensorflow", "openvino", "numpy"}
    assert manifest.parameters == sum(layer["parameters"] for layer in manifest.layers)
    # Weights alone: an optimizer's moments would triple it.
    assert len(good.member("model.keras")) < 2 * len(good.member("model.bin"))


def test_tables_of_a_bundle_hold_history_split_and_evaluation(good: ModelBundle) -> None:
    history = good.table("history.csv")
    assert list(history) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    assert history["epoch"].tolist() == list(range(1, 13))
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    split = good.table("split.csv")
    assert split["split"].value_counts().to_dict() == {"train": 64, "validation": 32}
    evaluation = good.evaluation()["validation"]
    assert evaluation["n"] == 32
    assert evaluation["groups"] == 2
    assert np.sum(evaluation["confusion"]) == 32
    json.dumps(good.manifest.model_dump(mode="json"), allow_nan=False)


def test_golden_tiles_are_raw_and_of_every_class(good: ModelBundle) -> None:
    tiles, prob = good.golden
    assert tiles.shape == (8, 32, 32, 1)
    assert tiles.dtype == np.uint16
    assert sorted(prob.argmax(axis=1).tolist()) == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_cancelled_training_writes_nothing(trained: dict[str, Any]) -> None:
    run = trained["runs"]["cancelled"]
    assert run["kind"] == "CancelledError"
    assert "epoch 2 of 3" in run["error"]
    assert run["left"] == []


def test_every_epoch_is_reported(trained: dict[str, Any]) -> None:
    epochs = [entry for entry in trained["runs"]["good"]["reports"] if entry[0] == "training"]
    assert [entry[1:3] for entry in epochs] == [[i, 12] for i in range(1, 13)]
    wanted = {"loss", "accuracy", "val_loss", "val_accuracy", "seconds", "seconds_left"}
    assert all(set(entry[3]) == wanted for entry in epochs)


def test_tiles_of_several_shapes_and_with_bad_pixels_train_nonetheless(model_of: ModelOf) -> None:
    bundle = model_of("mixed")
    data = bundle.manifest.data
    assert data["nonfinite_tiles"] == 2
    assert data["n_train"] + data["n_validation"] == 3 * 3 * 12 - 2
    assert bundle.manifest.tile_px == (20, 24)
    assert bundle.golden[0].shape[1:] == (20, 24, 2)
    assert bundle.golden[0].dtype == np.float32
    assert (bundle.table("split.csv")["split"].isna()).sum() == 2
    with open_engine(bundle) as engine:
        assert engine.predict(np.ones((3, 20, 24, 2), np.float32)).shape == (3, 3)


def test_a_network_that_learned_nothing_is_flagged(with_texture: ModelOf) -> None:
    scores = with_texture("alone").manifest.scores
    assert scores["collapsed"] is True
    assert any("learned nothing" in warning for warning in scores["warnings"])


def test_a_network_that_learned_nothing_is_not_flagged_where_texture_separates_the_classes(
    with_texture: ModelOf,
) -> None:
    manifest = with_texture("joined").manifest
    assert manifest.training["texture_head"]["joined"] is True
    assert manifest.scores["collapsed"] is False
    assert manifest.scores["balanced_accuracy"]["value"] > 0.9
    assert not any("learned nothing" in warning for warning in manifest.scores["warnings"])


def test_a_loss_that_is_not_finite_is_an_error_with_advice(trained: dict[str, Any]) -> None:
    run = trained["runs"]["diverged"]
    assert run["kind"] == "EngineError"
    assert "lower --learning-rate than 10" in run["error"]
    assert run["left"] == []


def test_training_and_export_talk_to_nobody(trained: dict[str, Any]) -> None:
    assert trained["contacts"] == []
    assert trained["telemetry"] == []


def test_training_prints_nothing(trained: dict[str, Any]) -> None:
    assert trained["printed"].strip() == ""


def test_the_eight_views_differ_and_four_keep_an_oblong_shape() -> None:
    tile = np.arange(6).reshape(2, 3, 1)
    assert {dihedral(tile, view).shape for view in range(4)} == {(2, 3, 1)}
    square = np.arange(9).reshape(3, 3, 1)
    assert len({dihedral(square, view).tobytes() for view in range(8)}) == 8


@pytest.mark.parametrize(
    ("tile", "network", "asked", "expected"),
    [((128, 128), "compact", None, (128, 128)), ((512, 512), "compact", None, (128, 128)),
     ((64, 64), "compact", None, (64, 64)), ((64, 64), "deep", None, (256, 256)),
     ((100, 400), "compact", None, (32, 128)), ((100, 400), "alexnet", None, (64, 256)),
     ((128, 128), "compact", 64, (64, 64)), ((50, 100), "deep-50", 200, (100, 200)),
     ((1, 1000), "compact", None, (1, 128))],
)  # fmt: skip
def test_the_input_keeps_a_tiles_shape(
    tile: tuple[int, int], network: NetworkName, asked: int | None, expected: tuple[int, int]
) -> None:
    assert network_input_size(tile, network, asked) == expected


@pytest.mark.parametrize(
    ("n", "epochs", "slow"), [(10, 200, 60), (80, 112, 60), (200, 45, 60), (300, 30, 60), (9000, 25, 25)]
)
def test_small_sets_are_shown_more_often(n: int, epochs: int, slow: int) -> None:
    assert default_epochs(n, "compact") == epochs
    assert default_epochs(n, "deep-50") == slow


@pytest.mark.usefixtures("forked_children")
def test_percentiles_of_each_field_are_needed_for_every_prediction(
    model_of: ModelOf, tiles: NDArray[np.uint16]
) -> None:
    bundle = model_of("percentiles")
    spec = bundle.preprocess
    assert (spec.normalisation, spec.percentiles, spec.low, spec.high) == ("percentiles", (1, 99), 0, 1)
    assert bundle.golden[0].dtype == np.float32
    field = SourceImage(np.concatenate(tiles[:16], axis=1), "field")
    levels = field_levels(spec, field)
    np.testing.assert_allclose(levels, [np.percentile(field.data, (1, 99))])
    with open_engine(bundle) as engine, open_engine(bundle, "tensorflow") as other:
        prob = engine.predict(tiles, levels)
        np.testing.assert_allclose(other.predict(tiles, levels), prob, atol=1e-4)
        # Another exposure of the same field has other levels, and the same predictions.
        assert np.abs(engine.predict(3.0 * tiles + 70, 3 * levels + 70) - prob).max() < 1e-4
        for one in (engine, other):
            with pytest.raises(ModelError, match="give whole fields"):
                one.predict(tiles)


def test_a_requested_range_is_used(model_of: ModelOf) -> None:
    spec = model_of("mixed").preprocess
    assert (spec.normalisation, spec.low, spec.high) == ("range", 100, 3000)
