"""Our layers as files, for napari's File > Save Selected Layers: maps, annotations and regions.

The manifest gives these writers name endings that napari's own do not have, so that a user's Shapes and Labels
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
from napari_cellclass.core.labels.regions import Region, split_holes
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.viewer.common.layers import KEY, ellipse_outline, image_from_layers

LayerData = tuple[Any, dict[str, Any], str]
_TILES_CSV, _WSINFER_CSV, _GEOJSON = ".tiles.csv", ".wsinfer.csv", ".geojson"
_AIDS = ("text", "in-view", "live", "annotation-aid")


@dataclass(frozen=True, eq=False)
class _Chosen:
    """What the selected layers are: one of a table, an annotation or regions, and the field's image if it is known."""

    table: TileTable | None = None
    annotation: Annotation | None = None
    regions: tuple[LayerData, ...] = ()
    source: SourceImage | None = None

    def image_name(self, path: Path) -> str:
        """Say what the image is called: after the file where nothing else is known."""
        if self.annotation is not None:
            return self.annotation.image.name
        return self.source.name if self.source is not None else path.name.split(".")[0]


def write_csv(path: str, layers: list[LayerData]) -> list[str]:
    """Write a map as ``NAME.tiles.csv``, an annotation as a CSV of labelled boxes."""
    path = _named(path, _TILES_CSV)
    found = _chosen(layers)
    if found.table is not None:
        found.table.to_csv(Path(path))
    elif found.annotation is not None:
        ours = found.annotation
        write_labels_csv(Path(path), ours.image.name, ours.grid, ours.scheme, ours.labels)
    else:
        raise _unfit(path, "tiles; save regions as GeoJSON")
    return [path]


def write_wsinfer(path: str, layers: list[LayerData]) -> list[str]:
    """Write a map with the columns of WSInfer."""
    path = _named(path, _WSINFER_CSV)
    found = _chosen(layers)
    if found.table is None:
        raise _unfit(path, "a map with probabilities; choose its layer")
    write_wsinfer_csv(found.table, Path(path))
    return [path]


def write_geojson_layers(path: str, layers: list[LayerData]) -> list[str]:
    """Write a map as tiles, an annotation's tiles and regions as annotations, all as QuPath opens them."""
    path = _named(path, _GEOJSON)
    found = _chosen(layers)
    if found.table is not None:
        found.table.to_geojson(Path(path))
    elif found.annotation is not None:
        ours = found.annotation
        write_geojson(Path(path), regions_from_labels(ours.grid, ours.scheme, ours.labels))
    else:
        write_geojson(Path(path), [region for layer in found.regions for region in _regions(*layer)])
    return [path]


def write_coco_layers(path: str, layers: list[LayerData]) -> list[str]:
    """Write the tiles of a map or an annotation as COCO detections."""
    path = _named(path, SUFFIX)
    found = _chosen(layers)
    name = found.image_name(Path(path))
    if found.table is not None:
        write_table_coco(found.table, Path(path), name)
    elif found.annotation is not None:
        grid = found.annotation.grid
        write_coco(Path(path), name, grid.image_shape, found.annotation.scheme, grid.boxes, found.annotation.labels)
    else:
        raise _unfit(path, "tiles; save regions as GeoJSON")
    return [path]


def write_folders(path: str, layers: list[LayerData]) -> list[str]:
    """Cut the tiles of a map or an annotation out of their image, into one folder per class."""
    found = _chosen(layers, with_image=True)
    grid, names = None, []
    if found.table is not None:
        grid, names = found.table.grid, found.table.class_name.tolist()
    elif found.annotation is not None:
        grid, scheme = found.annotation.grid, found.annotation.scheme
        names = [scheme.names[i] if i >= 0 else "" for i in found.annotation.labels]
    if grid is None:
        raise _unfit(path, "tiles; take labels from regions in Annotate tiles first")
    if found.source is None:
        raise OutputError(f"cannot write {path}: the map does not know its image; select the image's layer as well")
    return [str(written) for written in write_class_folders(Path(path), found.source, grid, names)]


def _named(path: str, suffix: str) -> str:
    """Add the ending where a user typed none: napari's dialog does not."""
    return path if path.lower().endswith(Path(suffix).suffix) else path + suffix


def _unfit(path: str, needed: str) -> OutputError:
    return OutputError(f"cannot write {path}: this kind of file needs {needed}")


def _chosen(layers: Sequence[LayerData], with_image: bool = False) -> _Chosen:
    """Find what is to be written among the selected layers, by their metadata.

    Raises
    ------
    OutputError
        A layer is not ours, or there is more than one thing to write.
    """
    subjects: dict[int, _Chosen] = {}
    regions: list[LayerData] = []
    images: list[LayerData] = []
    for layer in layers:
        _, meta, kind = layer
        ours = meta.get("metadata", {}).get(KEY)
        what = ours.get("kind") if isinstance(ours, dict) else None
        if what == "map":
            subjects[id(ours["table"])] = _Chosen(table=ours["table"], source=ours.get("source"))
        elif what == "annotation":
            subjects[id(ours["annotation"])] = _Chosen(annotation=ours["annotation"], source=ours.get("source"))
        elif what == "regions":
            regions.append(layer)
        elif with_image and what is None and kind == "image":
            images.append(layer)
        elif what not in _AIDS:
            raise OutputError(
                f"the layer {meta.get('name')!r} is no map, annotation or region of Cell Class; "
                "choose one that is, or another file type"
            )
    if len(subjects) + bool(regions) != 1:
        raise OutputError(f"{len(subjects) + bool(regions)} things to write are selected; select one map or annotation")
    found = next(iter(subjects.values()), _Chosen(regions=tuple(regions)))
    return _Chosen(found.table, found.annotation, found.regions, _image(images)) if images else found


def _image(images: Sequence[LayerData]) -> SourceImage:
    from napari.layers import Layer

    return image_from_layers([Layer.create(*layer) for layer in images])


def _regions(data: Any, meta: dict[str, Any], kind: str) -> list[Region]:
    names = _column(meta, "class_name", len(data), "")
    kinds = _column(meta, "object_type", len(data), "annotation")
    none = np.zeros((0, 2))
    if kind == "points":
        colours = _hex(meta["face_color"])
        points = zip(names, colours, data, kinds, strict=True)
        return [Region(n, c if n else None, (), np.asarray(p, float)[None, -2:], k) for n, c, p, k in points]
    outline: dict[str, Callable[[Any], NDArray[np.float64]]] = {"ellipse": ellipse_outline}
    rows = zip(names, _hex(meta["edge_color"]), data, kinds, meta["shape_type"], strict=True)
    return [
        Region(n, c if n else None, (split_holes(outline.get(shape, np.asarray)(line)[:, -2:]),), none, k)
        for n, c, line, k, shape in rows
        if shape not in ("line", "path")
    ]


def _column(meta: dict[str, Any], name: str, n: int, default: str) -> list[str]:
    features = meta.get("features")
    if features is None or name not in features:
        return [default] * n
    return ["" if pd.isna(value) else str(value).strip() for value in features[name]]


def _hex(colours: Any) -> list[str]:
    return ["#" + "".join(f"{round(255 * float(v)):02X}" for v in colour[:3]) for colour in np.asarray(colours)]
