"""The scale of features of a labelling session is kept exactly, and anything else is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.models.feature_scale import FeatureScale, read_feature_scale
from napari_cellclass.core.models.feature_spec import FeatureSpec
from napari_cellclass.core.models.linear_head import Standardisation
from napari_cellclass.core.tiles.preprocess import PreprocessSpec

COLUMNS = (5, 3)


def _scale() -> tuple[FeatureScale, Standardisation]:
    preprocess = PreprocessSpec(channels=1, input_px=(128, 128), low=0, high=1, channel_ranges=((3.5, 812.25),))
    spec = FeatureSpec(preprocess=preprocess, backbone_sha256="ab", texture_version=1, columns=COLUMNS)
    values = np.random.default_rng(0).normal(3, 2, (40, 8)).astype(np.float32)
    values[:, 2] = 1.0  # does not vary
    standardisation = Standardisation.fit(values)
    return FeatureScale.of(spec, standardisation), standardisation


def test_what_was_written_standardises_as_before(tmp_path: Path) -> None:
    scale, standardisation = _scale()
    again = read_feature_scale(scale.save(tmp_path / "a.features.json"))
    assert again == scale
    values = np.random.default_rng(1).normal(3, 2, (10, 8)).astype(np.float32)
    first, second = again.standardisations()
    parts = np.hstack([first.apply(values[:, :5]), second.apply(values[:, 5:])])
    assert parts == pytest.approx(standardisation.apply(values), abs=1e-6)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b"\xff\xfe", b'{"mean": 3}'])
def test_another_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.features.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"^[^\n]*a\.features\.json is no scale of features[^\n]*$"):
        read_feature_scale(path)
    with pytest.raises(ModelError, match="cannot read"):
        read_feature_scale(tmp_path / "none.json")


def test_means_that_do_not_fit_the_features_are_refused(tmp_path: Path) -> None:
    scale, _ = _scale()
    path = tmp_path / "a.features.json"
    path.write_text(scale.model_copy(update={"mean": scale.mean[:-1]}).model_dump_json(), encoding="utf-8")
    with pytest.raises(ModelError, match="7 means of 8 features"):
        read_feature_scale(path)
