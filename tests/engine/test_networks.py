from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.training


def test_the_compact_network_has_about_70_000_parameters(trained: dict[str, Any]) -> None:
    assert trained["networks"]["compact of one channel"] == 69_730
    assert trained["networks"]["compact"] == 70_018


def test_the_networks_have_the_parameters_of_the_article(trained: dict[str, Any]) -> None:
    assert trained["networks"]["deep-50"] == 179_608
    assert trained["networks"]["deep"] == 154_882


def test_networks_take_any_size_and_channels_and_classes(trained: dict[str, Any]) -> None:
    assert len(trained["networks"]["odd"]) == 15
    for output, _, _, classes in trained["networks"]["odd"]:
        assert output == [None, classes]


def test_alexnet_takes_any_size_from_67_px(trained: dict[str, Any]) -> None:
    assert trained["networks"]["alexnet"] == [[None, 4], [None, 4]]
    kind, text = trained["networks"]["too_small"]
    assert kind == "ModelError"
    assert "at least 67 px a side" in text
    assert "128 x 66" in text


def test_batch_normalisation_survives_the_export(trained: dict[str, Any]) -> None:
    assert trained["networks"]["exported"]["tiles"] == 11
    assert trained["networks"]["exported"]["max_abs_difference"] < 1e-5


def test_the_layer_table_adds_up(trained: dict[str, Any]) -> None:
    layers = trained["networks"]["layers"]
    assert sum(layer["parameters"] for layer in layers) == 179_608
    assert layers[0]["name"] == "standardise_tile"
    assert layers[1] == {"name": "conv1", "type": "Conv2D", "output": [256, 256, 16], "parameters": 448}
    assert [layer["type"] for layer in layers].count("MaxPooling2D") == 8


def test_only_alexnet_as_published_drops_units(trained: dict[str, Any]) -> None:
    assert trained["networks"]["dropout"] == [0, 2]


def test_a_standardised_tile_forgets_its_exposure_and_the_switch_keeps_it(trained: dict[str, Any]) -> None:
    # Not to the last digit, as 0.002 is added to the standard deviation.
    assert trained["networks"]["exposure"] < 0.1 * trained["networks"]["exposure, not standardised"]


def test_standardising_is_exported_exactly_even_of_bright_and_nearly_flat_tiles(trained: dict[str, Any]) -> None:
    assert set(trained["networks"]["difference"]) == {"one", "eight", "ensemble"}
    assert max(trained["networks"]["difference"].values()) < 1e-4


def test_eight_views_answer_alike_for_a_turned_tile(trained: dict[str, Any]) -> None:
    assert trained["networks"]["turned"] < 1e-5
    assert trained["networks"]["turned, one view"] > 1e-3


def test_an_ensemble_answers_with_the_mean_of_its_members(trained: dict[str, Any]) -> None:
    assert trained["networks"]["mean"] < 1e-6
