"""NumPy files, Zarr, OME-Zarr, and whatever an installed napari reader plugin opens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.images.planes import (
    ArrayPlane,
    choose_plane,
    describe_error,
    guess_axes,
    name_stack_axes,
    size_in_um,
)
from napari_cellclass.core.images.source import SourceImage

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


def read_zarr(path: Path, *, t: int, z: int, scene: int) -> SourceImage:
    """Open an OME-Zarr image of version 0.4 or 0.5 at full resolution, or a plain Zarr array.

    Parameters
    ----------
    path
        The directory.
    t, z
        Which time point and slice.
    scene
        Which image of a multiscales list, or of a folder written by bioformats2raw.

    Raises
    ------
    ImageError
        The metadata is damaged, the directory is a plate, or there is no such plane.
    """
    import zarr

    node = zarr.open(store=str(path), mode="r")
    attrs = _ome_attributes(node)
    if "bioformats2raw.layout" in attrs and "multiscales" not in attrs:
        node, scene = _open_child(node, path, str(scene)), 0
        attrs = _ome_attributes(node)
    names: tuple[str, ...] = ()
    size = None
    if isinstance(node, zarr.Array):
        if scene:
            raise ImageError(f"{path.name} has no image {scene}; it has only image 0")
        axes = _array_axes(node, path.name)
    else:
        entry = _multiscale(attrs, path.name, scene)
        node = _open_child(node, path, str(entry["datasets"][0]["path"]))
        axes = _ome_axes(entry, node.ndim)
        size = _ome_size(entry, axes)
        names = _omero_names(attrs)
    axes = name_stack_axes(axes)
    plane = choose_plane(path.name, axes, node.shape, t, z)
    data = ArrayPlane(path.name, node, axes, plane)
    return SourceImage(
        data=data, name=path.name, path=path, pixel_size_um=size, plane=plane,
        channel_names=names if len(names) == data.shape[2] else (),
        source_axes=axes, source_shape=tuple(node.shape),
    )  # fmt: skip


def _multiscale(attrs: Mapping[str, Any], name: str, scene: int) -> Mapping[str, Any]:
    """Return the metadata of one image of a group."""
    entries = attrs.get("multiscales")
    if isinstance(entries, list) and entries:
        if not 0 <= scene < len(entries):
            raise ImageError(f"{name} has no image {scene}; it has {len(entries)}")
        return dict(entries[scene])
    if "plate" in attrs:
        raise ImageError(f"{name} is a whole plate; open one of its fields, such as {name}/A/1/0")
    if "well" in attrs:
        raise ImageError(f"{name} is a well; open one of its fields, such as {name}/0")
    raise ImageError(f"{name} has no OME-Zarr metadata and is no array; open the array inside of it")


def _ome_attributes(node: Any) -> dict[str, Any]:
    """Return the OME attributes: under ``ome`` in version 0.5, at the top in 0.4."""
    attrs = dict(node.attrs)
    ome = attrs.get("ome")
    return {**attrs, **ome} if isinstance(ome, Mapping) else attrs


def _open_child(group: Any, path: Path, key: str) -> Any:
    try:
        return group[key]
    except KeyError as error:
        raise ImageError(f"{path.name} has no part {key!r}; the copy may be incomplete") from error


def _array_axes(array: Any, name: str) -> str:
    """Return a plain array's axes from its dimension names, else guess them from its shape."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if names and all(isinstance(n, str) and n for n in names):
        axes = "".join(n[0].upper() for n in names)
        if len(set(axes)) == array.ndim and {"Y", "X"} <= set(axes):
            return axes
    return guess_axes(name, array.shape)


def _ome_axes(entry: Mapping[str, Any], ndim: int) -> str:
    """Return axes letters from the multiscales metadata; before version 0.4 they may be missing: TCZYX."""
    listed = entry.get("axes")
    if not listed:
        return "TCZYX"[-ndim:]
    axes = []
    for axis in listed:
        name, kind = (axis, "") if isinstance(axis, str) else (axis["name"], axis.get("type", ""))
        letter = {"channel": "C", "time": "T"}.get(kind, str(name)[:1].upper())
        axes.append(letter)
    if len(axes) != ndim:
        raise ImageError(f"the metadata names the axes {''.join(axes)}, but the array has {ndim}; export it again")
    return "".join(axes)


def _ome_size(entry: Mapping[str, Any], axes: str) -> tuple[float, float] | None:
    """Return the pixel size in µm of level 0; None when a unit is missing."""
    scale = np.ones(len(axes))
    for steps in (
        entry["datasets"][0].get("coordinateTransformations"),
        entry.get("coordinateTransformations"),
    ):
        for step in steps or ():
            if step.get("type") == "scale" and len(step.get("scale", ())) == len(axes):
                scale *= np.asarray(step["scale"], float)
    units = [a.get("unit") if isinstance(a, Mapping) else None for a in entry.get("axes") or [None] * len(axes)]
    y, x = axes.index("Y"), axes.index("X")
    return size_in_um(scale[y], scale[x], units[y], units[x])


def _omero_names(attrs: Mapping[str, Any]) -> tuple[str, ...]:
    omero = attrs.get("omero")
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list):
        return ()
    labels = [c.get("label") if isinstance(c, Mapping) else None for c in channels]
    return tuple(str(n) for n in labels) if all(n is not None for n in labels) else ()


def read_plugin(path: Path, *, t: int, z: int, scene: int) -> SourceImage:
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
    if not 0 <= scene < len(images):
        have = counted(len(images), "image") if images else "no image layer"
        raise ImageError(f"cannot read image {scene} of {path.name}: the reader plugin gave {have}")
    array = images[scene][0]
    meta = dict(images[scene][1] or {}) if len(images[scene]) > 1 else {}
    if isinstance(array, list | tuple) or type(array).__name__ == "MultiScaleData":
        array = array[0]  # a pyramid, finest level first
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        array = np.asarray(array)
    axes, rgba = _plugin_axes(path.name, array, meta)
    plane = choose_plane(path.name, axes, array.shape, t, z)
    data = ArrayPlane(path.name, array, axes, plane, drop_alpha=rgba)
    names = meta.get("name")
    names = tuple(str(n) for n in names) if isinstance(names, list | tuple) else ()
    return SourceImage(
        data=data, name=path.name, path=path, rgb="S" in axes, plane=plane,
        pixel_size_um=_plugin_size(meta), source_axes=axes, source_shape=tuple(array.shape),
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
