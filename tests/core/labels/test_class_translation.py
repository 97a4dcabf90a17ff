"""Labels with classes of their own mean the same after they were taken over."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.class_translation import translate_labels
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.tiles.grid import TileGrid


def test_labels_keep_the_names_of_their_classes_and_missing_classes_come_in_their_colours(tmp_path: Path) -> None:
    grid = TileGrid.regular((8, 8), 4)
    annotation = Annotation(ImageKey("i", "field"), grid, ClassScheme(("spots", "diffuse")), Journal(tmp_path))
    names, colours = ("diffuse", "debris", "spots"), {"debris": "#123456"}
    found = translate_labels(annotation, np.array([0, 1, 2, -1, -2]), names, colours)
    assert annotation.scheme.names == ("spots", "diffuse", "debris")
    assert annotation.scheme.colours[2] == "#123456"
    assert found.tolist() == [1, 2, 0, -1, -2]
