"""Models from elsewhere: what they say of themselves, and whether this machine has met them."""

from __future__ import annotations

import hashlib
import stat
import sys
from pathlib import Path

import pytest

from napari_cellclass.cli.info import describe
from napari_cellclass.cli.main import main
from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.models.bundle import Manifest, ModelBundle, write_bundle
from napari_cellclass.core.models.known_models import FILE, KnownModels, describe_origin
from napari_cellclass.core.tiles.preprocess import PreprocessSpec


def model(path: Path, **changes: object) -> ModelBundle:
    content = {
        "program": "napari-cellclass 0.9", "created": "2026-03-12T10:00:00Z", "network": "compact", "parameters": 1,
        "tile_px": (8, 8), "preprocess": PreprocessSpec(channels=1, input_px=(8, 8)),
        "classes": [{"name": n, "colour": "#000000", "key": "1"} for n in "ab"],
        "data": {"n_train": 1234, "images": [{"path": "x", "id": "1"}] * 7}, "training": {"data": "/home/ann/plate 3"},
    }  # fmt: skip
    parts = dict.fromkeys(("model.keras", "model.xml", "model.bin", "golden.npz"), b"x")
    return write_bundle(path, Manifest.model_validate(content | changes), parts)


def test_the_origin_of_a_model_holds_date_version_data_and_hash(tmp_path: Path) -> None:
    made = model(tmp_path / "m.cellclass")
    digest = hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert describe_origin(made) == (
        f"trained 2026-03-12 by napari-cellclass 0.9 on 1,234 tiles of 7 images in 'plate 3'; sha256 {digest[:12]}"
    )
    converted = model(tmp_path / "k", network="keras:x", training={"source": "theirs.keras", "sha256": "f" * 64})
    assert describe_origin(converted) == f"converted from theirs.keras by napari-cellclass 0.9; sha256 {'f' * 12}"


@pytest.mark.parametrize("data", [{}, {"images": 3, "n_train": "many"}, {"images": None}])
def test_a_model_with_a_sparse_or_invalid_record_still_has_an_origin(tmp_path: Path, data: dict) -> None:
    made = model(tmp_path / "m.cellclass", data=data, training={"data": 5}, created="yesterday")
    assert describe_origin(made).startswith(
        "trained on an unknown day by napari-cellclass 0.9 on unknown data in '5'; sha256 "
    )


def test_info_shows_the_hash_and_whether_the_model_was_met_before(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    made = model(tmp_path / "m.cellclass")
    assert main(["info", str(made.path)]) == 0
    text = capsys.readouterr().out
    assert hashlib.sha256(made.path.read_bytes()).hexdigest() in text
    assert "never used or trained here before" in text
    KnownModels().remember(made)
    assert main(["info", str(made.path)]) == 0
    assert "; used or trained here before" in capsys.readouterr().out


def test_a_model_is_introduced_once_and_another_file_of_its_name_again(tmp_path: Path) -> None:
    said: list[str] = []
    known = KnownModels(tmp_path / "data")
    made = model(tmp_path / "m.cellclass")
    known.announce_new(made, said.append)
    known.announce_new(ModelBundle(made.path, made.manifest), said.append)
    assert len(said) == 1
    assert "m.cellclass is new on this machine: trained 2026-03-12" in said[0]
    known.announce_new(model(tmp_path / "m.cellclass", parameters=2), said.append)
    assert len(said) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a user's folders apart by other means")
def test_the_list_of_models_is_the_users_alone(tmp_path: Path) -> None:
    known = KnownModels(tmp_path / "data")
    known.remember(model(tmp_path / "m.cellclass"))
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / FILE).stat().st_mode) == 0o600


def test_a_list_that_cannot_be_written_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file is in the way")
    known = KnownModels(tmp_path / "data")
    made = model(tmp_path / "m.cellclass")
    known.remember(made)
    assert not known.knows(made)


def test_no_text_of_a_model_or_a_name_steers_the_terminal(tmp_path: Path) -> None:
    made = model(tmp_path / "m.cellclass", program="\x1b[2Jevil\x07", training={"note": "\x1b]0;evil\x07"})
    assert "\x1b" not in describe(made)
    assert "\\x1b" in describe(made)
    assert "\x1b" not in str(CellClassError("there is no model \x1b[31mred.cellclass"))
