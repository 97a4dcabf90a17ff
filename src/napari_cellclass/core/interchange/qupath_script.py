"""The script that classifies tiles in QuPath with an exported model, and the text that goes with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from napari_cellclass.core.models.bundle import ModelBundle

_TEMPLATE = "qupath_classify.groovy"


def qupath_script(bundle: ModelBundle, model_name: str) -> str:
    """Write the script for QuPath.

    Parameters
    ----------
    bundle
        The model: its classes, tiles and edge rule are constants at the top of the script.
    model_name
        Name of the exported ``.onnx`` file.

    Returns
    -------
    str
        Groovy, for QuPath 0.5 or newer; it needs nothing beside what QuPath has.
    """
    template = (files("napari_cellclass.core.interchange") / _TEMPLATE).read_text(encoding="utf-8")
    constants = {name: _groovy(value) for name, value in script_constants(bundle, model_name).items()}
    return re.sub(r"@([A-Z_]+)@", lambda match: constants[match[1]], template)


def script_constants(bundle: ModelBundle, model_name: str) -> Mapping[str, Any]:
    """Return the constants of a model's script by name."""
    manifest = bundle.manifest
    height, width = manifest.tile_px
    # Rounded here, as TileGrid.regular does: Groovy rounds a half otherwise.
    step_y, step_x = (max(1, round(side * (1 - manifest.overlap))) for side in (height, width))
    return {
        "MODEL": model_name,
        "MODEL_ID": bundle.model_id,
        "CLASSES": list(bundle.scheme.names),
        "CHANNELS": bundle.preprocess.channels,
        "TILE_HEIGHT": height,
        "TILE_WIDTH": width,
        "STEP_Y": step_y,
        "STEP_X": step_x,
        "EDGE": manifest.edge,
        "PIXEL_SIZE_UM": None if manifest.pixel_size_um is None else list(manifest.pixel_size_um),
        "PERCENTILES": None if bundle.preprocess.percentiles is None else list(bundle.preprocess.percentiles),
    }


def _groovy(value: Any) -> str:
    """Write a value as Groovy does; a text in single quotes, where nothing is replaced."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ", ".join(map(_groovy, value)) + "]"
    if isinstance(value, str):
        return "'" + "".join(map(_letter, value)) + "'"
    return repr(value)


def _letter(letter: str) -> str:
    if letter in "'\\":
        return "\\" + letter
    if letter.isprintable():
        return letter
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def qupath_readme(bundle: ModelBundle, model_name: str) -> str:
    """Write the ten lines that go with the script."""
    manifest = bundle.manifest
    height, width = manifest.tile_px
    size = "unknown" if manifest.pixel_size_um is None else f"{manifest.pixel_size_um[0]:g} um"
    script = re.sub(r"\.onnx$", ".groovy", model_name, flags=re.IGNORECASE)
    channels = bundle.preprocess.channels
    lines = [
        f"{model_name} classifies tiles of {width} x {height} px, {channels} channel(s), pixel size {size}.",
        f"Classes, in the order of its probabilities: {', '.join(bundle.scheme.names)}.",
        f"In QuPath 0.5 or newer, copy {model_name} into the folder of your project and open the image.",
        f"Select annotations to classify the tiles in them, or nothing for the whole image; drag {script} onto the",
        "window and press Run. Each tile becomes a tile detection with its class and, as measurements, the probability",
        "of every class. Run again, the script replaces the tiles of this model and touches nothing else.",
        "The image needs the channels that the model was trained on, in their order, and about its pixel size.",
        "Tested with this file: its probabilities for the model's golden tiles, in ONNX Runtime and in OpenCV.",
        "Tested with such scripts: tiles, edges, annotations, classes, with stand-ins for QuPath's classes. They have",
        "not been run in QuPath itself: please compare a few tiles with the map in napari before you rely on it.",
    ]
    return "\n".join(lines) + "\n"
