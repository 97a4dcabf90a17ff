from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests._plates import read_plate_table

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.runs.classify.batch import classify_files, output_stems, parse_channels

names = st.sampled_from(["a.tif", "a.png", "A.tif", "b.tif", "A_a.tif", "x.ome.tif"])
folders = st.sampled_from(["p", "q/A", "r/A", "s"])


@given(st.lists(st.tuples(folders, names), min_size=1, max_size=8, unique=True))
def test_no_two_images_write_the_same_files(pairs: list[tuple[str, str]]) -> None:
    stems = output_stems([Path("/data") / folder / name for folder, name in pairs])
    assert len({stem.casefold() for stem in stems}) == len(stems)


def test_a_name_of_its_own_is_kept() -> None:
    assert output_stems([Path("/d/a.tif"), Path("/e/b.ome.tif")]) == ["a", "b.ome"]
    assert output_stems([Path("/d/a.tif"), Path("/e/a.tif"), Path("/e/c.tif")]) == ["d_a", "e_a", "c"]


def test_channels_are_numbers_from_zero() -> None:
    assert parse_channels(None) == ()
    assert parse_channels("0,2") == (0, 2)
    for text in ("red", "0,,1", "-1"):
        with pytest.raises(ParamsError, match="--channels"):
            parse_channels(text)


def test_a_cancelled_run_keeps_finished_images(tmp_path: Path, ihc_field_file: Path, ihc_model: Path) -> None:
    images = []
    for i in range(3):
        images.append(tmp_path / f"{i}.png")
        shutil.copy(ihc_field_file, images[-1])
    done: list[int] = []
    params = ClassifyParams(images=images, model=ihc_model, out=tmp_path / "out")
    report = classify_files(
        params,
        open_bundle(ihc_model),
        Task(
            lambda update: done.append(update.done) if update.phase == "images" else None,
            lambda: bool(done),
        ),
    )
    assert report.cancelled
    assert len(report.outcomes) == 1
    assert (tmp_path / "out" / "0.tiles.csv").is_file()
    assert not (tmp_path / "out" / "1.tiles.csv").exists()
    assert json.loads((tmp_path / "out" / "report.json").read_text())["cancelled"]
    assert read_plate_table(tmp_path / "out" / "fields.csv")["state"].tolist() == ["done", "open", "open"]
