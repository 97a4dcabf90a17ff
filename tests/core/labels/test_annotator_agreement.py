from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from napari_cellclass.core.common.errors import GridError, ImageError, ParamsError
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.annotator_agreement import compare_annotators, merge_annotations
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.labels.label_store import CONFLICT, UNLABELLED, UNSURE
from napari_cellclass.core.tiles.grid import TileGrid


def annotated(
    tmp_path: Path,
    labels: Any,
    names: tuple[str, ...] = ("a", "b", "c"),
    image: str = "x",
    grid: TileGrid | None = None,
) -> Annotation:
    grid = grid or TileGrid.regular((10, 10 * len(labels)), 10)
    annotation = Annotation(ImageKey(image, f"{image}.png"), grid, ClassScheme(names), Journal(tmp_path / "journal"))
    annotation.label(np.arange(len(labels)), labels)
    return annotation


@given(pairs=st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=40))
@settings(deadline=None, max_examples=40)
def test_kappa_is_that_of_scikit_learn(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]]) -> None:
    folder = tmp_path_factory.mktemp("pair")
    mine, yours = (np.array(side) for side in zip(*pairs, strict=True))
    result = compare_annotators(annotated(folder, mine), annotated(folder, yours))
    both = (mine >= 0) & (yours >= 0)
    assert result.n == both.sum()
    assert (result.only_a, result.only_b) == (((mine >= 0) & ~both).sum(), ((yours >= 0) & ~both).sum())
    assert result.differing.tolist() == np.flatnonzero(both & (mine != yours)).tolist()
    if result.n == 0:
        assert math.isnan(result.agreement)
        assert math.isnan(result.kappa)
    elif len({*mine[both], *yours[both]}) > 1:
        assert result.agreement == pytest.approx((mine == yours)[both].mean())
        assert result.kappa == pytest.approx(cohen_kappa_score(mine[both], yours[both]))
    else:
        assert (result.agreement, math.isnan(result.kappa)) == (1.0, True)


def test_classes_are_compared_by_name_and_tiles_by_id(tmp_path: Path) -> None:
    a = annotated(tmp_path, [0, 1, 2, -1, 0], ("a", "b", "c"))
    b = annotated(tmp_path, [1, 0, 2, 2, -1], ("b", "a", "x"))
    result = compare_annotators(a, b)
    assert (result.n, result.only_a, result.only_b) == (3, 1, 1)
    assert (result.classes, result.differing.tolist()) == (("a", "b", "c", "x"), [2])
    assert result.confusion[2, 3] == 1
    region = annotated(tmp_path, a.labels[[2, 0]], ("a", "b", "c"), grid=b.grid.take([2, 0]))
    assert compare_annotators(region, b).n == 2
    assert compare_annotators(region, b).differing.tolist() == [0]
    with pytest.raises(ParamsError, match="class 'x' is in one annotation only"):
        merge_annotations(a, b)


def test_merging_settles_nothing_by_itself(tmp_path: Path) -> None:
    a = annotated(tmp_path, [0, 1, -1, -2, 2, -3, -1, -2])
    b = annotated(tmp_path, [0, 2, 1, 1, -1, 0, -1, -3])
    labels, conflicts = merge_annotations(a, b)
    assert labels.tolist() == [0, CONFLICT, 1, UNSURE, 2, CONFLICT, UNLABELLED, CONFLICT]
    assert conflicts == ((1, (1, 2)),)
    assert labels.dtype == np.int16
    a.label(np.arange(8), labels)


def test_other_images_and_grids_cannot_be_compared(tmp_path: Path) -> None:
    a = annotated(tmp_path, [0, 1])
    for call in (compare_annotators, merge_annotations):
        with pytest.raises(ImageError, match=r"x\.png and y\.png"):
            call(a, annotated(tmp_path, [0, 1], image="y"))
        with pytest.raises(GridError, match="different grids"):
            call(a, annotated(tmp_path, [0, 1, 2]))
