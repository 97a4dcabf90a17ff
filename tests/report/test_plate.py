from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_cellclass.core.plates.field_summary import FieldSummary
from napari_cellclass.core.plates.tables import FieldRow, WellList, field_table, well_table
from napari_cellclass.report.plate import plate_colours, plate_figure, save_plate

CLASSES = ("a", "b", "c")


def wells_of(*names: str, tiles: int = 10):
    rows = [
        FieldRow(f"{name}.tif", name, "done", FieldSummary(tiles, {"a": i, "b": tiles - i}, 0, 0.9))
        for i, name in enumerate(names)
    ]
    rows.append(FieldRow("B02.tif", "B02", "failed"))
    return well_table(field_table(rows, CLASSES, WellList()), CLASSES)


@pytest.mark.parametrize(("names", "plate"), [(("A01", "H12"), (8, 12)), (("A01", "H13"), (16, 24))])
def test_each_class_has_a_plate_with_its_part_where_the_wells_lie(names: tuple[str, str], plate: tuple) -> None:
    figure = plate_figure(wells_of(*names))
    panels = [axes for axes in figure.axes if axes.images and axes.get_title()]
    assert [axes.get_title() for axes in panels] == list(CLASSES)
    parts = [np.ma.filled(axes.images[-1].get_array(), np.nan) for axes in panels]
    assert parts[0].shape == plate
    place = ord(names[1][0]) - 65, int(names[1][1:]) - 1
    assert [part[place] for part in parts] == [0.1, 0.9, 0.0]
    there = np.ma.filled(panels[0].images[0].get_array(), np.nan)
    assert there[1, 1] == 1, "a well without any field that is done is grey, not empty"
    assert np.isnan(parts[0][1, 1])
    assert np.isfinite(there).sum() == 3


def test_the_picture_goes_where_there_is_no_well(tmp_path: Path) -> None:
    wells = wells_of("A01")
    assert save_plate(wells, tmp_path / "plate.png")
    assert (tmp_path / "plate.png").stat().st_size > 1000
    assert not save_plate(wells[:0], tmp_path / "plate.png")
    assert not list(tmp_path.iterdir())


def test_the_colours_of_the_window_are_those_of_the_figure() -> None:
    figure = plate_figure(wells_of("A01"))
    image = figure.axes[0].images[-1]
    assert (np.round(255 * np.array(image.cmap(image.norm(1.0))[:3])) == plate_colours()[255]).all()
