"""Maps written into OME-Zarr images, as label images and as tables; what is there is never changed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ImageError, OutputError
from napari_cellclass.core.common.files import atomic_write, output_error
from napari_cellclass.core.interchange.anndata_tables import FieldTiles, check_anndata_installed, tiles_as_anndata
from napari_cellclass.core.labels.classes import UNSURE_NAME, ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.map_axes import MapAxes, field_pixels, off_grid

_PIXELS_PER_TILE = 8  # along a side, of the finest level
_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class _Image:
    """The group of an image.

    Parameters
    ----------
    folder, group
        On disk, and opened.
    version
        ``"0.4"`` or ``"0.5"``.
    axes
        Its axes but for the channels, as its metadata list them.
    scale, translation
        Of its finest level along them.
    further
        Transformations of all levels, along them.
    lengths
        Of them, in px.
    """

    folder: Path
    group: Any
    version: str
    axes: tuple[Mapping[str, Any], ...]
    scale: NDArray[np.float64]
    translation: NDArray[np.float64]
    further: list[dict[str, Any]]
    lengths: tuple[int, ...]

    @property
    def letters(self) -> str:
        """T, Z, Y and X, as far as it has them."""
        return "".join("T" if a.get("type") == "time" else str(a["name"])[:1].upper() for a in self.axes)


def check_free(folder: Path, kind: str, name: str) -> None:
    """Refuse to write a label image or table into an image that has one of that name, or cannot take one.

    Parameters
    ----------
    folder
        Of the image.
    kind
        ``"labels"`` or ``"tables"``.
    name
        What it is to be called.

    Raises
    ------
    ImageError
        The folder is no OME-Zarr image of version 0.4 or 0.5.
    OutputError
        There is one of that name.
    """
    image = _open(folder, "r")
    if (folder / kind / name).exists() or name in _listed(image, kind):
        raise OutputError(f"{folder.name} has {kind}/{name} already, which is left as it is; choose another name")


def write_label_image(folder: Path, name: str, planes: Sequence[tuple[TileTable, Mapping[str, int]]]) -> None:
    """Write the map of an image as a label image: the classes as values 1 to K, unsure tiles as K + 1.

    Names and colours of the classes are in its ``image-label`` metadata. Its finest level has some eight pixels along
    the side of a tile, so that it lies right even in programs that ignore translations; the next one is one pixel per
    tile, unless the edge rule has shifted the last ones.

    Parameters
    ----------
    folder
        Of the image, OME-Zarr 0.4 or 0.5.
    name
        Of the label image.
    planes
        Table and index on T and Z of each classified plane; all of one grid.

    Raises
    ------
    ImageError, OutputError
        See :func:`check_free`; the disk is full, or may not be written to.
    """
    check_free(folder, "labels", name)
    image, (first, _) = _open(folder, "r+"), planes[0]
    scheme = first.scheme
    dtype = np.uint8 if len(scheme) + 1 <= np.iinfo(np.uint8).max else np.uint16
    with _new_member(image, "labels", name) as parent:
        group, datasets = parent.create_group(name), []
        for path, level in enumerate(_levels(first)):
            values = np.zeros((*image.lengths[:-2], *level.shape), dtype)
            for table, plane in planes:
                at = tuple(plane.get(letter, 0) for letter in image.letters[:-2])
                values[at] = level.pixels(table)
            _write_array(group, str(path), values, image)
            datasets.append({"path": str(path), "coordinateTransformations": _transforms(image, level)})
        multiscale = {"name": name, "axes": [dict(one) for one in image.axes], "datasets": datasets}
        if image.further:
            multiscale["coordinateTransformations"] = image.further
        about: dict[str, Any] = {**_class_metadata(scheme), "source": {"image": "../../"}}
        _set_attributes(group, image, multiscale, about)


def write_tile_table(folder: Path, name: str, planes: Sequence[TileTable]) -> None:
    """Write the tiles of an image as a table, AnnData of that name in its group ``tables``, as SpatialData does.

    Raises
    ------
    ParamsError
        AnnData is not installed.
    ImageError, OutputError
        See :func:`write_label_image`.
    """
    check_anndata_installed("a table in OME-Zarr")
    check_free(folder, "tables", name)
    import anndata
    from anndata.io import write_elem

    image = _open(folder, "r+")
    made = tiles_as_anndata(
        [FieldTiles(folder.name if len(planes) == 1 else f"{folder.name}_{i}", one) for i, one in enumerate(planes)]
    )
    with _new_member(image, "tables", name) as parent, anndata.settings.override(zarr_write_format=_format(image)):
        write_elem(parent, name, made)


@dataclass(frozen=True, eq=False)
class _Level:
    """One level of a label image: its shape, and where its pixels lie in px of the field."""

    shape: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]
    every: int | None

    def pixels(self, table: TileTable) -> NDArray[np.uint16]:
        """Return its pixels."""
        cells = table.as_labels()
        return cells if self.every is None else field_pixels(table.grid, cells, self.every)


def _levels(table: TileTable) -> Iterator[_Level]:
    grid = table.grid
    every = max(1, min(grid.step_px) // _PIXELS_PER_TILE)
    height, width = (-(-n // every) for n in grid.image_shape)
    yield _Level((height, width), (every, every), ((every - 1) / 2, (every - 1) / 2), every)
    axes = MapAxes.of(grid)
    if not off_grid(grid, grid.grid_shape) and (len(axes.rows), len(axes.cols)) == grid.grid_shape:
        yield _Level(grid.grid_shape, axes.scale, axes.offset, None)


def _transforms(image: _Image, level: _Level) -> list[dict[str, Any]]:
    scale, offset = np.ones(len(image.axes)), np.zeros(len(image.axes))
    scale[-2:], offset[-2:] = level.scale, level.offset
    translation = image.translation + image.scale * offset
    return [
        {"type": "scale", "scale": (image.scale * scale).tolist()},
        {"type": "translation", "translation": translation.tolist()},
    ]


def _class_metadata(scheme: ClassScheme) -> dict[str, Any]:
    names = [*scheme.names, UNSURE_NAME]
    colours = [{"label-value": k + 1, "rgba": [*scheme.rgb(k), 255]} for k in range(len(names))]
    return {
        "colors": colours,
        "properties": [{"label-value": k, "class": name} for k, name in enumerate(names, 1)],
    }


def _open(folder: Path, mode: Any) -> _Image:
    import zarr

    try:
        group = zarr.open_group(store=str(folder), mode=mode, use_consolidated=False)
        attrs = dict(group.attrs)
        ome = attrs.get("ome")
        found = dict(ome) if isinstance(ome, Mapping) else attrs
        entry = found["multiscales"][0]
        version = str(found.get("version") if ome else entry.get("version", "0.4"))
        listed = [dict(axis) for axis in entry["axes"]]
        kept = [i for i, axis in enumerate(listed) if axis.get("type") != "channel" and axis["name"].lower() != "c"]
        dataset = entry["datasets"][0]
        scale, translation = _affine(dataset.get("coordinateTransformations") or (), len(listed))
        shape = group[str(dataset["path"])].shape
        further = [_along(step, kept) for step in entry.get("coordinateTransformations") or ()]
    except OSError as error:
        raise output_error(folder, error) from error
    except Exception as error:  # metadata of strangers: zarr and indexing raise errors of many kinds
        raise ImageError(
            f"{folder.name} is no OME-Zarr image of version 0.4 or 0.5, so that labels cannot be written into it"
        ) from error
    if version not in ("0.4", "0.5"):
        raise ImageError(f"{folder.name} is OME-Zarr {version}; labels are written into versions 0.4 and 0.5")
    image = _Image(
        folder, group, version, tuple(listed[i] for i in kept), scale[kept], translation[kept], further,
        tuple(int(shape[i]) for i in kept),
    )  # fmt: skip
    if image.letters[-2:] != "YX":
        raise ImageError(f"{folder.name} has its axes in the order {image.letters}; labels need Y and X at the end")
    return image


def _affine(steps: Sequence[Mapping[str, Any]], n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scale, translation = np.ones(n), np.zeros(n)
    for step in steps:
        if step.get("type") == "scale":
            scale = np.asarray(step["scale"], float)
        elif step.get("type") == "translation":
            translation = np.asarray(step["translation"], float)
    return scale, translation


def _along(step: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    name = str(step["type"])
    return {"type": name, name: [step[name][i] for i in kept]} if name in step else {"type": name}


def _format(image: _Image) -> int:
    return int(image.group.metadata.zarr_format)


def _listed(image: _Image, kind: str) -> list[str]:
    """Return the names that a group of labels or tables lists."""
    if kind not in image.group:
        return []
    attrs = dict(image.group[kind].attrs)
    found = dict(attrs.get("ome") or {}) if image.version == "0.5" and kind == "labels" else attrs
    return [str(one) for one in found.get(kind) or ()]


@contextlib.contextmanager
def _new_member(image: _Image, kind: str, name: str) -> Iterator[Any]:
    """Give the group of labels or tables, and list a new member once it is complete; where that fails none is left."""
    parent_folder = image.folder / kind
    target, was_there = parent_folder / name, parent_folder.exists()
    before = _metadata_files(image.folder, parent_folder)
    try:
        parent = image.group.require_group(kind)
        yield parent
        names = [*_listed(image, kind), name]
        if image.version == "0.5" and kind == "labels":
            parent.attrs["ome"] = {**dict(parent.attrs.get("ome") or {}), "version": "0.5", kind: names}
        else:
            parent.attrs[kind] = names
        if (image.folder / ".zmetadata").exists():  # readers that look there would not see it
            import zarr

            zarr.consolidate_metadata(str(image.folder))
    except BaseException as error:  # also when interrupted: nothing half written stays, and nothing lists it
        shutil.rmtree(target if was_there else parent_folder, ignore_errors=True)
        _restore(before)
        if isinstance(error, OSError):
            raise output_error(target, error) from error
        raise


def _metadata_files(folder: Path, parent: Path) -> dict[Path, bytes]:
    """Return the content of those files of an image, and of its labels or tables, that name what is in them."""
    files = (folder / ".zmetadata", *(parent / name for name in (".zattrs", ".zgroup", "zarr.json")))
    return {file: file.read_bytes() for file in files if file.exists()}


def _restore(files: Mapping[Path, bytes]) -> None:
    """Write files as they were, where they have changed; as far as that goes, since an error is being reported."""
    for file, content in files.items():
        with contextlib.suppress(OSError, OutputError):
            if not file.exists() or file.read_bytes() != content:
                with atomic_write(file) as temporary:
                    temporary.write_bytes(content)


def _write_array(group: Any, path: str, values: NDArray[Any], image: _Image) -> None:
    chunks = (*(1 for _ in values.shape[:-2]), *(min(_CHUNK, n) for n in values.shape[-2:]))
    v2 = _format(image) == 2
    names = None if v2 else [str(axis["name"]) for axis in image.axes]
    encoding = {"name": "v2", "separator": "/"} if v2 else None
    array = group.create_array(
        path, shape=values.shape, chunks=chunks, dtype=values.dtype, dimension_names=names, chunk_key_encoding=encoding
    )
    array[...] = values


def _set_attributes(group: Any, image: _Image, multiscale: dict[str, Any], about: dict[str, Any]) -> None:
    if image.version == "0.5":
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale], "image-label": about}
    else:
        group.attrs.update(
            {"multiscales": [{"version": "0.4", **multiscale}], "image-label": {"version": "0.4", **about}}
        )
