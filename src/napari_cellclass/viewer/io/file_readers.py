"""Tables, labels and annotations of files as layers, for napari's File > Open and for files dropped on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.utils.notifications import show_warning
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError, GridError
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.interchange.coco import SUFFIX, read_coco
from napari_cellclass.core.interchange.geojson import detect_json_kind, load_geojson, parse_regions
from napari_cellclass.core.interchange.label_files import (
    read_labels_csv,
    read_napari_shapes,
    regions_from_boxes,
    regions_from_points,
    skipped_note,
)
from napari_cellclass.core.interchange.tile_tables import (
    detect_csv_kind,
    is_tile_geojson,
    parse_tile_table,
    read_table_csv,
)
from napari_cellclass.core.labels.points_and_boxes import read_points_csv
from napari_cellclass.core.labels.regions import Region, Regions, bridge_holes, rectangle_bounds
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid_layout import grid_key
from napari_cellclass.viewer.common.layer_axes import UnclearChannelsError, layer_data, read_layer_axes
from napari_cellclass.viewer.common.layers import (
    KEY,
    file_of,
    image_from_layers,
    is_user_layer,
    transform_of,
)
from napari_cellclass.viewer.common.opening_viewer import opening_viewer
from napari_cellclass.viewer.common.overlay import MAX_SHAPES, OverlayStyle, tile_layers
from napari_cellclass.viewer.common.proxies import unwrap

if TYPE_CHECKING:
    from napari.layers import Image, Layer

_FACE_ALPHA = 0.25
_NO_CLASS_COLOUR = "#FFFFFF"


def get_reader(path: str | list[str]) -> Callable[[Any], list[Layer]] | None:
    """Give napari's reader for CSV, GeoJSON and COCO files; None for files that hold neither tiles nor labels."""
    if not isinstance(path, str):
        return None
    if _file_kind(Path(path)):
        return lambda given: read_layers(Path(given if isinstance(given, str) else given[0]))
    return None


def _file_kind(path: Path) -> str:
    """Tell what a file holds: ``"geojson"``, ``"coco"``, what :func:`detect_csv_kind` tells, or ``""``."""
    name = path.name.lower()
    if name.endswith(".csv"):
        return detect_csv_kind(path)
    if name.endswith((".geojson", ".geojson.gz")):
        return "geojson"
    if name.endswith((SUFFIX, SUFFIX + ".gz")):
        return "coco"
    return detect_json_kind(path) if name.endswith((".json", ".json.gz")) else ""


def read_layers(path: Path) -> list[Layer]:
    """Open a file as layers: tiles with probabilities as a map, anything else as regions.

    They get the transform of the selected image layer, or of the only one, when the file's field can be
    that image; else the file's pixel size. Of labels of several images those of the selected image are taken, else
    those of the first layer's whose name the file lists. What was not read of the file is shown as a warning.

    Raises
    ------
    DatasetError
        The file cannot be read, or contains nothing; see the readers of ``core``.
    """
    kind = _file_kind(path)
    if kind in _REGION_READERS:
        return _region_layers(_REGION_READERS[kind](path), path)
    if kind in ("tiles", "wsinfer"):
        return _map_layers(read_table_csv(path), path, exact=False)
    content = load_geojson(path)
    if is_tile_geojson(content):
        return _map_layers(parse_tile_table(content, path), path, exact=isinstance(content, dict) and KEY in content)
    return _region_layers(parse_regions(content, path), path)


_REGION_READERS: dict[str, Callable[[Path], Regions]] = {
    "labels": read_labels_csv,
    "points": lambda path: regions_from_points(read_points_csv(path)),
    "shapes": read_napari_shapes,
    "coco": lambda path: regions_from_boxes(*read_coco(path, _image_names() or None)),
}


def _image_names() -> list[str]:
    """List the files and names of the image layers, the selected one first."""
    viewer = opening_viewer()
    if viewer is None:
        return []
    images = [unwrap(layer) for layer in viewer.layers if is_user_layer(layer)]
    images = [layer for layer in images if type(layer).__name__ == "Image"]
    active = unwrap(viewer.layers.selection.active)
    images.sort(key=lambda layer: layer is not active)
    names = [name for layer in images for name in (str(file_of([layer]) or ""), layer.name)]
    return [name for name in names if name]


def _map_layers(table: TileTable, path: Path, exact: bool) -> list[Layer]:
    if len(table) > MAX_SHAPES:
        try:
            grid_key(table.grid)
        except GridError as error:
            raise DatasetError(
                f"{path}: {len(table):,} tiles off a grid cannot be shown, at most {MAX_SHAPES:,}; open fewer"
            ) from error
    transform, source = _find_transform(table.grid.image_shape, exact, table.pixel_size_um)
    layers = tile_layers(table, transform, f"{_stem(path)} classes", OverlayStyle())
    for layer in layers:
        layer.metadata[KEY] |= {"source": source}
    return layers


def _find_transform(
    extent: tuple[int, int], exact: bool, pixel_size_um: tuple[float, float] | None = None
) -> tuple[dict[str, Any], SourceImage | None]:
    """Find the transform of the image that a file belongs to, and that image."""
    image, source = _find_image(extent, exact)
    return _transform_over(image, pixel_size_um), source


def _transform_over(image: Image | None, pixel_size_um: tuple[float, float] | None = None) -> dict[str, Any]:
    from napari.layers import Image

    if image is not None:
        return transform_of(image)
    options: dict[str, Any] = {} if pixel_size_um is None else {"scale": pixel_size_um, "units": ("um", "um")}
    return transform_of(Image(np.zeros((1, 1), np.uint8), **options))


def _find_image(extent: tuple[int, int], exact: bool) -> tuple[Image | None, SourceImage | None]:
    """Find the layer that a file belongs to, the selected one or the only one, and its field where that is clear."""
    from napari.layers import Image

    viewer = opening_viewer()
    images = [] if viewer is None else [unwrap(layer) for layer in viewer.layers if is_user_layer(layer)]
    images = [layer for layer in images if isinstance(layer, Image)]
    chosen = [layer for layer in images if viewer is not None and unwrap(viewer.layers.selection.active) is layer]
    for layer in chosen or (images if len(images) == 1 else []):
        source: SourceImage | None
        try:
            source = image_from_layers([layer], None if viewer is None else viewer.dims.point)
            shape = source.shape
        except UnclearChannelsError:  # its place is clear
            source, shape = None, layer_data(layer).shape[-2:]
        if shape == extent if exact else all(a >= b for a, b in zip(shape, extent, strict=True)):
            return layer, source
    return None, None


def _region_layers(regions: Regions, path: Path) -> list[Layer]:
    if not regions.regions:
        raise DatasetError(f"{path} contains no region{': ' + regions.skipped[0] if regions.skipped else ''}")
    if regions.skipped:
        show_warning(skipped_note(path.name, regions.skipped))
    rings = [ring for region in regions.regions for polygon in region.polygons for ring in polygon[:1]]
    rings += [region.points for region in regions.regions if len(region.points)]
    extent = np.ceil(np.max([ring.max(axis=0) for ring in rings], axis=0) + 0.5).astype(int)
    shape = (int(extent[0]), int(extent[1]))
    image, _ = _find_image(shape, exact=False)
    planes, transform = _plane_axes(regions, image)
    transform = transform or ({} if planes else _transform_over(image))
    makers = (partial(_shapes, planes=planes), partial(_points, planes=planes))
    layers = [layer for make in makers if (layer := make(regions, _stem(path), transform)) is not None]
    for layer in layers:
        layer.metadata[KEY] = {"kind": "regions", "skipped": regions.skipped, "planes": planes}
    return layers


def _plane_axes(regions: Regions, image: Image | None) -> tuple[str, dict[str, Any]]:
    """Return the axes of planes that shapes need to be seen on their own plane alone, and a transform with them.

    Over an image they are those of its layer, so that napari's sliders are the same, else those of ``TZ`` along which
    the regions differ. Empty where all are on any plane, or the layer has other axes.
    """
    if not any(region.plane for region in regions.regions):
        return "", {}
    if image is not None:
        letters = read_layer_axes(image).letters
        if not letters or set(letters) - set("TZ") or image.rgb:
            return "", {}
        names = ("scale", "translate", "rotate", "shear", "affine", "units")
        return letters, {name: getattr(image, name) for name in names}
    values = {axis: {region.plane.get(axis, 0) for region in regions.regions} for axis in "TZ"}
    return "".join(axis for axis in "TZ" if len(values[axis]) > 1), {}


def _placed(ring: NDArray[np.float64], region: Region, planes: str) -> NDArray[np.float64]:
    """Return points (n, 2) with their position on axes of planes before it."""
    return np.insert(ring, [0] * len(planes), [region.plane.get(axis, 0) for axis in planes], axis=1)


def _shapes(regions: Regions, name: str, transform: dict[str, Any], planes: str) -> Layer | None:
    from napari.layers import Shapes

    colours = regions.colours()
    rows: list[tuple[Region, Any]] = [(region, rings) for region in regions.regions for rings in region.polygons]
    if not rows:
        return None
    edge = _rgba([colours.get(region.class_name, _NO_CLASS_COLOUR) for region, _ in rows])
    sides = [np.ptp(rings[0], axis=0).max() for _, rings in rows]
    return Shapes(
        [_placed(bridge_holes(rings), region, planes) for region, rings in rows],
        shape_type=["polygon" if rectangle_bounds(rings) is None else "rectangle" for _, rings in rows],
        features=_features([region for region, _ in rows]),
        edge_color=edge,
        face_color=edge * np.array([1, 1, 1, _FACE_ALPHA]),
        edge_width=max(0.5, 0.02 * float(np.median(sides))),
        name=name,
        **transform,
    )


def _points(regions: Regions, name: str, transform: dict[str, Any], planes: str) -> Layer | None:
    from napari.layers import Points

    colours = regions.colours()
    rows = [(region, point) for region in regions.regions for point in region.points]
    if not rows:
        return None
    return Points(
        np.concatenate([_placed(np.atleast_2d(point), region, planes) for region, point in rows]),
        features=_features([region for region, _ in rows]),
        face_color=_rgba([colours.get(region.class_name, _NO_CLASS_COLOUR) for region, _ in rows]),
        name=f"{name} points",
        **transform,
    )


def _features(regions: list[Region]) -> pd.DataFrame:
    return pd.DataFrame({"class_name": [r.class_name for r in regions], "object_type": [r.kind for r in regions]})


def _rgba(colours: list[str]) -> Any:
    return np.array([[*(int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0] for c in colours])


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".tiles.csv", ".wsinfer.csv", SUFFIX, ".geojson.gz", ".json.gz", path.suffix):
        if name.lower().endswith(suffix.lower()):
            return name[: -len(suffix)] or name
    return name
