from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_cellclass.cli.info import describe
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.texture_decision import TextureHead
from napari_cellclass.core.stats.calibration import calibrate, fit_temperature

pytestmark = pytest.mark.training
ModelOf = Callable[[str], ModelBundle]


def head_of(bundle: ModelBundle) -> TextureHead:
    return TextureHead.model_validate(bundle.manifest.training["texture_head"])


def test_every_training_of_these_tests_came_to_its_end(textured: dict[str, Any]) -> None:
    assert {name: run["error"] for name, run in textured["runs"].items() if "error" in run} == {}


def test_texture_joins_only_where_held_out_tiles_support_it(with_texture: ModelOf, good: ModelBundle) -> None:
    assert head_of(with_texture("joined")).joined
    assert head_of(with_texture("views")).joined
    left_out = head_of(good)
    assert not left_out.joined
    assert left_out.why == "the network leaves little to gain"


def test_a_network_that_texture_does_not_join_is_left_as_it_is(with_texture: ModelOf, good: ModelBundle) -> None:
    models = {"joined": with_texture("joined"), "alone": with_texture("alone"), "good": good}
    sizes = {name: len(model.member("model.xml")) for name, model in models.items()}
    assert sizes["joined"] > 2 * sizes["alone"]
    assert sizes["good"] == pytest.approx(sizes["alone"], rel=0.01)


def test_texture_is_not_measured_where_it_is_off_or_tiles_are_not_standardised(
    with_texture: ModelOf, textured: dict[str, Any], model_of: ModelOf, trained: dict[str, Any]
) -> None:
    runs = {"alone": (with_texture("alone"), textured), "percentiles": (model_of("percentiles"), trained)}
    for name, (bundle, results) in runs.items():
        assert "texture_head" not in bundle.manifest.training
        assert "measuring texture" not in {entry[0] for entry in results["runs"][name]["reports"]}


def test_nothing_is_fitted_to_held_out_tiles(with_texture: ModelOf) -> None:
    one, relabelled = with_texture("joined"), with_texture("relabelled")  # of one seed, which gives the same weights
    assert head_of(relabelled).joined
    assert head_of(relabelled).loss_both != head_of(one).loss_both
    assert relabelled.manifest.files["model.bin"] == one.manifest.files["model.bin"]


def test_scores_and_calibration_are_those_of_the_model_that_is_written(
    with_texture: ModelOf, textured: dict[str, Any]
) -> None:
    truth = np.array(textured["probabilities"]["truth"])
    prob = np.array(textured["probabilities"]["joined"], np.float32)
    manifest = with_texture("joined").manifest
    assert manifest.scores["accuracy"]["value"] == (prob.argmax(axis=1) == truth).mean()
    assert manifest.calibration is not None
    assert manifest.calibration.temperature == pytest.approx(fit_temperature(prob, truth), rel=1e-3)
    scores = calibrate(prob, truth, ["a"] * len(truth))
    assert scores is not None
    np.testing.assert_allclose(manifest.calibration.scores, scores.scores, atol=1e-3)
    alone = np.array(textured["probabilities"]["alone"], np.float32)
    assert abs(fit_temperature(alone, truth) / manifest.calibration.temperature - 1) > 0.1


def test_the_manifest_records_metrics_of_held_out_tiles_with_and_without_texture(
    with_texture: ModelOf, textured: dict[str, Any]
) -> None:
    bundle = with_texture("joined")
    head = head_of(bundle)
    truth = np.array(textured["probabilities"]["truth"])
    for value, name in ((head.accuracy_network, "alone"), (head.accuracy_both, "joined")):
        correct = np.array(textured["probabilities"][name]).argmax(axis=1) == truth
        assert value == pytest.approx(np.mean([correct[truth == k].mean() for k in (0, 1)]))
    lines = [line for line in describe(bundle).splitlines() if "texture_head" in line]
    assert lines == [f"training  texture_head: {head.describe()}"]


def test_the_layers_of_the_manifest_are_the_networks_and_those_of_texture(with_texture: ModelOf) -> None:
    joined, alone = (with_texture(name).manifest for name in ("joined", "alone"))
    # Two weights of each of 28 features to standardise it and two of the linear model, which also has two intercepts.
    assert joined.parameters == alone.parameters + 28 * 4 + 2
    assert joined.parameters == sum(layer["parameters"] for layer in joined.layers)
    assert joined.layers[: len(alone.layers)] == alone.layers
    added = [layer["name"] for layer in joined.layers[len(alone.layers) :]]
    assert set(added) == {"texture", "features", "texture_classes", "pooled_with_texture"}


def test_a_training_goes_on_from_the_network_and_leaves_texture_behind(textured: dict[str, Any]) -> None:
    # With a learning rate of next to nothing the network stays what it was.
    prob = {name: np.array(textured["probabilities"][name]) for name in ("alone", "continued", "joined")}
    np.testing.assert_allclose(prob["continued"], prob["alone"], atol=1e-5)
    assert np.abs(prob["joined"] - prob["alone"]).max() > 0.1


def test_an_ensemble_averages_the_probabilities_of_its_members_with_texture_and_without(
    textured: dict[str, Any],
) -> None:
    made, joined, alone = (np.array(one) for one in textured["ensemble"]["golden"])
    np.testing.assert_allclose(made, (joined + alone) / 2, atol=1e-5)
    assert np.abs(joined - alone).max() > 0.1
    assert textured["ensemble"]["texture"] == [True, False]


def test_the_graph_of_texture_is_exported_exactly_and_pools_by_the_formula(textured: dict[str, Any]) -> None:
    graph = textured["graph"]
    assert graph["sizes"] == {"3x3x1": [12, True], "5x40x2": [24, True], "37x53x3": [84, True], "64x64x1": [28, True]}
    assert max(graph["arrays"]) < 1e-4
    assert max(graph["difference"]) < 2e-5
    assert max(graph["pool"]) < 2e-5
    assert graph["inside"] == [True] * 6
