"""Zarr and OME-Zarr: images, the images of a container, and the fields of a plate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images.planes import ArrayPlane, choose_plane, guess_axes, name_stack_axes
from napari_cellclass.core.images.scenes import Scene, choose_scene, kind_of_name
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.images.units import one_sided_note, size_in_um


@dataclass(frozen=True)
class PlateField:
    """A field of a well of an OME-Zarr plate.

    Parameters
    ----------
    path
        Its folder.
    row, column
        Index of the well's row and column on the plate, from 0, and their names, such as ``("B", "3")``.
    field
        Name of its folder within the well.
    plate
        Name of the plate's folder.
    """

    path: Path
    row: int
    column: int
    names: tuple[str, str]
    field: str
    plate: str


def read_zarr(path: Path, *, t: int, z: int, scene: int | None) -> SourceImage:
    """Open an OME-Zarr image of version 0.4 or 0.5 at full resolution, or a plain Zarr array.

    Parameters
    ----------
    path
        The directory.
    t, z
        Which time point and slice.
    scene
        Which image of a multiscales list, or of a folder written by bioformats2raw; the first field where it is None.

    Raises
    ------
    ImageError
        The metadata is damaged, the directory is a plate, or there is no such plane.
    """
    import zarr

    node = zarr.open(store=str(path), mode="r")
    attrs = _ome_attributes(node)
    scene, notes = choose_scene(path.name, _scenes(node, attrs), scene)
    chosen = scene
    if _is_container(attrs):
        node, scene = _open_child(node, path, _children(node)[scene]), 0
        attrs = _ome_attributes(node)
    names: tuple[str, ...] = ()
    size = None
    if isinstance(node, zarr.Array):
        axes = _array_axes(node, path.name)
    else:
        entry = _multiscale(attrs, path.name, scene)
        node = _open_child(node, path, str(entry["datasets"][0]["path"]))
        axes = _ome_axes(entry, node.ndim)
        size, one_sided = _ome_size(entry, axes)
        names, notes = _omero_names(attrs), (*notes, *one_sided)
    axes = name_stack_axes(axes)
    plane = choose_plane(path.name, axes, node.shape, t, z)
    data = ArrayPlane(path.name, node, axes, plane)
    return SourceImage(
        data=data, name=field_name(path), path=path, pixel_size_um=size, plane=plane, notes=notes, scene=chosen,
        channel_names=names if len(names) == data.shape[2] else (),
        source_axes=axes, source_shape=tuple(node.shape),
    )  # fmt: skip


def image_folder(path: Path, scene: int = 0) -> Path:
    """Return the folder of an image of OME-Zarr: within a container of several images that of the scene.

    Raises
    ------
    ImageError
        It is a plain array, a plate, or an image beside others in one list.
    """
    import zarr

    node = zarr.open(store=str(path), mode="r")
    attrs = _ome_attributes(node)
    if _is_container(attrs):
        path = path / _children(node)[scene]
        node, scene = zarr.open(store=str(path), mode="r"), 0
        attrs = _ome_attributes(node)
    if isinstance(node, zarr.Array) or scene or not attrs.get("multiscales"):
        raise ImageError(f"{path.name} is no OME-Zarr image that can have labels; convert it to OME-Zarr 0.4 or 0.5")
    return path


def zarr_scenes(path: Path) -> list[Scene]:
    """List the images of a Zarr folder; a plate or well has none of its own, see :func:`plate_fields`."""
    import zarr

    node = zarr.open(store=str(path), mode="r")
    return _scenes(node, _ome_attributes(node))


def plate_fields(path: Path) -> list[PlateField]:
    """List the fields of an OME-Zarr plate of version 0.4 or 0.5, or of one of its wells, as its metadata say.

    Returns
    -------
    list of PlateField
        Empty where the folder is neither. A well whose own metadata are missing has one field, ``"0"``, which will
        be reported when it is opened.
    """
    import zarr

    try:
        node = zarr.open(store=str(path), mode="r")
        attrs = _ome_attributes(node)
        if isinstance(attrs.get("plate"), Mapping):
            return [field for well in attrs["plate"]["wells"] for field in _well_fields(path, attrs["plate"], well)]
        if isinstance(attrs.get("well"), Mapping) and (found := _plate_of_well(path)) is not None:
            plate, metadata, well = found
            return list(_well_fields(plate, metadata, well))
    except Exception:  # noqa: BLE001 - damaged metadata; opening the folder says what is wrong
        return []
    return []


def plate_field(path: Path) -> PlateField | None:
    """Find which field of a plate a folder is, by the metadata of the plate that it lies in; None where it is none."""
    if path.is_file() or not path.parent.name or not (path.parent / "..").exists():
        return None
    well = Path(path.absolute()).parent
    if not any((well / name).is_file() for name in (".zattrs", "zarr.json")):
        return None
    found = {field.path.resolve(): field for field in plate_fields(well)}
    return found.get(path.resolve())


def field_name(path: Path) -> str:
    """Name an image of Zarr: its folder's name, or plate, well and field where it is a field of a plate."""
    field = plate_field(path)
    if field is None:
        return path.name
    return f"{field.plate.removesuffix('.zarr').removesuffix('.ome')}_{''.join(field.names)}_f{field.field}"


def _plate_of_well(path: Path) -> tuple[Path, Mapping[str, Any], Mapping[str, Any]] | None:
    """Find the plate of a well, its metadata, and what they say of the well."""
    import zarr

    path = path.absolute()
    plate = path.parent.parent
    metadata = _ome_attributes(zarr.open(store=str(plate), mode="r")).get("plate")
    if not isinstance(metadata, Mapping):
        return None
    key = path.relative_to(plate).as_posix()
    well = next((one for one in metadata["wells"] if str(one["path"]).strip("/") == key), None)
    return None if well is None else (plate, metadata, well)


def _well_fields(plate: Path, metadata: Mapping[str, Any], well: Mapping[str, Any]) -> Iterator[PlateField]:
    import zarr

    key = str(well["path"]).strip("/")
    names = key.split("/")[-2:]
    row, column = well.get("rowIndex", well.get("row_index")), well.get("columnIndex", well.get("column_index"))
    for axis, given in ((0, row), (1, column)):
        listed = metadata["rows" if axis == 0 else "columns"]
        if isinstance(given, int) and 0 <= given < len(listed):
            names[axis] = str(listed[given]["name"])
    try:
        images = _ome_attributes(zarr.open(store=str(plate / key), mode="r"))["well"]["images"]
        fields = [str(image["path"]).strip("/") for image in images]
    except Exception:  # noqa: BLE001 - a well that was not copied; its field is missing
        fields = ["0"]
    at = [index if isinstance(index, int) else -1 for index in (row, column)]
    for field in fields:
        yield PlateField(plate / key / field, at[0], at[1], (names[0], names[1]), field, plate.name)


def _is_container(attrs: Mapping[str, Any]) -> bool:
    """Return whether a group holds several images, as bioformats2raw writes them."""
    return "bioformats2raw.layout" in attrs and "multiscales" not in attrs and "plate" not in attrs


def _children(group: Any) -> list[str]:
    """List the images of a container: those that its group ``OME`` names, else those whose names are numbers."""
    try:
        series = _ome_attributes(group["OME"]).get("series")
    except KeyError:
        series = None
    if isinstance(series, list) and series and all(isinstance(one, str) for one in series):
        return list(series)
    return sorted((key for key in group.group_keys() if key.isdecimal()), key=int) or ["0"]


def _scenes(node: Any, attrs: Mapping[str, Any]) -> list[Scene]:
    if _is_container(attrs):
        names = []
        for key in _children(node):
            try:
                names.append(str(_ome_attributes(node[key])["multiscales"][0].get("name") or ""))
            except (KeyError, TypeError, IndexError, AttributeError):
                names.append("")
    else:
        entries = attrs.get("multiscales")
        listed = entries if isinstance(entries, list) and entries else [{}]
        names = [str(one.get("name") or "") if isinstance(one, Mapping) else "" for one in listed]
    kinds = [kind_of_name(name) if len(names) > 1 else "field" for name in names]
    return [
        Scene(i, name if name != "/" else "", kind) for i, (name, kind) in enumerate(zip(names, kinds, strict=True))
    ]


def _multiscale(attrs: Mapping[str, Any], name: str, scene: int) -> Mapping[str, Any]:
    """Return the metadata of one image of a group."""
    entries = attrs.get("multiscales")
    if isinstance(entries, list) and entries:
        return dict(entries[scene])
    if "plate" in attrs:
        raise ImageError(f"{name} is a whole plate; classify it whole, or open one of its fields, such as {name}/A/1/0")
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


def _ome_size(entry: Mapping[str, Any], axes: str) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Return the pixel size in µm of level 0, None when a unit is missing; and what is to be said of it."""
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
    given = scale[y], scale[x], units[y], units[x]
    return size_in_um(*given), one_sided_note(*given)


def _omero_names(attrs: Mapping[str, Any]) -> tuple[str, ...]:
    omero = attrs.get("omero")
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list):
        return ()
    labels = [c.get("label") if isinstance(c, Mapping) else None for c in channels]
    return tuple(str(n) for n in labels) if all(n is not None for n in labels) else ()
