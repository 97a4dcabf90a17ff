"""The preview of a training: made in memory of annotated fields, and made again only where something has changed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_cellclass.core.common.task import NO_TASK
from napari_cellclass.core.datasets.split import split_by_group
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.params.prepare import CheckParams
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.runs.prepare.checking import check_data
from napari_cellclass.runs.train import annotated_fields
from napari_cellclass.runs.train.annotated_fields import (
    AnnotatedField,
    TrainRequest,
    annotated_dataset,
    write_annotated_fields,
)
from napari_cellclass.runs.train.preview import preview_training

TILE = 16


def field(name: str, seed: int, path: Path | None = None) -> AnnotatedField:
    """A field of 4 x 4 tiles, its left half of one class and its right half of the other."""
    pixels = np.random.default_rng(seed).integers(0, 255, (4 * TILE, 4 * TILE, 1), np.uint8)
    if path is not None:
        Image.fromarray(pixels[..., 0]).save(path)
        source = read_image(path)
    else:
        source = SourceImage(pixels, name)
    rows = [
        (y, x, y + TILE, x + TILE, "left" if x < 2 * TILE else "right", "#FF0000")
        for y in range(0, 4 * TILE, TILE)
        for x in range(0, 4 * TILE, TILE)
    ]
    return AnnotatedField(
        source, name, pd.DataFrame(rows, columns=["y0", "x0", "y1", "x1", "class_name", "colour"]), path
    )


@pytest.fixture
def fields(tmp_path: Path) -> tuple[AnnotatedField, ...]:
    """Five fields: of files, in memory only, under one name, and two of one file."""
    own = field("B02", 0, tmp_path / "B02.png")
    other = replace(field("B02 again", 4), path=own.path)
    return own, field("=C03", 1), field("=C03", 2), field("B04", 3, tmp_path / "B04.png"), other


def request_of(fields: tuple[AnnotatedField, ...], **more: Any) -> TrainRequest:
    return TrainRequest(TrainParams(data=Path("tiles.csv"), out=Path("m.cellclass"), **more), fields)


@pytest.mark.parametrize("group_by", [None, "^=?(.)"])
def test_annotated_fields_in_memory_are_the_data_set_of_the_files_that_a_training_is_given(
    fields: tuple[AnnotatedField, ...], tmp_path: Path, group_by: str | None
) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    table = write_annotated_fields(fields, folder, group_by, NO_TASK)
    written = split_by_group(read_dataset(table, group_by=group_by), 0.25)
    found = split_by_group(annotated_dataset(fields, group_by), 0.25)
    assert found.image_ids == written.image_ids
    assert found.scheme == written.scheme
    for name in ("image", "boxes", "labels", "groups", "split"):
        np.testing.assert_array_equal(getattr(found, name), getattr(written, name), name)
    for (_, a), (_, b) in zip(found.tiles(np.arange(80)), written.tiles(np.arange(80)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_preview_of_annotated_fields_writes_nothing_and_is_made_once(
    fields: tuple[AnnotatedField, ...], monkeypatch: Any
) -> None:
    monkeypatch.setattr(annotated_fields, "scratch_folder", None)
    first = preview_training(request_of(fields))
    assert first.table["train"].sum() == first.table["validation"].sum() == 80
    assert preview_training(replace(request_of(fields)), previous=first) is first
    named = TrainRequest(request_of(fields).params.model_copy(update={"out": Path("n.cellclass")}), fields)
    assert preview_training(named, previous=first) is first, "another name of the model changes nothing"
    fewer = (*fields[:-1], replace(fields[-1], tiles=fields[-1].tiles[:-1]))
    assert preview_training(request_of(fewer), previous=first) is not first
    assert preview_training(request_of(fields, val_fraction=0.5), previous=first) is not first


def test_a_preview_of_folders_is_made_again_when_a_file_has_changed(tmp_path: Path) -> None:
    for k in range(2):
        (tmp_path / "data" / f"class{k}").mkdir(parents=True)
        for i in range(4):
            pixels = np.random.default_rng(10 * k + i).integers(0, 255, (TILE, TILE), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / f"class{k}" / f"{i}.png")
    request = TrainRequest(TrainParams(data=tmp_path / "data", out=tmp_path / "m.cellclass"))
    first = preview_training(request)
    assert preview_training(request, previous=first) is first
    path = tmp_path / "data" / "class0" / "0.png"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    second = preview_training(request, previous=first)
    assert second is not first
    path.with_name("5.png").write_bytes((tmp_path / "data" / "class1" / "0.png").read_bytes())
    assert preview_training(request, previous=second) is not second


def test_a_preview_and_check_of_a_project_are_of_its_labels_and_are_made_again_after_the_next_label(
    tmp_path: Path,
) -> None:
    with Project.create(tmp_path / "p.cellproject", ClassScheme(("a", "b")), TILE) as project:
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 255, (4 * TILE, 4 * TILE), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number}.png")
            field = project.add_field(read_image(tmp_path / f"{number}.png"))
            annotation = project.labels.annotation(field.image, project.grid.lay((4 * TILE, 4 * TILE)))
            annotation.label(np.arange(8), np.arange(8) % 2)
        request = TrainRequest(TrainParams(data=project.path, out=tmp_path / "m.cellclass", network="compact"))
        first = preview_training(request)
        assert first.table[["train", "validation"]].to_numpy().sum() == 32
        assert len(first.groups) == 4
        assert preview_training(request, previous=first) is first
        annotation.label([9], 1)
        second = preview_training(request, previous=first)
        assert second.table[["train", "validation"]].to_numpy().sum() == 33
        report = check_data(CheckParams(data=project.path))
    assert report.trainable
    assert report.data is not None
    assert len(report.data) == 33


def test_what_a_preview_has_resolved_is_not_measured_again(fields: tuple[AnnotatedField, ...]) -> None:
    request = request_of(fields)
    assert request.params.standardise == "auto"
    found = preview_training(request)
    resolved = found.resolved(request)
    assert resolved.params.standardise == found.params.standardise != "auto"
    assert resolved.params.network == found.params.network == "pretrained"
    assert resolved.params.model_copy(update={"standardise": "auto", "network": "auto"}) == request.params


def test_a_preview_of_linear_models_shows_all_tiles_as_trained_on_and_each_group_held_out_in_turn(
    fields: tuple[AnnotatedField, ...],
) -> None:
    found = preview_training(request_of(fields, network="pretrained"))
    assert found.cross_validated
    assert "are trained on; validation is by leave-one-group-out cross-validation" in found.summary()
    assert found.table["train"].tolist() == found.table["validation"].tolist() == [40, 40]
    assert found.table["validation_groups"].tolist() == found.table["train_groups"].tolist()
    assert (found.groups["train"] == found.groups["validation"]).all()
    assert found.tiles.shape[1:] == (128, 128, 1)
    assert not any("right-hand part" in text for text in found.warnings)
    single = preview_training(request_of(fields[:1], network="pretrained"))
    assert any("cross-validation leaves out single tiles instead" in text for text in single.warnings)
