"""NumPy files and arrays, and whatever an installed napari reader plugin opens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images.planes import (
    ArrayPlane,
    choose_plane,
    describe_error,
    guess_axes,
    name_stack_axes,
)
from napari_cellclass.core.images.scenes import Scene, choose_scene, kind_of_name
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.images.units import size_in_um

# Reading with napari's own plugin would import napari, and reading with ours would come back here.
_PLUGINS_NOT_ASKED = {"napari", "napari-cellclass"}


class _NpyPlane(ArrayPlane):
    """A ``.npy`` file, mapped into memory only while it is read."""

    def __init__(self, path: Path, axes: str, drop_alpha: bool) -> None:
        super().__init__(path.name, _load_npy(path), axes, {}, drop_alpha)
        self._array, self._path = None, path

    def _source(self) -> Any:
        return _load_npy(self._path)


def _load_npy(path: Path) -> np.ndarray:
    with np.errstate(over="raise"):  # a header that promises more than there can be
        return np.load(path, mmap_mode="r", allow_pickle=False)


def read_npy(path: Path, *, t: int, z: int) -> SourceImage:
    """Open a ``.npy`` file.

    Axes are guessed, see :func:`~napari_cellclass.core.images.planes.guess_axes`. As napari does, a
    last axis of 3 is assumed to be RGB and 8-bit pixels with a last axis of 4 RGBA, whose alpha is dropped.

    Raises
    ------
    ImageError
        The file is damaged, its axes are ambiguous, or it has no such plane.
    """
    array = _load_npy(path)
    axes = guess_axes(path.name, array.shape)
    last = array.shape[-1] if axes == "YXC" else 0
    rgba = last == 4 and array.dtype == np.uint8
    rgb = rgba or last == 3
    axes = "YXS" if rgb else axes
    choose_plane(path.name, axes, array.shape, t, z)
    return SourceImage(
        data=_NpyPlane(path, axes, rgba), name=path.name, path=path, rgb=rgb,
        source_axes=axes, source_shape=tuple(array.shape),
    )  # fmt: skip


def array_image(
    array: Any,
    *,
    axes: str | None = None,
    name: str = "image",
    pixel_size_um: float | tuple[float, float] | None = None,
    channel_names: Sequence[str] = (),
    t: int = 0,
    z: int = 0,
) -> SourceImage:
    """Take an array as an image: of NumPy, dask, zarr or anything else that slices like one; it stays lazy.

    Parameters
    ----------
    array
        The pixels, of 2 axes or more.
    axes
        One letter per axis out of ``TCZYXS``, in the order of the array, ``C`` for channels and ``S`` for the samples
        of a colour picture. When None they are guessed, see
        :func:`~napari_cellclass.core.images.planes.guess_axes`; as in ``.npy`` files a last axis of 3 is taken for red,
        green and blue.
    name
        What the image is called.
    pixel_size_um
        Side of a pixel in µm, or (y, x); None where it is not known.
    channel_names
        One per channel, or none.
    t, z
        Which time point and slice.

    Raises
    ------
    ImageError
        The axes do not fit the array or are ambiguous, its pixels are not numbers, or there is no such plane.
    """
    if not all(hasattr(array, one) for one in ("shape", "dtype", "__getitem__")):
        array = np.asarray(array)
    shape = tuple(int(length) for length in array.shape)
    if axes is None:
        axes = guess_axes(name, shape)
        axes = "YXS" if axes == "YXC" and shape[-1] == 3 else axes
    axes = str(axes).upper()
    if len(axes) != len(shape) or len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes) <= set("TCZYXS"):
        raise ImageError(
            f"{name}: axes={axes!r} do not fit an array of shape {shape}; write one letter of TCZYXS per axis, Y and X "
            "among them"
        )
    size = (pixel_size_um, pixel_size_um) if isinstance(pixel_size_um, int | float) else pixel_size_um
    if size is not None and (len(size) != 2 or not all(0 < side < np.inf for side in size)):
        raise ImageError(f"{name}: pixel_size_um={pixel_size_um!r} is no size; give µm as one number or as (y, x)")
    plane = choose_plane(name, axes, shape, t, z)
    data = ArrayPlane(name, array, axes, plane)
    names = tuple(str(one) for one in channel_names)
    if names and len(names) != data.shape[2]:
        raise ImageError(f"{name} has {data.shape[2]} channels, but {len(names)} channel_names; name each, or none")
    return SourceImage(
        data=data, name=name, pixel_size_um=None if size is None else (float(size[0]), float(size[1])), plane=plane,
        rgb="S" in axes and data.shape[2] == 3, channel_names=names, source_axes=axes, source_shape=shape,
    )  # fmt: skip


def read_plugin(path: Path, *, t: int, z: int, scene: int | None) -> SourceImage:
    """Open an image with an installed napari reader plugin; its first image layer is used.

    Of the layer's metadata ``name``, ``scale``, ``units``, ``axis_labels``, ``rgb`` and ``channel_axis``
    count. A scale other than 1 without a unit is assumed to be in µm, as napari's readers give it. Axes without
    a label are TZYX, counted from the last.

    Raises
    ------
    ImageError
        No plugin opens it, a plugin fails, or there is no such plane.
    """
    layers = _plugin_layers(path)
    images = [layer for layer in layers if len(layer) < 3 or layer[2] == "image"]
    images = [layer for layer in images if layer and layer[0] is not None]
    if not images:
        raise ImageError(f"cannot read image {scene or 0} of {path.name}: the reader plugin gave no image layer")
    titles = [str((dict(layer[1] or {}) if len(layer) > 1 else {}).get("name") or "") for layer in images]
    scenes = [Scene(i, name, "field" if len(images) < 2 else kind_of_name(name)) for i, name in enumerate(titles)]
    scene, notes = choose_scene(path.name, scenes, scene)
    array = images[scene][0]
    meta = dict(images[scene][1] or {}) if len(images[scene]) > 1 else {}
    if isinstance(array, list | tuple) or type(array).__name__ == "MultiScaleData":
        array = array[0]  # a pyramid, finest level first
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        array = np.asarray(array)
    axes, rgba = _plugin_axes(path.name, array, meta)
    plane = choose_plane(path.name, axes, array.shape, t, z)
    data = ArrayPlane(path.name, array, axes, plane, drop_alpha=rgba)
    given = meta.get("name")
    names = tuple(str(n) for n in given) if isinstance(given, list | tuple) else ()
    return SourceImage(
        data=data, name=path.name, path=path, rgb="S" in axes, plane=plane,
        pixel_size_um=_plugin_size(meta), notes=notes, scene=scene, source_axes=axes, source_shape=tuple(array.shape),
        channel_names=names if len(names) == data.shape[2] else (),
    )  # fmt: skip


def _plugin_axes(name: str, array: Any, meta: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the axes of a layer's array, and whether its last sample is alpha."""
    shape = tuple(array.shape)
    channel_axis = meta.get("channel_axis")
    rgb = meta.get("rgb")
    if rgb is None:  # napari's own guess
        rgb = channel_axis is None and len(shape) > 2 and shape[-1] in (3, 4) and min(shape[-3:-1]) > 30
        rgb = rgb and array.dtype == np.uint8
    rest = len(shape) - bool(rgb) - (channel_axis is not None)
    if rest < 2:
        raise ImageError(f"cannot read {name}: the reader plugin returned an array of shape {shape}, not an image")
    labels = [str(n)[:1].upper() for n in meta.get("axis_labels") or ()]
    unknown = "YX" if rest == 2 else "I" * max(0, rest - 4) + "TZYX"[-min(rest, 4) :]
    usable = len(labels) == rest == len(set(labels)) and labels[-2:] == ["Y", "X"] and "S" not in labels
    axes = list(labels if usable else unknown)
    if channel_axis is not None:
        axes.insert(int(channel_axis) % len(shape) if channel_axis < 0 else int(channel_axis), "C")
    return name_stack_axes("".join(axes)) + ("S" if rgb else ""), bool(rgb) and shape[-1] == 4


def _plugin_size(meta: Mapping[str, Any]) -> tuple[float, float] | None:
    scale = meta.get("scale")
    if scale is None or len(scale) < 2:
        return None
    units = meta.get("units")
    if isinstance(units, str) or not isinstance(units, Sequence):
        units = [units] * len(scale)
    y, x = float(scale[-2]), float(scale[-1])
    if units[-1] is None:
        return size_in_um(y, x, "µm", "µm") if (y, x) != (1.0, 1.0) else None
    return size_in_um(y, x, str(units[-2]), str(units[-1]))


def _plugin_layers(path: Path) -> list[Any]:
    """Try the compatible reader plugins one after the other and return the layers of ``path``."""
    from npe2 import PluginManager

    manager = PluginManager.instance()
    manager.discover()
    failures = []
    readers = list(manager.iter_compatible_readers([str(path)]))
    for reader in sorted(readers, key=lambda r: str(r.command)):
        if reader.plugin_name in _PLUGINS_NOT_ASKED:
            continue
        try:
            read = reader.exec(kwargs={"path": [str(path)], "stack": False, "_registry": manager.commands})
            layers = read([str(path)], stack=False) if read is not None else None
        except Exception as error:  # noqa: BLE001 - plugins raise anything, and the next may do better
            failures.append(f"{reader.plugin_name} failed ({describe_error(error)})")
            continue
        if layers and layers != [(None,)]:
            return list(layers)
    if failures:
        raise ImageError(f"cannot read {path.name}: {'; '.join(failures)}; save it as TIFF or PNG")
    raise ImageError(no_reader_message(path))


def no_reader_message(path: Path) -> str:
    """Return the error message for a kind of file that no reader supports."""
    suffix = json.dumps(path.suffix)[1:-1]
    kind = f"'{suffix}'" if suffix else "files without a suffix"
    return (
        f"cannot read {path.name}: no reader for {kind}; save it as TIFF or PNG, "
        "or install a napari reader plugin for it"
    )
