"""QuPath's GeoJSON: annotations read as regions, regions and labels written as annotations.

The member names are those of QuPath (qupath-core, ``qupath.lib.io.PathObjectTypeAdapters``): of 0.3 and later, and
of 0.2 where they differ. The format itself is RFC 7946.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.files import write_text
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.json_files import load_json
from napari_cellclass.core.common.limits import limit
from napari_cellclass.core.common.names import clean_name
from napari_cellclass.core.labels.regions import Region, Regions, Ring, signed_area

_MAX_NESTING = 32
_LARGEST = 1e9
_MEMBERS = {"Polygon": 1, "MultiPolygon": 2, "Point": 0, "MultiPoint": 0}
_LEGACY_KINDS = {
    "PathAnnotationObject": "annotation", "PathTileObject": "tile", "PathDetectionObject": "detection",
    "PathCellObject": "cell", "PathRootObject": "root", "TMACoreObject": "tmaCore",
}  # fmt: skip


@dataclass(frozen=True)
class FileCoordinates:
    """How the coordinates of a file map to pixels of the image.

    Parameters
    ----------
    pixel_size
        (y, x) size of a pixel in the file's unit; 1 where its unit is px.
    origin
        (y, x) of the image's upper left corner, in the file's unit.
    """

    pixel_size: tuple[float, float] = (1.0, 1.0)
    origin: tuple[float, float] = (0.0, 0.0)

    def to_px(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert (n, 2) of (x, y) to (y, x) in px with pixel centres on integers.

        Only here half a pixel is subtracted when reading: QuPath has pixel edges on integers.
        """
        return (xy[:, ::-1] - np.array(self.origin)) / np.array(self.pixel_size) - 0.5


def read_geojson(path: Path, coordinates: FileCoordinates | None = None) -> Regions:
    """Read the annotations of a GeoJSON file.

    Parameters
    ----------
    path
        A FeatureCollection, a list of features, one feature, or bare geometries. Children of a feature
        (``childObjects``) are read as regions of their own.
    coordinates
        How its coordinates map to pixels; px from the image's corner, as QuPath writes them, when not given.

    Returns
    -------
    Regions
        With those without a class; damaged features, and lines and empty geometries, which enclose nothing, are
        listed in ``skipped``. A part of a feature that cannot be used costs the whole feature.

    Raises
    ------
    DatasetError
        The file is missing, larger than a limit (``core/common/limits.py``), not GeoJSON, or all of its features are
        damaged; the message names one.
    """
    return parse_regions(load_geojson(path), path, coordinates)


def detect_json_kind(path: Path) -> str:
    """Detect what a JSON file holds, packed or not: ``"geojson"``, ``"coco"``, or ``""``."""
    try:
        content = load_json(path)
    except DatasetError:
        return ""
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, dict):
        return ""
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content):
        return "coco"
    kind = first.get("type")
    named = kind in ("FeatureCollection", "Feature", "GeometryCollection", *_MEMBERS)
    return "geojson" if named and {"features", "geometry", "geometries", "coordinates"} & set(first) else ""


def load_geojson(path: Path) -> Any:
    """Parse a file, packed by gzip or not; errors as of :func:`read_geojson`."""
    return load_json(path)


def parse_regions(content: Any, path: Path, coordinates: FileCoordinates | None = None) -> Regions:
    """Read the regions of a parsed GeoJSON document; ``path`` is for messages only."""
    regions: list[Region] = []
    skipped: list[str] = []
    damaged: list[str] = []
    coordinates = coordinates or FileCoordinates()
    for name, feature in list_features(content, path):
        try:
            _read_feature(name, feature, coordinates, regions, skipped)
        except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
            damaged.append(f"{name}: {error}")
            skipped.append(damaged[-1])
    if damaged and not regions:
        raise DatasetError(f"{path}, {damaged[0]}; correct or remove it")
    if any(region.plane for region in regions):  # QuPath leaves the first plane out
        regions = [replace(one, plane=one.plane or {"Z": 0, "T": 0}) for one in regions]
    return Regions(tuple(regions), tuple(skipped))


def list_features(content: Any, path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """List the features of a document with their names, parents before their children."""
    listed = content
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        listed = content.get("features")
    elif isinstance(content, dict):
        listed = [content]
    if not isinstance(listed, list):
        raise DatasetError(f"{path} contains no features; export a FeatureCollection as GeoJSON")
    found: list[tuple[str, Mapping[str, Any]]] = []
    most = limit("annotation_features")
    pending: list[tuple[str, Any, int]] = [(f"feature {i + 1}", f, 0) for i, f in enumerate(listed)][::-1]
    while pending:
        name, feature, depth = pending.pop()
        if not isinstance(feature, dict):
            found.append((name, {"type": "Feature", "geometry": feature if feature is not None else ""}))
            continue
        if depth > _MAX_NESTING or len(found) >= most:
            raise DatasetError(
                f"{path} has more than {most:,} features or {_MAX_NESTING} levels of children; export fewer"
            )
        feature = feature if feature.get("type") == "Feature" else {"type": "Feature", "geometry": feature}
        found.append((name, feature))
        properties = feature.get("properties")
        if isinstance(properties, dict):
            children = properties.get("childObjects", properties.get("children")) or []
            children = children if isinstance(children, list) else [children]
            pending += [(f"{name}, child {i + 1}", c, depth + 1) for i, c in enumerate(children)][::-1]
    return found


def _read_feature(
    name: str, feature: Mapping[str, Any], to_image: FileCoordinates, regions: list[Region], skipped: list[str]
) -> None:
    properties = feature.get("properties") or {}
    if not isinstance(properties, dict):
        raise ValueError(f"its properties are {str(properties)[:40]!r}, not an object")
    plane: dict[str, int] = {}
    polygons: list[tuple[Ring, ...]] = []
    points = [np.zeros((0, 2))]
    before = len(skipped)
    for geometry in _geometries(feature.get("geometry"), 0):
        kind = geometry.get("type")
        coordinates = geometry.get("coordinates")
        plane |= _plane(geometry.get("plane"))
        if kind not in _MEMBERS and kind not in ("LineString", "MultiLineString"):
            raise ValueError(f"its geometry {kind!r} is not one of GeoJSON's")
        if kind not in _MEMBERS or not coordinates:
            skipped.append(f"{name}: a {kind} that encloses nothing")
        elif _MEMBERS[kind]:
            listed = [coordinates] if kind == "Polygon" else coordinates
            polygons += [tuple(_ring(ring, to_image) for ring in rings) for rings in listed if rings]
        else:
            points.append(to_image.to_px(_positions([coordinates] if kind == "Point" else coordinates)))
    found = np.concatenate(points)
    if not polygons and not len(found):
        if len(skipped) == before:
            skipped.append(f"{name}: it has no geometry")
        return
    class_name, colour = parse_classification(properties)
    regions.append(Region(class_name, colour, tuple(polygons), found, _kind(feature, properties), name, plane))


def _plane(given: Any) -> dict[str, int]:
    """Read the member ``plane`` that QuPath gives a geometry: indices ``z`` and ``t``, from 0."""
    if not isinstance(given, dict):
        return {}
    values = {letter: given.get(letter.lower()) for letter in "ZT"}
    return {letter: int(n) for letter, n in values.items() if isinstance(n, int | float) and 0 <= n < _LARGEST}


def _geometries(geometry: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    if geometry is None:
        return
    if not isinstance(geometry, dict):
        raise ValueError(f"its geometry is not an object, but {str(geometry)[:40]!r}")
    if geometry.get("type") != "GeometryCollection":
        yield geometry
        return
    if depth >= _MAX_NESTING:
        raise ValueError(f"its geometries are nested deeper than {_MAX_NESTING}")
    for member in geometry["geometries"]:
        yield from _geometries(member, depth + 1)


def _positions(listed: Any) -> NDArray[np.float64]:
    if not isinstance(listed, list):
        raise ValueError(f"its coordinates are {str(listed)[:40]!r}, not a list")
    for position in listed:
        pair = position[:2] if isinstance(position, list) else ()
        if len(pair) < 2 or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in pair):
            raise ValueError(f"{str(position)[:40]} is not a position")
    values = np.array([position[:2] for position in listed], np.float64).reshape(-1, 2)
    if np.isnan(values).any():
        raise ValueError("a coordinate is NaN, which is not a number")
    if not (np.abs(values) <= _LARGEST).all():
        raise ValueError(f"a coordinate is beyond {_LARGEST:g}")
    return values


def _ring(listed: Any, to_image: FileCoordinates) -> Ring:
    xy = _positions(listed)
    if len(xy) > 1 and (xy[0] == xy[-1]).all():
        xy = xy[:-1]
    if len(xy) < 3:
        raise ValueError(f"an outline has {counted(len(xy), 'corner')}, but needs 3")
    return to_image.to_px(xy)


def _kind(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    named = next((properties[k] for k in ("objectType", "object_type", "type") if k in properties), None)
    legacy = _LEGACY_KINDS.get(str(feature.get("id")), "annotation")
    return legacy if named is None else _LEGACY_KINDS.get(str(named), str(named))


def parse_classification(properties: Mapping[str, Any]) -> tuple[str, str | None]:
    """Give the class name and colour of a feature's properties: ``color`` of QuPath 0.3, ``colorRGB`` of 0.2."""
    given = parse_json_text(properties.get("classification"))
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, dict):
        return "", None
    name = given.get("name")
    if name is None and isinstance(given.get("names"), list):
        name = ": ".join(map(str, given["names"]))  # a derived class, as QuPath shows it
    colour = next((given[key] for key in ("color", "colour", "colorRGB") if given.get(key) is not None), None)
    return clean_name(name), _hex(colour)


def parse_json_text(value: Any) -> Any:
    """Parse an object that was written as text, as GeoPandas does; any other text is returned as it is."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _hex(colour: Any) -> str | None:
    """Read a colour: packed ARGB, a signed 32-bit number; three numbers to 255, or floats to 1; or #RRGGBB."""
    if isinstance(colour, str) and (match := re.fullmatch("#?([0-9A-Fa-f]{6})", colour.strip())):
        return f"#{match[1].upper()}"
    if isinstance(colour, float) and colour.is_integer():
        colour = int(colour)
    if isinstance(colour, int) and not isinstance(colour, bool):
        return f"#{colour & 0xFFFFFF:06X}"
    if not isinstance(colour, list) or len(colour) < 3:
        return None
    parts = colour[:3]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 255 for v in parts):
        return None
    unit = any(isinstance(v, float) for v in parts) and max(parts) <= 1
    return "#" + "".join(f"{round(v * 255 if unit else v):02X}" for v in parts)


def write_geojson(path: Path, regions: Sequence[Region]) -> None:
    """Write regions as GeoJSON that QuPath opens as annotations with class and colour.

    Coordinates are (x, y) in px with pixel edges on integers. Outlines run counter-clockwise and holes
    clockwise, as RFC 7946 requires.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    content = {"type": "FeatureCollection", "features": [_feature(region) for region in regions]}
    write_text(path, json.dumps(content, allow_nan=False, ensure_ascii=False) + "\n")


def _feature(region: Region) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": region.kind}
    if region.class_name:
        properties["classification"] = class_member(region.class_name, region.colour)
    polygons = [[_closed_ring(ring, 1 if i == 0 else -1) for i, ring in enumerate(rings)] for rings in region.polygons]
    points = (region.points[:, ::-1] + 0.5).tolist()
    members = []
    if polygons:
        members.append(_geometry("Polygon", polygons))
    if points:
        members.append(_geometry("Point", points))
    geometry: dict[str, Any] = (
        members[0] if len(members) == 1 else {"type": "GeometryCollection", "geometries": members}
    )
    if region.plane:
        geometry["plane"] = {"c": -1, "z": region.plane.get("Z", 0), "t": region.plane.get("T", 0)}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def class_member(name: str, colour: str | None) -> dict[str, Any]:
    """Give the member ``classification`` of a class."""
    member: dict[str, Any] = {"name": name}
    if colour is not None and re.fullmatch("#[0-9A-Fa-f]{6}", colour):
        member["color"] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return member


def _geometry(kind: str, listed: list[Any]) -> dict[str, Any]:
    if len(listed) == 1:
        return {"type": kind, "coordinates": listed[0]}
    return {"type": f"Multi{kind}", "coordinates": listed}


def _closed_ring(ring: ArrayLike, orientation: int) -> list[list[float]]:
    corners = np.asarray(ring, float)
    if np.sign(signed_area(corners)) == -orientation:
        corners = corners[::-1]
    xy = [[_short_number(x + 0.5), _short_number(y + 0.5)] for y, x in corners.tolist()]
    return [*xy, xy[0]]


def _short_number(value: float) -> float:
    return int(value) if value == int(value) else value
