"""A model as a package of bioimage.io: its ONNX file, a description, and golden tiles as test tensors.

The description is of format 0.5, https://github.com/bioimage-io/spec-bioimage-io; it is JSON, which is YAML too.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.models.bundle import ModelBundle

DESCRIPTION = "rdf.yaml"
_FORMAT = "0.5.4"
_MODEL, _TEXT, _TILES, _PROB = "model.onnx", "README.md", "test_tiles.npy", "test_probabilities.npy"


def bioimageio_package(bundle: ModelBundle, name: str, onnx: bytes, opset: int, known: dict[str, str]) -> bytes:
    """Return a package as the bytes of a zip file.

    Parameters
    ----------
    bundle
        The model.
    name
        Its name.
    onnx, opset
        The exported model, from tiles (N, C, h, w) to probabilities (N, K), and its opset.
    known
        What its metadata say, texts by name.
    """
    tiles, prob = bundle.golden
    members = {
        _MODEL: onnx,
        _TEXT: _text(bundle, name).encode(),
        _TILES: _npy(np.ascontiguousarray(tiles.transpose(0, 3, 1, 2), np.float32)),
        _PROB: _npy(np.ascontiguousarray(bundle.calibrated(prob), np.float32)),
    }
    described = _description(bundle, name, members, opset, known)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(DESCRIPTION, json.dumps(described, indent=1, allow_nan=False))
        for file, content in members.items():
            archive.writestr(file, content)
    return stream.getvalue()


def _description(
    bundle: ModelBundle, name: str, members: dict[str, bytes], opset: int, known: dict[str, str]
) -> dict[str, Any]:
    manifest = bundle.manifest
    channels, classes = bundle.preprocess.channels, len(bundle.scheme)

    def file(member: str) -> dict[str, str]:
        return {"source": member, "sha256": hashlib.sha256(members[member]).hexdigest()}

    classes_text, sides = _names(bundle), []
    for i, (axis, side) in enumerate(zip("yx", manifest.tile_px, strict=True)):
        size = {} if manifest.pixel_size_um is None else {"unit": "micrometer", "scale": manifest.pixel_size_um[i]}
        sides.append({"type": "space", "id": axis, "size": side, **size})
    return {
        "type": "model",
        "format_version": _FORMAT,
        "name": f"{_plain(name)} (classifier of tiles)",
        "description": f"Classifies tiles of {manifest.tile_px[1]} x {manifest.tile_px[0]} px: {classes_text}."[:1000],
        "timestamp": manifest.created,
        "documentation": _TEXT,
        "tags": ["classification", "tiles", "napari-cellclass"],
        "inputs": [
            {
                "id": "tiles",
                "description": known["input"],
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": [f"channel{i}" for i in range(channels)]},
                    *sides,
                ],
                "data": {"type": "float32"},
                "test_tensor": file(_TILES),
            }
        ],
        "outputs": [
            {
                "id": "probabilities",
                "description": f"{known['output']}, of {classes_text}",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": [f"class{i}" for i in range(classes)]},
                ],
                "data": {"type": "float32", "range": [0.0, 1.0]},
                "test_tensor": file(_PROB),
            }
        ],
        "weights": {"onnx": {**file(_MODEL), "opset_version": opset}},
        "config": {"napari_cellclass": known},
    }  # fmt: skip


def _names(bundle: ModelBundle) -> str:
    return ", ".join(bundle.scheme.names)


def _plain(name: str) -> str:
    """Return a name with the letters and the length that the format allows."""
    return re.sub(r"[^A-Za-z0-9_+\- ()]", "_", name)[:100]


def _text(bundle: ModelBundle, name: str) -> str:
    rows = "".join(f"- class{i}: {one}\n" for i, one in enumerate(bundle.scheme.names))
    parts = (
        f"# {_plain(name)}",
        f"A classifier of tiles, made with {bundle.manifest.program}. Its outputs are probabilities of",
        rows.rstrip(),
        "## Validation",
        "The test tensors are tiles that the model was trained with, and its probabilities for them; compare"
        " these before you use it in another program.",
        f"Before you publish it, add authors, a licence and a cover picture to `{DESCRIPTION}`.",
    )
    return "\n\n".join(parts) + "\n"


def _npy(array: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
