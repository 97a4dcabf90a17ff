"""Plain ``.keras`` files: converted once, in a child process, and stored in the user's cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import platformdirs

from napari_cellclass.core.common.errors import ModelError, ParamsError
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import SUFFIX as BUNDLE_SUFFIX
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle
from napari_cellclass.engine.inference.tensorflow_client import run_child
from napari_cellclass.engine.networks.config_check import SUFFIX, KerasFileInfo, inspect_keras_file

__all__ = ["KerasDetailsError", "KerasFileInfo", "convert_keras", "inspect_keras_file", "open_model"]

# Increase it when convert.py changes what it writes.
_CONVERSION = 1


class KerasDetailsError(ModelError):
    """A ``.keras`` file lacks its class names or its grey-value range.

    Attributes
    ----------
    info
        The details that the file does contain, for a dialog that asks for the rest.
    """

    def __init__(self, message: str, info: KerasFileInfo) -> None:
        super().__init__(message)
        self.info = info


def open_model(
    path: Path,
    classes: Sequence[str] | None = None,
    rescale: float | None = None,
    tile_px: int | tuple[int, int] | None = None,
) -> ModelBundle:
    """Open a ``.cellclass`` model, or convert a ``.keras`` file and open the result.

    Parameters
    ----------
    path
        The file.
    classes
        Class names in the order of a ``.keras`` file's outputs.
    rescale
        Grey value that a ``.keras`` file expects as 1; not needed where the network rescales grey values itself.
    tile_px
        Side or (height, width) of the tiles in px, for a ``.keras`` file that takes any size.

    Raises
    ------
    KerasDetailsError
        A ``.keras`` file, and ``classes`` or ``rescale`` is missing.
    ModelError
        The file is missing, damaged, refused, or not a model.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in {SUFFIX, ".h5", ".hdf5"}:
        if suffix != BUNDLE_SUFFIX and path.exists():
            raise ModelError(f"{path} is not a model: its name ends in {suffix!r}; give a .cellclass or .keras file")
        return open_bundle(path)
    info = inspect_keras_file(path)
    if rescale is None and info.has_rescaling:
        rescale = 1.0
    needed = ["--classes with its class names in the order of its outputs"] if classes is None else []
    if rescale is None:
        needed.append("--rescale with the grey value that it expects as 1, e.g. 255")
    if classes is None or rescale is None:
        count = "" if info.classes is None else f" for its {info.classes} classes"
        raise KerasDetailsError(f"{path} lacks details{count}; give {' and '.join(needed)}", info)
    return convert_keras(path, classes, rescale, tile_px)


def convert_keras(
    path: Path, classes: Sequence[str], rescale: float, tile_px: int | tuple[int, int] | None = None
) -> ModelBundle:
    """Convert a ``.keras`` file to a bundle, or open the bundle of an earlier conversion.

    Parameters
    ----------
    path, classes, rescale, tile_px
        See :func:`open_model`.

    Raises
    ------
    ModelError
        The file is refused, or does not fit ``classes`` or ``tile_px``.
    ParamsError
        ``rescale`` is not positive, or a class name is invalid.
    EngineError
        The conversion failed.
    OutputError
        The cache cannot be written.
    """
    path, names = Path(path), tuple(classes)
    if not 0 < rescale < float("inf"):
        raise ParamsError(f"--rescale {rescale} is not possible; give the grey value that the model expects as 1")
    info = inspect_keras_file(path)
    info.check_classes(names)
    ClassScheme(names)
    tile = _tile(info, (tile_px, tile_px) if isinstance(tile_px, int) else tile_px)
    options = {"classes": names, "rescale": float(rescale), "tile_px": tile}
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    converted = _cached_path(path, digest, options)
    if converted.is_file():
        try:
            return open_bundle(converted)
        except ModelError:
            converted.unlink(missing_ok=True)  # damaged, or of another version: convert again
    job = {**options, "path": str(path.absolute()), "sha256": digest, "out": str(converted)}
    run_child("convert", {**job, "activation": info.activation, "scales_itself": info.has_rescaling})
    return open_bundle(converted)


def _tile(info: KerasFileInfo, tile_px: tuple[int, int] | None) -> tuple[int, int]:
    if tile_px is None:
        height, width, _ = info.input_shape
        if height is None or width is None:
            raise ModelError(
                f"{info.path} takes tiles of any size; choose one with --tile-px, or save it with a fixed input, e.g. "
                f"keras.Input((128, 128, {info.input_shape[2]}))"
            )
        return height, width
    if min(tile_px) < 1:
        raise ParamsError(f"a tile of {tile_px[1]} x {tile_px[0]} px is not possible; use at least 1 px")
    return tile_px


def _cached_path(path: Path, digest: str, options: dict[str, object]) -> Path:
    """Return the path of a converted file in the cache, which depends on the options and library versions."""
    key = json.dumps([digest, options, _CONVERSION, version("keras"), version("openvino")], sort_keys=True)
    folder = Path(platformdirs.user_cache_dir("napari-cellclass", appauthor=False)) / "models"
    return folder / f"{path.stem[:60]}-{hashlib.sha256(key.encode()).hexdigest()[:24]}{BUNDLE_SUFFIX}"
