from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from napari_cellclass.core.bundle import Manifest, open_bundle, write_bundle
from napari_cellclass.core.contracts import ModelError
from napari_cellclass.core.preprocess import PreprocessSpec


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


def test_a_missing_or_truncated_file_is_told(model: Path) -> None:
    with pytest.raises(ModelError, match="there is no model"):
        open_bundle(model.with_name("no.cellclass"))
    model.write_bytes(model.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"is not a \.cellclass model"):
        open_bundle(model)


def test_a_manifest_from_the_future_is_told(model: Path) -> None:
    rewrite(model, **{"manifest.json": manifest().model_dump_json().replace('"format":1', '"format":2').encode()})
    with pytest.raises(ModelError, match="does not understand"):
        open_bundle(model)


def test_a_member_that_claims_too_much_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_CELLCLASS_MAX_MODEL_BYTES", "50")
    with pytest.raises(ModelError, match="claims 100 bytes, more than 50"):
        open_bundle(model).member("model.bin")


def test_the_id_follows_the_weights(model: Path, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "o.cellclass", manifest(), members() | {"model.bin": b"z"})
    assert open_bundle(model).model_id != other.model_id
    assert open_bundle(model).model_id == open_bundle(model).model_id
