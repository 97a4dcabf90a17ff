from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.models.bundle import Manifest, open_bundle, write_bundle
from napari_cellclass.core.tiles.preprocess import PreprocessSpec


def manifest() -> Manifest:
    return Manifest(
        program="test", created="2026-01-01T00:00:00Z", network="deep-50", parameters=1, tile_px=(8, 8),
        classes=[{"name": "a", "colour": "#000000", "key": "1"}, {"name": "b", "colour": "#FFFFFF", "key": "2"}],
        preprocess=PreprocessSpec(channels=1, input_px=(8, 8)),
    )  # fmt: skip


def members() -> dict[str, bytes]:
    golden = io.BytesIO()
    np.savez(golden, tiles=np.zeros((1, 8, 8, 1), np.uint8), prob=np.array([[0.5, 0.5]], np.float32))
    return {"model.keras": b"k", "model.xml": b"x", "model.bin": b"b" * 100, "golden.npz": golden.getvalue()}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "m.cellclass", manifest(), members()).path


def rewrite(path: Path, **changes: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content |= {name.replace("__", "/"): value for name, value in changes.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)


def test_what_was_written_is_read_back(model: Path) -> None:
    bundle = open_bundle(model)
    assert bundle.scheme.names == ("a", "b")
    assert bundle.member("model.bin") == b"b" * 100
    assert bundle.golden[1].tolist() == [[0.5, 0.5]]
    assert bundle.table("history.csv").empty


def test_a_changed_member_is_refused(model: Path) -> None:
    rewrite(model, **{"model.bin": b"c" * 100})
    with pytest.raises(ModelError, match=r"model\.bin has changed since it was written"):
        open_bundle(model).member("model.bin")


@pytest.mark.parametrize("name", ["../evil.txt", "code.py", "model.pkl"])
def test_an_unknown_member_is_refused(model: Path, name: str) -> None:
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(ModelError, match="is refused"):
        open_bundle(model)


def test_a_pickle_with_our_name_is_refused_and_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "run",))

    path = tmp_path / "m.cellclass"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError, match=r"is not a \.cellclass model"):
        open_bundle(path)
    assert not (tmp_path / "run").exists()


def test_a_missing_or_truncated_file_is_an_error(model: Path) -> None:
    with pytest.raises(ModelError, match="there is no model"):
        open_bundle(model.with_name("no.cellclass"))
    model.write_bytes(model.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"is not a \.cellclass model"):
        open_bundle(model)


def test_a_manifest_from_the_future_is_an_error(model: Path) -> None:
    rewrite(model, **{"manifest.json": manifest().model_dump_json().replace('"format":1', '"format":2').encode()})
    with pytest.raises(ModelError, match="does not understand"):
        open_bundle(model)


def test_a_member_that_claims_too_much_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_CELLCLASS_MAX_MODEL_BYTES", "50")
    with pytest.raises(ModelError, match="claims 100 bytes, more than 50"):
        open_bundle(model).member("model.bin")


def int8_members() -> dict[str, bytes]:
    golden = io.BytesIO()
    prob, prob_int8 = np.array([[[0.5, 0.5]], [[0.6, 0.4]]], np.float32)
    np.savez(golden, tiles=np.zeros((1, 8, 8, 1), np.uint8), prob=prob, prob_int8=prob_int8)
    return members() | {"model.int8.xml": b"x", "model.int8.bin": b"i" * 100, "golden.npz": golden.getvalue()}


def test_an_int8_network_is_held_to_the_limits_and_hashes_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bundle(tmp_path / "m.cellclass", manifest(), int8_members()).path
    bundle = open_bundle(path)
    assert bundle.has_int8
    np.testing.assert_allclose(bundle.golden_int8, [[0.6, 0.4]])
    assert bundle.model_id != write_bundle(tmp_path / "o.cellclass", manifest(), members()).model_id
    monkeypatch.setenv("NAPARI_CELLCLASS_MAX_MODEL_BYTES", "50")
    with pytest.raises(ModelError, match=r"model\.int8\.bin claims 100 bytes, more than 50"):
        bundle.member("model.int8.bin")
    monkeypatch.delenv("NAPARI_CELLCLASS_MAX_MODEL_BYTES")
    rewrite(path, **{"model.int8.bin": b"j" * 100})
    with pytest.raises(ModelError, match=r"model\.int8\.bin has changed since it was written"):
        open_bundle(path).member("model.int8.bin")


def test_half_an_int8_network_is_no_complete_model(tmp_path: Path) -> None:
    half = {name: content for name, content in int8_members().items() if name != "model.int8.bin"}
    path = write_bundle(tmp_path / "m.cellclass", manifest(), half).path
    with pytest.raises(ModelError, match=r"not a complete model: model\.int8\.bin is missing"):
        open_bundle(path)


def test_a_model_from_before_int8_opens_and_has_none(model: Path) -> None:
    old = json.loads(manifest().model_dump_json())
    del old["quantised"]
    with zipfile.ZipFile(model) as archive:
        old["files"] = json.loads(archive.read("manifest.json"))["files"]
    rewrite(model, **{"manifest.json": json.dumps(old).encode()})
    bundle = open_bundle(model)
    assert not bundle.has_int8
    assert bundle.manifest.quantised is None
    assert bundle.golden[1].tolist() == [[0.5, 0.5]]


def test_the_id_follows_the_weights(model: Path, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "o.cellclass", manifest(), members() | {"model.bin": b"z"})
    assert open_bundle(model).model_id != other.model_id
    assert open_bundle(model).model_id == open_bundle(model).model_id
