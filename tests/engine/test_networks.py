from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.training


def test_the_networks_have_the_parameters_of_the_article(trained: dict[str, Any]) -> None:
    assert trained["networks"]["deep-50"] == 179_608
    assert trained["networks"]["deep"] == 154_882


def test_deep_networks_take_any_size_and_channels_and_classes(trained: dict[str, Any]) -> None:
    assert len(trained["networks"]["odd"]) == 10
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
    assert layers[0] == {"name": "conv1", "type": "Conv2D", "output": [256, 256, 16], "parameters": 448}
    assert [layer["type"] for layer in layers].count("MaxPooling2D") == 8
