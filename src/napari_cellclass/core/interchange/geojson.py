"""QuPath's GeoJSON: annotations read as regions, regions and labels written as annotations.

The member names are those of QuPath (qupath-core, ``qupath.lib.io.PathObjectTypeAdapters``): of 0.3 and later, and
of 0.2 where they differ. The format itself is RFC 7946.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.files import write_text
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.limits import limit, limit_variable
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
        With those without a class; lines and empty geometries, which enclose nothing, are listed in
        ``skipped``.

    Raises
    ------
    DatasetError
        The file is missing, larger than a limit (``core/common/limits.py``), not GeoJSON, contains NaN, or
        one of its features is damaged; the message names it.
    """
    return parse_regions(load_geojson(path), path, coordinates)


def load_geojson(path: Path) -> Any:
    """Parse a file as strict JSON; errors as of :func:`read_geojson`."""
    path = Path(path)

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"it contains {word}, which is not a number")

    try:
        size = path.stat().st_size
        if size > (most := limit("annotation_bytes")):
            raise DatasetError(
                f"{path} has {size:,} bytes; up to {most:,} are read, export less "
                f"or raise {limit_variable('annotation_bytes')}"
            )
        return json.loads(path.read_bytes(), parse_constant=refuse)
    except OSError as error:
        raise DatasetError(f"cannot open {path}: {error.strerror or error}; choose a GeoJSON file") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read as GeoJSON: {error}; export it again") from error


def parse_regions(content: Any, path: Path, coordinates: FileCoordinates | None = None) -> Regions:
    """Read the regions of a parsed GeoJSON document; ``path`` is for messages only."""
    regions: list[Region] = []
    skipped: list[str] = []
    coordinates = coordinates or FileCoordinates()
    for name, feature in list_features(content, path):
        try:
            _read_feature(name, feature, coordinates, regions, skipped)
        except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
            raise DatasetError(f"{path}, {name}: {error}; correct or remove it") from error
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
            raise DatasetError(f"{path}, {name} is not an object but {str(feature)[:40]!r}; export it again")
        if depth > _MAX_NESTING or len(found) >= most:
            raise DatasetError(
                f"{path} has more than {most:,} features or {_MAX_NESTING} levels of children; export fewer"
            )
        feature = feature if feature.get("type") == "Feature" else {"type": "Feature", "geometry": feature}
        found.append((name, feature))
        properties = feature.get("properties")
        if isinstance(properties, dict):
            children = properties.get("childObjects", properties.get("children")) or []
            if not isinstance(children, list):
                raise DatasetError(f"{path}, {name}: its children are not a list; export it again")
            pending += [(f"{name}, child {i + 1}", c, depth + 1) for i, c in enumerate(children)][::-1]
    return found


def _read_feature(
    name: str, feature: Mapping[str, Any], to_image: FileCoordinates, regions: list[Region], skipped: list[str]
) -> None:
    properties = feature.get("properties") or {}
    polygons: list[tuple[Ring, ...]] = []
    points = [np.zeros((0, 2))]
    before = len(skipped)
    for geometry in _geometries(feature.get("geometry"), 0):
        kind = geometry.get("type")
        coordinates = geometry.get("coordinates")
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
    regions.append(Region(class_name, colour, tuple(polygons), found, _kind(feature, properties), name))


def _geometries(geometry: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    if geometry is None:
        return
    if not isinstance(geometry, dict):
        raise ValueError(f"its geometry is {str(geometry)[:40]!r}")
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
    given = properties.get("classification")
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, dict):
        return "", None
    name = given.get("name")
    if name is None and isinstance(given.get("names"), list):
        name = ": ".join(map(str, given["names"]))  # a derived class, as QuPath shows it
    colour = given.get("color", given.get("colorRGB"))
    return ("" if name is None else str(name).strip()), _hex(colour)


def _hex(colour: Any) -> str | None:
    if isinstance(colour, int) and not isinstance(colour, bool):  # packed ARGB, a signed 32-bit number
        return f"#{colour & 0xFFFFFF:06X}"
    if isinstance(colour, list) and len(colour) >= 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in colour[:3]):
        return "#" + "".join(f"{v:02X}" for v in colour[:3])
    return None


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
    geometry = members[0] if len(members) == 1 else {"type": "GeometryCollection", "geometries": members}
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
