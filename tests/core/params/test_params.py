from __future__ import annotations

import numpy as np
import pytest

from napari_cellclass.core.common.errors import GridError, ParamsError
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.params.shared import TileParams
from napari_cellclass.core.params.train import TrainParams


def image(pixel: tuple[float, float] | None = None) -> SourceImage:
    return SourceImage(np.zeros((100, 200, 1), np.uint8), "f.tif", pixel_size_um=pixel)


def test_a_tile_has_one_size() -> None:
    with pytest.raises(ParamsError, match="--tile-px and --tiles were both given"):
        TileParams.checked(tile_px=3, tiles=4)


def test_a_size_in_um_needs_a_pixel_size() -> None:
    params = TileParams(tile_um=10.0)
    with pytest.raises(ParamsError, match=r"f\.tif has no pixel size"):
        params.grid(image())
    assert params.grid(image((0.5, 0.25))).tile_px == (20, 40)


def test_each_way_to_size_a_tile() -> None:
    assert TileParams(tile_px=50).grid(image()).grid_shape == (2, 4)
    assert TileParams(tiles=8).grid(image()).grid_shape == (3, 3)
    assert TileParams().grid(image()).grid_shape == (1, 1)
    assert TileParams().grid(image(), (25, 25)).grid_shape == (4, 8)
    with pytest.raises(GridError, match="larger than the field"):
        TileParams(tile_px=150).grid(image())


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "IMAGE is needed"),
        ({"overlap": "half"}, "--overlap 'half'"),
        ({"overlap": 1.5}, "--overlap 1.5"),
        ({"edge": "wrap"}, "--edge 'wrap'"),
        ({"colour": 1}, "--colour 1"),
        ({"workers": 2, "scheduler": "tcp://x"}, "--workers and --scheduler"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(values: dict, text: str) -> None:
    base = {} if not values else {"images": ["a"], "model": "m", "out": "o"}
    with pytest.raises(ParamsError) as caught:
        ClassifyParams.checked(**base, **values)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


TRAINING = {"data": "d", "out": "m.cellclass"}


def test_as_published_is_the_articles_recipe_and_leaves_what_was_chosen() -> None:
    params = TrainParams.checked(**TRAINING, as_published=True)
    recipe = (params.network, params.epochs, params.batch_size, params.augment, params.standardise)
    assert recipe == ("deep-50", 9, 20, "none", "none")
    assert params.class_weights is False
    assert params.texture == "off"
    assert TrainParams.checked(**TRAINING).texture == "auto"
    chosen = TrainParams.checked(**TRAINING, as_published=True, network="alexnet", epochs="3", batch_size=16)
    assert (chosen.network, chosen.epochs, chosen.batch_size) == ("alexnet", 3, 16)
    assert TrainParams.checked(**TRAINING).network == "auto"
    assert TrainParams.checked(**TRAINING, as_published=True, network="auto").network == "deep-50"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"as_published": True, "augment": "full"}, "--augment full contradicts --as-published"),
        ({"as_published": True, "standardise": "tile"}, "--standardise tile contradicts --as-published"),
        ({"as_published": True, "network": "compact"}, "--network compact contradicts --as-published"),
        ({"as_published": True, "rotate": "-5:5"}, "--rotate -5:5 contradicts --as-published"),
        ({"as_published": True, "class_weights": True}, "--class-weights True contradicts --as-published"),
        ({"views": 4}, "--views 4 is not possible; use 1 or 8"),
        ({"ensemble": True}, "--ensemble averages several runs, but --runs is 1"),
        ({"range": "5"}, "--range '5' is not LO:HI"),
        ({"range": "9:5"}, "--range '9:5' does not go from a lower to a higher number"),
        ({"range": "5:5"}, "--range 5:5 is empty"),
        ({"range": "0:inf"}, "--range '0:inf'"),
        ({"range": "-1:99", "normalisation": "percentiles"}, "are not two percentiles"),
        ({"rotate": "5:-5"}, "--rotate '5:-5'"),
        ({"normalisation": "median"}, "--normalisation 'median'"),
        ({"backbone": "own.onnx", "network": "deep"}, "--backbone goes with --network pretrained, not deep"),
        (
            {"backbone": "own.onnx", "network": "auto", "precision": "int8"},
            "--precision int8 is not for a network of yours",
        ),
        ({"backbone": "own.onnx", "network": "auto", "with_compact": True}, "--with-compact is not for a network of"),
        ({"backbone": "own.onnx", "network": "pretrained", "standardise": "tile"}, "--standardise tile is not for a"),
        (
            {"backbone": "own.onnx", "network": "auto", "teacher": "m.cellclass"},
            "--teacher teaches the compact network",
        ),
        ({"backbone_px": 224}, "--backbone-px belongs to a network of yours; give it with --backbone"),
        ({"network": "pretrained", "epochs": 5}, "--epochs 5 is for networks that are trained in epochs"),
        ({"network": "pretrained", "views": 8}, "--views 8 is for networks"),
        ({"network": "pretrained", "class_weights": False}, "--no-class-weights is for networks"),
        ({"network": "pretrained", "with_compact": True, "input_px": 64}, "--input-px 64 is for networks"),
        ({"network": "deep", "with_compact": True}, "--with-compact goes with --network pretrained, not deep"),
        ({"network": "pretrained", "as_published": True}, "--network pretrained contradicts --as-published"),
        ({"unlabelled": ["plate"]}, "--unlabelled tiles are learned from a teacher; add --teacher"),
        ({"teacher": "t.cellclass", "initial": "i.cellclass"}, "--initial i.cellclass does not go with --teacher"),
        ({"teacher": "t.cellclass", "range": "0:9"}, "--range 0:9 does not go with --teacher"),
        ({"teacher": "t.cellclass", "network": "pretrained"}, "--network pretrained learns from labels alone"),
        ({"teacher": "t.cellclass", "as_published": True}, "--as-published learns from labels alone"),
    ],
)
def test_training_settings_that_do_not_fit_are_told_in_a_line(values: dict, text: str) -> None:
    with pytest.raises(ParamsError) as caught:
        TrainParams.checked(**TRAINING, **values)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, ""),
        ({"texture": "off", "seed": 3, "precision": "int8", "range": "0:99"}, ""),
        ({"with_compact": True, "epochs": 5, "runs": 3}, ""),
        ({"epochs": 5}, "--epochs 5 is for networks that are trained in epochs"),
        ({"rotate": "-5:5"}, "--rotate -5:5 is for networks that are trained in epochs"),
        ({"initial": "old.cellclass"}, "--initial old.cellclass is for networks that are trained in epochs"),
        ({"runs": 3}, "the 3 runs of linear models on pretrained features would be equal"),
        ({"standardise": "tile"}, "pretrained features do worse on tiles of one brightness (--standardise tile)"),
    ],
)
def test_the_automatic_network_is_compact_only_for_a_reason(values: dict, reason: str) -> None:
    assert TrainParams.checked(**TRAINING, **values).reason_for_compact == reason


def test_the_compact_network_beside_a_pretrained_one_has_its_own_settings() -> None:
    params = TrainParams.checked(**TRAINING, network="pretrained", with_compact=True, epochs=5, augment="flips")
    assert (params.epochs, params.augment) == (5, "flips")


def test_a_span_is_two_numbers() -> None:
    params = TrainParams.checked(**TRAINING, range="-1.5:4095", rotate="-5:5")
    assert (params.grey_range, params.degrees) == ((-1.5, 4095), (-5, 5))
