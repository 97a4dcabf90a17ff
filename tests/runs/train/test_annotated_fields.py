"""Annotated fields as files that a child process can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_cellclass.core.common.task import NO_TASK
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.runs.train import annotated_fields
from napari_cellclass.runs.train.annotated_fields import AnnotatedField, annotated_dataset, write_annotated_fields


def test_a_large_field_is_written_tile_by_tile_and_its_own_file_is_used_where_it_is_the_same(
    tmp_path: Path, monkeypatch: Any
) -> None:
    pixels = np.random.default_rng(0).random((64, 96, 2)).astype(np.float32)
    source = SourceImage(pixels, "a/b", pixel_size_um=(0.5, 0.25))
    tiles = pd.DataFrame({"y0": [0, 32], "x0": [0, 64], "y1": [32, 64], "x1": [32, 96], "class_name": ["p", "q"]})
    one = AnnotatedField(source, "a/b", tiles)
    monkeypatch.setattr(annotated_fields, "_WHOLE_BYTES", 1)
    table = pd.read_csv(write_annotated_fields([one, one], tmp_path, None, NO_TASK))
    assert table["group"].tolist() == ["a_b", "a_b", "a_b (2)", "a_b (2)"]
    written = read_image(table["path"][0])
    assert written.dtype == np.float32
    assert written.pixel_size_um == pytest.approx((0.5, 0.25))
    np.testing.assert_array_equal(written.read(32, 64, 64, 96), pixels[32:64, 64:96])
    assert (written.read(0, 64, 32, 96) == 0).all()
    monkeypatch.setattr(annotated_fields, "_WHOLE_BYTES", 1 << 20)
    table = pd.read_csv(write_annotated_fields([one], tmp_path, "^(a)", NO_TASK))
    assert read_image(table["path"][0]).image_id == source.image_id
    assert set(table["group"]) == {"a"}
    own = AnnotatedField(source, "a/b", tiles, Path(table["path"][0]))
    (tmp_path / "other").mkdir()
    assert pd.read_csv(write_annotated_fields([own], tmp_path / "other", None, NO_TASK))["path"][0] == table["path"][0]


def test_planes_of_a_stack_share_a_group_and_other_stacks_and_scenes_have_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tiles = pd.DataFrame({"y0": [0, 0], "x0": [0, 16], "y1": [16, 16], "x1": [16, 32], "class_name": ["p", "q"]})

    def plane(name: str, scene: int = 0, **plane: int) -> AnnotatedField:
        pixels = rng.integers(0, 255, (16, 32, 1), np.uint8)
        source = SourceImage(pixels, name, plane=plane, source_shape=(2, 5, 16, 32) if plane else (), scene=scene)
        return AnnotatedField(source, name, tiles)

    fields = [plane("a", Z=0), plane("b", Z=0), plane("a", Z=3), plane("a", T=1, Z=0), plane("a", 1, Z=0)]
    fields += [plane("flat"), plane("flat")]
    table = pd.read_csv(write_annotated_fields(fields, tmp_path, None, NO_TASK))
    groups = table.groupby("path", sort=False)["group"].unique().map(tuple).tolist()
    first, other, second, third, scene, *flat = groups
    assert first == second == third
    assert len({first, other, scene, *flat}) == 5
    assert sorted(annotated_dataset(fields, None).groups) == sorted(table["group"])
