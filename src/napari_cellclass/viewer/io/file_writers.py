"""Our layers as files, for napari's File > Save Selected Layers: maps, annotations and regions.

The manifest gives these writers file suffixes that napari's own do not have, so that a user's Shapes and Labels
are still saved by napari; and asks for more kinds of layers than napari's "Save to Folder" does, since npe2
tries the writers with fewer first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.datasets.writing import write_class_folders
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.interchange.coco import SUFFIX, write_coco, write_table_coco
from napari_cellclass.core.interchange.geojson import write_geojson
from napari_cellclass.core.interchange.label_files import regions_from_labels, write_labels_csv
from napari_cellclass.core.interchange.tile_tables import write_wsinfer_csv
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.regions import Region, ellipse_outline, split_holes
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.viewer.common.layers import KEY, image_from_layers

LayerData = tuple[Any, dict[str, Any], str]
_TILES_CSV, _WSINFER_CSV, _GEOJSON = ".tiles.csv", ".wsinfer.csv", ".geojson"
_AIDS = ("text", "in-view", "live", "annotation-aid")


@dataclass(frozen=True, eq=False)
class _Selection:
    """The selected content: one of a table, an annotation or regions, and the field's image if it is known."""

    table: TileTable | None = None
    annotation: Annotation | None = None
    regions: tuple[LayerData, ...] = ()
    source: SourceImage | None = None

    def image_name(self, path: Path) -> str:
        """Name of the image; that of the file where nothing else is known."""
        if self.annotation is not None:
            return self.annotation.image.name
        return self.source.name if self.source is not None else path.name.split(".")[0]


def write_csv(path: str, layers: list[LayerData]) -> list[str]:
    """Write a map as ``NAME.tiles.csv``, an annotation as a CSV of labelled boxes."""
    path = _with_suffix(path, _TILES_CSV)
    selection = _find_selection(layers)
    if selection.table is not None:
        selection.table.to_csv(Path(path))
    elif selection.annotation is not None:
        annotation = selection.annotation
        write_labels_csv(Path(path), annotation.image.name, annotation.grid, annotation.scheme, annotation.labels)
    else:
        raise _wrong_content(path, "tiles; save regions as GeoJSON")
    return [path]


def write_wsinfer(path: str, layers: list[LayerData]) -> list[str]:
    """Write a map with the columns of WSInfer."""
    path = _with_suffix(path, _WSINFER_CSV)
    selection = _find_selection(layers)
    if selection.table is None:
        raise _wrong_content(path, "a map with probabilities; choose its layer")
    write_wsinfer_csv(selection.table, Path(path))
    return [path]


def write_geojson_layers(path: str, layers: list[LayerData]) -> list[str]:
    """Write a map as tiles, an annotation's tiles and regions as annotations, all as QuPath opens them."""
    path = _with_suffix(path, _GEOJSON)
    selection = _find_selection(layers)
    if selection.table is not None:
        selection.table.to_geojson(Path(path))
    elif selection.annotation is not None:
        annotation = selection.annotation
        write_geojson(Path(path), regions_from_labels(annotation.grid, annotation.scheme, annotation.labels))
    else:
        write_geojson(Path(path), [region for layer in selection.regions for region in _regions(*layer)])
    return [path]


def write_coco_layers(path: str, layers: list[LayerData]) -> list[str]:
    """Write the tiles of a map or an annotation as COCO detections."""
    path = _with_suffix(path, SUFFIX)
    selection = _find_selection(layers)
    name = selection.image_name(Path(path))
    if selection.table is not None:
        write_table_coco(selection.table, Path(path), name)
    elif selection.annotation is not None:
        grid = selection.annotation.grid
        write_coco(
            Path(path), name, grid.image_shape, selection.annotation.scheme, grid.boxes, selection.annotation.labels
        )
    else:
        raise _wrong_content(path, "tiles; save regions as GeoJSON")
    return [path]


def write_folders(path: str, layers: list[LayerData]) -> list[str]:
    """Cut the tiles of a map or an annotation out of their image, into one folder per class."""
    selection = _find_selection(layers, with_image=True)
    grid, names = None, []
    if selection.table is not None:
        grid, names = selection.table.grid, selection.table.class_name.tolist()
    elif selection.annotation is not None:
        grid, scheme = selection.annotation.grid, selection.annotation.scheme
        names = [scheme.names[i] if i >= 0 else "" for i in selection.annotation.labels]
    if grid is None:
        raise _wrong_content(path, "tiles; create labels from regions in Annotate tiles first")
    if selection.source is None:
        raise OutputError(f"cannot write {path}: the image of the map is unknown; select the image's layer as well")
    return [str(written) for written in write_class_folders(Path(path), selection.source, grid, names)]


def _with_suffix(path: str, suffix: str) -> str:
    """Add the suffix where a user typed none: napari's dialog does not."""
    return path if path.lower().endswith(Path(suffix).suffix) else path + suffix


def _wrong_content(path: str, needed: str) -> OutputError:
    return OutputError(f"cannot write {path}: this kind of file needs {needed}")


def _find_selection(layers: Sequence[LayerData], with_image: bool = False) -> _Selection:
    """Find the content to write among the selected layers, by their metadata.

    Raises
    ------
    OutputError
        A layer is not ours, or there is not exactly one thing to write.
    """
    subjects: dict[int, _Selection] = {}
    regions: list[LayerData] = []
    images: list[LayerData] = []
    for layer in layers:
        _, meta, kind = layer
        entry = meta.get("metadata", {}).get(KEY)
        content_kind = entry.get("kind") if isinstance(entry, dict) else None
        if content_kind == "map":
            subjects[id(entry["table"])] = _Selection(table=entry["table"], source=entry.get("source"))
        elif content_kind == "annotation":
            subjects[id(entry["annotation"])] = _Selection(annotation=entry["annotation"], source=entry.get("source"))
        elif content_kind == "regions":
            regions.append(layer)
        elif with_image and content_kind in (None, "image") and kind == "image":
            images.append(layer)
        elif content_kind not in _AIDS:
            raise OutputError(
                f"the layer {meta.get('name')!r} is not a map, annotation or region of Cell Class; "
                "choose one that is, or another file type"
            )
    if len(subjects) + bool(regions) != 1:
        raise OutputError(f"{len(subjects) + bool(regions)} things to write are selected; select one map or annotation")
    selection = next(iter(subjects.values()), _Selection(regions=tuple(regions)))
    return _Selection(selection.table, selection.annotation, selection.regions, _image(images)) if images else selection


def _image(images: Sequence[LayerData]) -> SourceImage:
    from napari.layers import Layer

    return image_from_layers([Layer.create(*layer) for layer in images])


def _regions(data: Any, meta: dict[str, Any], kind: str) -> list[Region]:
    names = _column(meta, "class_name", len(data), "")
    kinds = _column(meta, "object_type", len(data), "annotation")
    none, axes = np.zeros((0, 2)), meta["metadata"][KEY].get("planes", "")
    if kind == "points":
        colours = _hex(meta["face_color"])
        points = zip(names, colours, np.asarray(data, float), kinds, strict=True)
        return [Region(n, c if n else None, (), p[None, -2:], k, plane=_plane(p, axes)) for n, c, p, k in points]
    outline: dict[str, Callable[[Any], NDArray[np.float64]]] = {"ellipse": ellipse_outline}
    rows = zip(names, _hex(meta["edge_color"]), data, kinds, meta["shape_type"], strict=True)
    return [
        Region(
            n,
            c if n else None,
            (split_holes(outline.get(shape, np.asarray)(line)[:, -2:]),),
            none,
            k,
            plane=_plane(line[0], axes),
        )
        for n, c, line, k, shape in rows
        if shape not in ("line", "path")
    ]


def _plane(point: NDArray[Any], axes: str) -> dict[str, int]:
    """Return on which plane a point of a layer lies that has these axes before those of a plane."""
    return {axis: round(float(at)) for axis, at in zip(axes, point[: len(axes)], strict=True)}


def _column(meta: dict[str, Any], name: str, n: int, default: str) -> list[str]:
    features = meta.get("features")
    if features is None or name not in features:
        return [default] * n
    return ["" if pd.isna(value) else str(value).strip() for value in features[name]]


def _hex(colours: Any) -> list[str]:
    return ["#" + "".join(f"{round(255 * float(v)):02X}" for v in colour[:3]) for colour in np.asarray(colours)]
