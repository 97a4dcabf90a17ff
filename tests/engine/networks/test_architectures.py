from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.training


def test_the_compact_network_has_about_70_000_parameters(built: dict[str, Any]) -> None:
    assert built["compact of one channel"] == 69_730
    assert built["compact"] == 70_018


def test_the_networks_have_the_parameters_of_the_article(built: dict[str, Any]) -> None:
    assert built["deep-50"] == 179_608
    assert built["deep"] == 154_882


def test_networks_take_any_size_and_channels_and_classes(built: dict[str, Any]) -> None:
    assert len(built["unusual"]) == 15
    for output, _, _, classes in built["unusual"]:
        assert output == [None, classes]


def test_alexnet_takes_any_size_from_67_px(built: dict[str, Any]) -> None:
    assert built["alexnet"] == [[None, 4], [None, 4]]
    kind, text = built["too_small"]
    assert kind == "ModelError"
    assert "at least 67 px a side" in text
    assert "128 x 66" in text


def test_batch_normalisation_survives_the_export(built: dict[str, Any]) -> None:
    assert built["exported"]["tiles"] == 11
    assert built["exported"]["max_abs_difference"] < 1e-5


def test_the_layer_table_adds_up(built: dict[str, Any]) -> None:
    layers = built["layers"]
    assert sum(layer["parameters"] for layer in layers) == 179_608
    assert layers[0]["name"] == "standardise_tile"
    assert layers[1] == {"name": "conv1", "type": "Conv2D", "output": [256, 256, 16], "parameters": 448}
    assert [layer["type"] for layer in layers].count("MaxPooling2D") == 8


def test_only_alexnet_as_published_drops_units(built: dict[str, Any]) -> None:
    assert built["dropout"] == [0, 2]


def test_a_standardised_tile_forgets_its_exposure_and_the_switch_keeps_it(built: dict[str, Any]) -> None:
    # Not to the last digit, as 0.002 is added to the standard deviation.
    assert built["exposure"] < 0.1 * built["exposure, not standardised"]


def test_standardising_is_exported_exactly_even_of_bright_and_nearly_flat_tiles(built: dict[str, Any]) -> None:
    assert set(built["difference"]) == {"one", "eight", "ensemble"}
    assert max(built["difference"].values()) < 1e-4


def test_eight_views_predict_the_same_for_a_rotated_tile(built: dict[str, Any]) -> None:
    assert built["turned"] < 1e-5
    assert built["turned, one view"] > 1e-3


def test_an_ensemble_predicts_the_mean_of_its_members(built: dict[str, Any]) -> None:
    assert built["mean"] < 1e-6
