"""A package of bioimage.io holds what its description names."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.interchange.bioimageio import DESCRIPTION, bioimageio_package
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import Manifest, ModelBundle
from napari_cellclass.core.stats.calibration import Calibration

KNOWN = {"input": "float32 (N, channels, height, width)", "output": "float32 (N, classes)", "edge": "drop"}
TILES = np.random.default_rng(0).integers(0, 4000, (3, 8, 10, 2)).astype(np.uint16)
PROB = np.array([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]], np.float32)


class _Bundle(ModelBundle):
    @cached_property
    def _golden(self) -> tuple[NDArray[Any], dict[str, NDArray[np.float32]]]:
        return TILES, {"prob": PROB}


def bundle(**changes: Any) -> ModelBundle:
    known: dict[str, Any] = {
        "program": "test", "created": "2026-01-01T00:00:00+00:00", "tile_px": (8, 10), "network": "compact",
        "preprocess": {"channels": 2, "input_px": (8, 10)}, "classes": ClassScheme(("a <b>", "größe")).to_json(),
        "parameters": 1, "pixel_size_um": (0.5, 0.25),
    }  # fmt: skip
    return _Bundle(Path("m.cellclass"), Manifest.model_validate(known | changes))


def opened(model: ModelBundle) -> tuple[dict[str, Any], dict[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(bioimageio_package(model, "my <model>", b"onnx", 13, KNOWN))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members[DESCRIPTION]), members


def test_every_file_that_is_named_is_there_with_its_hash() -> None:
    described, members = opened(bundle())
    named = [
        described["inputs"][0]["test_tensor"],
        described["outputs"][0]["test_tensor"],
        described["weights"]["onnx"],
    ]
    for file in named:
        assert hashlib.sha256(members[file["source"]]).hexdigest() == file["sha256"]
    assert {file["source"] for file in named} | {DESCRIPTION, described["documentation"]} == members.keys()
    assert members["model.onnx"] == b"onnx"
    assert described["weights"]["onnx"]["opset_version"] == 13


def test_test_tensors_are_golden_tiles_and_calibrated_probabilities() -> None:
    calibration = Calibration(temperature=2.0, scores=(0.1,), n=1, groups=1, ece_before=0.1, ece_after=0.1)
    _, members = opened(bundle(calibration=calibration.model_dump()))
    tiles, prob = (np.load(io.BytesIO(members[f"test_{name}.npy"])) for name in ("tiles", "probabilities"))
    np.testing.assert_array_equal(tiles, TILES.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(prob, calibration.apply(PROB))
    assert tiles.dtype == prob.dtype == np.float32


def test_axes_have_the_sizes_of_tiles_and_their_pixels() -> None:
    described, _ = opened(bundle())
    _, channel, y, x = described["inputs"][0]["axes"]
    assert len(channel["channel_names"]) == 2
    assert [(axis["id"], axis["size"], axis["scale"]) for axis in (y, x)] == [("y", 8, 0.5), ("x", 10, 0.25)]
    described, _ = opened(bundle(pixel_size_um=None))
    assert all("scale" not in axis for axis in described["inputs"][0]["axes"][2:])
    assert described["config"]["napari_cellclass"] == KNOWN


def test_the_name_has_only_letters_that_the_format_allows() -> None:
    described, members = opened(bundle())
    assert described["name"] == "my _model_ (classifier of tiles)"
    assert re.fullmatch(r"[a-zA-Z0-9_+\- ()]{5,128}", described["name"])
    assert "- class0: a <b>\n- class1: größe\n" in members["README.md"].decode()
