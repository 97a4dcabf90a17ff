"""What a network that learns from a teacher is shown, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_cellclass.cli.info import describe
from napari_cellclass.core.common.errors import DatasetError, ModelError
from napari_cellclass.core.common.task import NO_TASK
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, TileDataset
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle
from napari_cellclass.core.models.teacher_record import TeacherRecord
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.tiles.preprocess import PreprocessSpec
from napari_cellclass.engine.training import distillation, unlabelled
from napari_cellclass.engine.training.distillation import TaughtRun, open_teacher
from napari_cellclass.engine.training.unlabelled import read_unlabelled

SPEC = PreprocessSpec(channels=1, input_px=(32, 32))


def images() -> dict[str, np.ndarray]:
    """Images of 64 px whose pixels are all different, so that a tile tells where it was cut."""
    names = ("a_0", "a_1", "b_0", "b_1", "more")
    counts = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64, 1)
    return {name: counts + 5000 * i for i, name in enumerate(names)}


def labelled(pixels: dict[str, np.ndarray], split: dict[str, str]) -> TileDataset:
    """The left upper tile of each image but the last one."""
    names = list(pixels)[:4]
    return TileDataset(
        tuple(map(Path, names)), tuple(SourceImage(pixels[name]).image_id for name in names),
        np.arange(4, dtype=np.int32), np.array([[0, 0, 32, 32]] * 4, np.int32), np.array([0, 0, 1, 1], np.int16),
        np.array(names, object), np.array([split[name] for name in names], object), ClassScheme(("a", "b")), 1,
        np.dtype("uint16"), read=lambda path: SourceImage(pixels[path.name], name=path.name),
    )  # fmt: skip


ALL_TRAINED = dict.fromkeys(("a_0", "a_1", "b_0", "b_1"), TRAIN)


def params(**more: Any) -> TrainParams:
    return TrainParams(data=Path("data"), out=Path("m.cellclass"), teacher=Path("t.cellclass"), **more)


def written(folder: Path, pixels: np.ndarray, name: str = "more") -> Path:
    np.save(folder / f"{name}.npy", pixels)
    return folder / f"{name}.npy"


def origins(tiles: np.ndarray) -> set[tuple[int, int, int]]:
    """Give image, top and left of each tile."""
    first = tiles[:, 0, 0, 0].astype(int)
    return {(int(v) // 5000, int(v) % 5000 // 64, int(v) % 5000 % 64) for v in first}


def test_all_tiles_of_the_labelled_images_and_of_those_given_are_learned_from_half_overlapping(
    tmp_path: Path,
) -> None:
    data = labelled(images(), ALL_TRAINED)
    found = read_unlabelled(data, params(unlabelled=[written(tmp_path, images()["more"])]), SPEC, NO_TASK)
    grid = {(y, x) for y in (0, 16, 32) for x in (0, 16, 32)}
    assert origins(found.tiles) == {(i, y, x) for i in range(5) for y, x in grid}
    assert (len(found.tiles), found.images) == (45, 5)


def test_an_image_that_is_held_out_is_not_learned_from_also_under_another_name(tmp_path: Path) -> None:
    data = labelled(images(), ALL_TRAINED | {"a_1": VALIDATION})
    found = read_unlabelled(data, params(unlabelled=[written(tmp_path, images()["a_1"])]), SPEC, NO_TASK)
    assert {image for image, _, _ in origins(found.tiles)} == {0, 2, 3}


def test_what_overlaps_a_held_out_tile_of_a_trained_image_is_not_learned_from() -> None:
    data = labelled(images(), ALL_TRAINED)
    # A second tile of the first image is held out.
    data = replace(
        data, image=np.append(data.image, 0).astype(np.int32), labels=np.append(data.labels, 0).astype(np.int16),
        boxes=np.concatenate([data.boxes, [[32, 32, 64, 64]]]).astype(np.int32),
        groups=np.append(data.groups, "held"), split=np.append(data.split, VALIDATION),
    )  # fmt: skip
    tops = {(y, x) for image, y, x in origins(read_unlabelled(data, params(), SPEC, NO_TASK).tiles) if image == 0}
    assert tops == {(0, 0), (0, 16), (16, 0), (0, 32), (32, 0)}


def test_too_many_tiles_are_thinned_out_over_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlabelled, "MOST_TILES", 8)
    found = read_unlabelled(labelled(images(), ALL_TRAINED), params(), SPEC, NO_TASK)
    assert len(found.tiles) == 8
    assert {image for image, _, _ in origins(found.tiles)} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [(np.zeros((64, 64, 2), np.uint16), "more.npy has 2 channels, but the labelled tiles have 1"),
     (np.zeros((64, 64, 1), np.uint8), "more.npy holds uint8 pixels, but the labelled tiles uint16")],
)  # fmt: skip
def test_an_image_of_another_kind_is_refused(pixels: np.ndarray, reason: str, tmp_path: Path) -> None:
    asked = params(unlabelled=[written(tmp_path, pixels)])
    with pytest.raises(DatasetError, match=reason):
        read_unlabelled(labelled(images(), ALL_TRAINED), asked, SPEC, NO_TASK)


def test_the_teacher_is_asked_about_each_tile_once_and_as_it_is_whatever_view_the_student_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiles = np.linspace(0, 0.9, 10, dtype=np.float32)[:, None, None, None] * np.ones((1, 8, 8, 1), np.float32)
    asked: list[float] = []

    def predict(x: np.ndarray) -> np.ndarray:
        grey = x.mean(axis=(1, 2, 3))
        asked.extend(grey.tolist())
        return np.stack([grey, 1 - grey], axis=1)

    run: Any = object.__new__(TaughtRun)
    pixels = SimpleNamespace(tiles=tiles, batch=lambda rows: tiles[rows], tile_indices=np.arange(4))
    run.teacher, run.pixels = SimpleNamespace(pixels=pixels, predict=predict), pixels
    run.params, run.task, run.data = params(class_weights=False, batch_size=3), NO_TASK, labelled(images(), ALL_TRAINED)
    run.train = np.array([0, 2])
    run._teacher_prob = run._predict_by_teacher()
    run._balance = run._class_weights()
    monkeypatch.setattr(distillation, "augmented_batch", lambda pixels, rows, *_: tiles[rows] + 5)
    for _ in range(2):
        shown = list(run._batches(np.random.default_rng(0)))
        for x, prob, weights in shown:
            np.testing.assert_allclose(prob[:, 0], x.mean(axis=(1, 2, 3)) - 5, atol=1e-6)
            np.testing.assert_allclose(weights, 1, atol=1e-6)
        assert sum(len(x) for x, _, _ in shown) == 8
    np.testing.assert_allclose(asked, tiles[[0, 2, 4, 5, 6, 7, 8, 9], 0, 0, 0], atol=1e-6)


@pytest.mark.training
def test_a_teacher_of_other_classes_or_tiles_is_refused(good: ModelBundle) -> None:
    data = labelled(images(), ALL_TRAINED)
    asked = params().model_copy(update={"teacher": good.path})
    with pytest.raises(ModelError, match="has the classes plain, spots, but the tiles have a, b"):
        open_teacher(asked, data)
    data = replace(data, scheme=ClassScheme(("plain", "spots")))
    assert open_teacher(asked, data).model_id == good.model_id
    with pytest.raises(ModelError, match="was trained on tiles of 32 x 32 px, but these have 16 x 32 px"):
        open_teacher(asked, replace(data, boxes=np.array([[0, 0, 32, 16]] * 4, np.int32)))
    with pytest.raises(ModelError, match="takes 1 channel, but the tiles have 3"):
        open_teacher(asked, replace(data, channels=3))


@pytest.mark.training
def test_a_student_learns_what_its_teacher_says_and_not_the_labels(job_folder: Callable[[str], Path]) -> None:
    # All labels that it was trained on were wrong, those of the held-out tiles right.
    folder = job_folder("pretrained_job.py")
    teacher, bundle = (open_bundle(folder / name / "model.cellclass") for name in ("good", "taught"))
    record = TeacherRecord.of(bundle.manifest.training)
    assert record is not None
    assert record.agreement > 0.9
    assert record.student.value > 0.9
    assert (record.model_id, record.network, record.seen) == (teacher.model_id, "pretrained", "left out")
    assert (record.images, record.unlabelled) == (4, 4 * 49)
    lines = [line for line in describe(bundle).splitlines() if line.startswith("training  taught:")]
    assert lines == [f"training  taught: {record.brief()}"]
    assert bundle.preprocess == teacher.preprocess.model_copy(update={"input_px": (32, 32)})
