from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_cellclass.core.common.errors import ModelError, ParamsError
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.engine.inference import keras_import as keras_file
from napari_cellclass.engine.inference.engines import open_engine
from napari_cellclass.engine.inference.keras_import import (
    KerasDetailsError,
    convert_keras,
    inspect_keras_file,
    open_model,
)

pytestmark = pytest.mark.training


def edited(source: Path, target: Path, old: str, new: str, **more: bytes) -> Path:
    """A copy of a Keras file with another text in its configuration."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as out:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "config.json":
                assert old in content.decode()
                content = content.decode().replace(old, new).encode()
            out.writestr(name, content)
        for name, content in more.items():
            out.writestr(name, content)
    return target


def test_input_outputs_and_layers_are_read_from_a_file_without_keras(keras_files: Path) -> None:
    info = inspect_keras_file(keras_files / "rescaling.keras")
    assert info.input_shape == (24, 32, 2)
    assert info.outputs == info.classes == 3
    assert info.activation == "softmax"
    assert info.has_rescaling
    assert info.layers[0].startswith("input")
    assert "conv" in info.layers
    assert not inspect_keras_file(keras_files / "plain.keras").has_rescaling
    assert inspect_keras_file(keras_files / "logits.keras").activation == "linear"
    sigmoid = inspect_keras_file(keras_files / "sigmoid.keras")
    assert (sigmoid.outputs, sigmoid.classes, sigmoid.activation) == (1, 2, "sigmoid")
    free = inspect_keras_file(keras_files / "anysize.keras")
    assert (free.input_shape, free.outputs, free.activation) == ((None, None, 1), 2, "softmax")
    nested = inspect_keras_file(keras_files / "nested.keras")
    assert (nested.outputs, nested.has_rescaling) == (2, True)
    assert "conv" in nested.layers


def test_a_lambda_layer_is_refused(keras_files: Path) -> None:
    with pytest.raises(ModelError, match="Lambda layer can run any code"):
        open_model(keras_files / "lambda.keras", ["a", "b"], 255)


def test_a_layer_that_is_not_of_keras_is_refused(keras_files: Path) -> None:
    with pytest.raises(ModelError, match=r"Mine, which is not a layer of Keras"):
        open_model(keras_files / "custom.keras", ["a", "b"], 255)


@pytest.mark.parametrize(
    "new",
    ['"module": "os", "class_name": "system"', '"module": "keras.utils", "class_name": "get_file"',
     '"module": "keras.models", "class_name": "load_model"', '"module": "keras", "class_name": "utils.get_file"',
     '"module": "builtins", "class_name": "function"', '"module": null, "class_name": "__lambda__"',
     '"module": "keras.layers", "class_name": "TFSMLayer"'],
)  # fmt: skip
def test_what_could_run_code_is_refused(keras_files: Path, tmp_path: Path, new: str) -> None:
    old = '"module": "keras.layers", "class_name": "GlobalAveragePooling2D"'
    path = edited(keras_files / "plain.keras", tmp_path / "m.keras", old, new)
    with pytest.raises(ModelError, match="is refused"):
        inspect_keras_file(path)


def test_channels_first_is_refused(keras_files: Path, tmp_path: Path) -> None:
    path = edited(keras_files / "plain.keras", tmp_path / "m.keras", "channels_last", "channels_first")
    with pytest.raises(ModelError, match="channels first"):
        inspect_keras_file(path)


def test_an_unexpected_member_is_refused(keras_files: Path, tmp_path: Path) -> None:
    path = edited(keras_files / "plain.keras", tmp_path / "m.keras", "keras", "keras", **{"evil.py": b"1"})
    with pytest.raises(ModelError, match=r"'evil\.py' is unexpected"):
        inspect_keras_file(path)


def test_the_old_format_is_refused_with_advice(keras_files: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed.keras"
    renamed.write_bytes((keras_files / "old.h5").read_bytes())
    for path in (keras_files / "old.h5", renamed):
        with pytest.raises(ModelError, match=r"old HDF5 format.*save it as NAME\.keras"):
            open_model(path, ["a", "b"], 255)


@pytest.mark.parametrize("name", ["m.keras", "m.cellclass"])
def test_a_pickle_by_another_name_is_refused(tmp_path: Path, name: str) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError, match="is not a"):
        open_model(tmp_path / name, ["a", "b"], 255)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["gone.keras", "gone.cellclass", "gone.txt"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=f"there is no model .*{name}"):
        open_model(tmp_path / name)


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"PK")
    with pytest.raises(ModelError, match=r"its name ends in '\.pt'"):
        open_model(tmp_path / "model.pt")


def test_details_that_a_file_lacks_are_requested(keras_files: Path) -> None:
    with pytest.raises(KerasDetailsError, match=r"its 3 classes; give --classes .* and --rescale") as caught:
        open_model(keras_files / "plain.keras")
    assert caught.value.info.input_shape == (24, 32, 2)
    with pytest.raises(KerasDetailsError) as caught:
        open_model(keras_files / "rescaling.keras")
    assert "--rescale" not in str(caught.value)
    with pytest.raises(KerasDetailsError, match="--rescale"):
        open_model(keras_files / "plain.keras", ["a", "b", "c"])


def test_a_wrong_number_of_classes_names_both_numbers(keras_files: Path) -> None:
    with pytest.raises(ModelError, match=r"has 3 classes, but 2 were named \(a, b\)"):
        open_model(keras_files / "plain.keras", ["a", "b"], 255)
    assert "has 3 classes, but 2" in json.loads((keras_files / "results.json").read_text())["plain"]


def test_impossible_details_are_refused(keras_files: Path) -> None:
    with pytest.raises(ParamsError, match="--rescale -1"):
        open_model(keras_files / "plain.keras", ["a", "b", "c"], -1)
    with pytest.raises(ParamsError, match="twice"):
        open_model(keras_files / "plain.keras", ["a", "a", "c"], 255)
    with pytest.raises(ModelError, match=r"any size.*keras\.Input\(\(128, 128, 1\)\)"):
        open_model(keras_files / "anysize.keras", ["a", "b"], 255)


@pytest.mark.usefixtures("forked_children")
def test_a_file_is_converted_once_and_both_engines_agree(
    keras_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path))
    started = []
    run_child = keras_file.run_child
    monkeypatch.setattr(keras_file, "run_child", lambda *a: started.append(a) or run_child(*a))
    first = open_model(keras_files / "rescaling.keras", ["a", "b", "c"])
    second = open_model(keras_files / "rescaling.keras", ["a", "b", "c"])
    assert len(started) == 1
    assert first.path == second.path
    assert first.model_id == second.model_id
    assert first.path.is_relative_to(tmp_path)
    assert first.scheme.names == ("a", "b", "c")
    assert (first.preprocess.low, first.preprocess.high) == (0, 1)
    assert first.manifest.training["added"] == []
    assert first.manifest.tile_px == (24, 32)
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (50, 24, 32, 2), dtype=np.uint8)
    with open_engine(first) as a, open_engine(first, "tensorflow") as b:
        assert np.abs(a.predict(tiles) - b.predict(tiles)).max() <= 1e-4
    first.path.write_bytes(b"damaged")
    monkeypatch.setattr(keras_file, "run_child", lambda *a: started.append(a))
    with pytest.raises(ModelError):  # converted anew, by a child that does nothing here
        open_model(keras_files / "rescaling.keras", ["a", "b", "c"])
    assert len(started) == 2


@pytest.mark.usefixtures("forked_children")
def test_a_failed_conversion_reports_its_reason(keras_files: Path, tmp_path: Path) -> None:
    path = edited(keras_files / "plain.keras", tmp_path / "m.keras", '"filters": 4', '"filters": 5')
    with pytest.raises(ModelError, match="cannot be loaded by Keras") as caught:
        convert_keras(path, ["a", "b", "c"], 255)
    assert "\n" not in str(caught.value)


def test_logits_get_a_softmax(keras_files: Path) -> None:
    bundle = open_bundle(keras_files / "logits.cellclass")
    assert bundle.manifest.training["added"] == ["softmax"]
    prob = bundle.golden[1]
    np.testing.assert_allclose(prob.sum(axis=1), 1, atol=1e-5)
    with open_engine(bundle) as engine:
        assert np.abs(engine.predict(bundle.golden[0]) - prob).max() <= 1e-4


def test_one_sigmoid_becomes_two_classes(keras_files: Path) -> None:
    bundle = open_bundle(keras_files / "sigmoid.cellclass")
    assert bundle.scheme.names == ("n", "o")
    assert bundle.manifest.training["added"] == ["two classes of one sigmoid"]
    with open_engine(bundle) as engine:
        prob = engine.predict(bundle.golden[0])
    np.testing.assert_allclose(prob.sum(axis=1), 1, atol=1e-6)
    assert (prob >= 0).all()


def test_independent_sigmoids_are_refused(keras_files: Path) -> None:
    assert "(sigmoid, multi-label)" in json.loads((keras_files / "results.json").read_text())["independent"]
    assert not (keras_files / "independent.cellclass").exists()


def test_a_free_input_is_fixed_to_the_tile(keras_files: Path) -> None:
    bundle = open_bundle(keras_files / "anysize.cellclass")
    assert bundle.preprocess.input_px == (24, 32)
    with open_engine(bundle) as engine:
        assert engine.predict(np.zeros((3, 24, 32, 1), np.uint8)).shape == (3, 2)


def test_a_model_within_a_model_is_converted(keras_files: Path) -> None:
    with open_engine(open_bundle(keras_files / "nested.cellclass")) as engine:
        assert engine.predict(np.zeros((3, 24, 32, 2), np.uint8)).shape == (3, 2)
