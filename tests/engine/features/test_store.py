from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.core.common.limits import limit_variable
from napari_cellclass.core.models.feature_spec import FeatureSpec
from napari_cellclass.core.tiles.preprocess import PreprocessSpec
from napari_cellclass.engine.features import store as module
from napari_cellclass.engine.features.store import FeatureStore

SPEC = FeatureSpec(
    preprocess=PreprocessSpec(channels=1, input_px=(8, 8)), backbone=None, texture_version=1, columns=(0, 5)
)


def boxes(count: int, first: int = 0) -> NDArray[np.int64]:
    return np.array([(0, 8 * i, 8, 8 * i + 8) for i in range(first, first + count)])


def values(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)


def keep(folder: Path, image: str = "a", count: int = 20, first: int = 0) -> NDArray[np.float32]:
    features = values(count, first)
    with FeatureStore(image, SPEC, folder) as store:
        store.put(boxes(count, first), features)
        assert store.problem is None
    return features


def test_what_was_kept_is_found_again_to_the_last_bit(tmp_path: Path) -> None:
    features = keep(tmp_path)
    features[3] = np.nan
    with FeatureStore("a", SPEC, tmp_path) as store:
        store.put(boxes(1, 3), features[[3]])
        assert store.get(boxes(1, 3))[0].all()  # before it is on disk
    order = np.array([19, 3, 0, 3])
    found, again = FeatureStore("a", SPEC, tmp_path).get(boxes(25)[[*order, 22]])
    assert found.tolist() == [True] * 4 + [False]
    np.testing.assert_array_equal(again[:4], features[order])


def test_other_images_tiles_and_features_are_not_mixed_up(tmp_path: Path) -> None:
    keep(tmp_path)
    other = SPEC.model_copy(update={"preprocess": PreprocessSpec(channels=1, input_px=(8, 8), high=9)})
    assert len(FeatureStore("b", SPEC, tmp_path)) == 0
    assert len(FeatureStore("a", other, tmp_path)) == 0
    assert not FeatureStore("a", SPEC, tmp_path).get(boxes(20) + np.array([0, 1, 0, 1]))[0].any()


def test_many_small_files_become_one(tmp_path: Path) -> None:
    features = [keep(tmp_path, count=1, first=i) for i in range(70)]
    assert len(FeatureStore("a", SPEC, tmp_path)) == 70
    assert len(list(tmp_path.rglob("*.features"))) < 10
    found, again = FeatureStore("a", SPEC, tmp_path).get(boxes(70))
    assert found.all()
    np.testing.assert_array_equal(again, np.concatenate(features))


@pytest.mark.parametrize("damage", ["shorter", "longer", "empty", "features", "boxes", "counts"])
def test_damaged_files_are_as_if_they_were_not_there(damage: str, tmp_path: Path) -> None:
    features = keep(tmp_path, count=1)
    (path,) = tmp_path.rglob("*.features")
    content = bytearray(path.read_bytes())
    position = {"features": -1, "boxes": 17, "counts": 9}.get(damage)
    if position is not None:
        content[position] ^= 1
    cut = {"shorter": content[:-1], "longer": content + b"x", "empty": b""}.get(damage, content)
    path.write_bytes(cut)
    store = FeatureStore("a", SPEC, tmp_path)
    every = boxes(1) if damage != "boxes" else np.concatenate([boxes(1), boxes(1) ^ [1 << 8, 0, 0, 0]])
    assert not store.get(every)[0].any()
    store.put(boxes(1), features)
    store.flush()
    assert FeatureStore("a", SPEC, tmp_path).get(boxes(1))[0].all()


def test_a_killed_process_leaves_whole_files_only(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from tests.engine.features.test_store import *\n"
        "store = FeatureStore('a', SPEC, pathlib.Path(sys.argv[1]))\n"
        "store.put(boxes(300), values(300))\n"
        "pathlib.Path.replace = lambda *_: os._exit(9)\n"
        "store.put(boxes(300, 300), values(300))\n"
    )
    root = Path(__file__).parents[3]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    assert subprocess.run([sys.executable, "-c", code, tmp_path], env=env, check=False).returncode == 9
    assert len(list(tmp_path.rglob(".tmp-*"))) == 1
    store = FeatureStore("a", SPEC, tmp_path)
    assert len(store) == 300
    found, again = store.get(boxes(600))
    assert found.sum() == 300
    np.testing.assert_array_equal(again[:300], values(300))


def test_two_stores_of_one_image_write_side_by_side(tmp_path: Path) -> None:
    one, two = FeatureStore("a", SPEC, tmp_path), FeatureStore("a", SPEC, tmp_path)
    for i in range(40):
        for store, first in ((one, 0), (two, 20)):
            store.put(boxes(40, first)[[i]], values(40)[[i]])
            store.flush()
    three, four = FeatureStore("a", SPEC, tmp_path), FeatureStore("a", SPEC, tmp_path)  # the first joins the files
    for store in (one, two, three, four):
        found, _ = store.get(boxes(60))
        assert found.all() or store in (one, two)
    with one:
        one.put(boxes(1, 99), values(1))
    assert FeatureStore("a", SPEC, tmp_path).get(boxes(1, 99))[0].all()


def test_features_used_longest_ago_are_deleted_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, image in ((30, "a"), (20, "b"), (10, "c")):
        keep(tmp_path, image, 100)
        (folder,) = tmp_path.glob(f"{image}-*")
        abandoned = folder / ".tmp-x.features"
        abandoned.write_bytes(bytes(9000))
        os.utime(abandoned, (1e9, 1e9))
        os.utime(folder, (1e9 - age, 1e9 - age))
    assert len(FeatureStore("a", SPEC, tmp_path)) == 100  # used now
    monkeypatch.setenv(limit_variable("feature_store_bytes"), "15000")
    keep(tmp_path, "d", 100)
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["a", "d"]
    assert not list(tmp_path.rglob(".tmp-*"))


def test_one_image_cannot_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limit_variable("feature_store_bytes"), "1000")
    with FeatureStore("a", SPEC, tmp_path) as store:
        store.put(boxes(300), values(300))
        store.put(boxes(300, 300), values(300))
    assert store.problem is not None
    assert "more than 1,000 bytes" in store.problem
    assert len(FeatureStore("a", SPEC, tmp_path)) == 300


def test_where_nothing_can_be_written_it_goes_on_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with FeatureStore("a", SPEC, tmp_path / "file" / "features") as store:
        store.put(boxes(300), values(300))
        store.put(boxes(300), values(300))
    assert store.problem is not None
    assert store.problem.startswith("features are not kept for the next time: ")
    assert "\n" not in store.problem


def test_the_folder_is_the_users_alone(tmp_path: Path) -> None:
    keep(tmp_path / "cache" / "features")
    if sys.platform != "win32":
        assert (tmp_path / "cache" / "features").stat().st_mode & 0o077 == 0
    assert module.store_folder().name == "features"
