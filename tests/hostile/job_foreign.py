"""Files of other programs in many variants, most of them odd: GeoJSON, COCO, CSV, Zarr and OME-XML from a seed."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpus
import numpy as np
import tifffile
import watch as watching
import zarr

from napari_cellclass.core.images.reading import list_scenes, read_image
from napari_cellclass.core.images.units import size_in_um
from napari_cellclass.core.interchange.coco import read_coco
from napari_cellclass.core.interchange.geojson import detect_json_kind, read_geojson
from napari_cellclass.core.interchange.label_files import read_napari_shapes
from napari_cellclass.core.labels.points_and_boxes import read_boxes_csv, read_points_csv
from napari_cellclass.core.plates.inputs import find_fields, find_images
from napari_cellclass.core.plates.wells import site_in_name, well_in_name

NAMES = ("A", "nan", "NA", "null", "True", "01", "a|b", "(unsure)", "Za\u0308hne", "", " ", "=1+1", "\0", "x" * 300)
UNITS = ("µm", "μm", "micrometers", "nm", "pixel", "", "furlong", "m\0", "Å", "per", "/", "1e9", "µ" * 400)
FORMS = ("{}", "{:.1f}", "{},5", " {} ", "-{}", "1.{:03d},5", "{}e2")
WELLS = (
    "a01",
    "B - 03(fld 02 wv DAPI)",
    "r02c03f01",
    "A1B2C3",
    "s1",
    "w1",
    "6B5ED4A0-B2CC-477F-8F4A-0F4A1B2C3D4E",
    "P32",
)


def number(rng: random.Random) -> Any:
    """Give a number, or what stands for one."""
    if rng.random() < 0.75:
        return rng.choice((rng.randint(-9, 60), rng.uniform(0, 60)))
    return rng.choice((*corpus.STRANGE, "1,5", "12", float("-inf")))


def position(rng: random.Random) -> Any:
    return [number(rng) for _ in range(rng.choice((2, 2, 2, 2, 3, 1, 0)))]


def geometry(rng: random.Random, depth: int = 0) -> Any:
    """Give a geometry, whole or odd."""
    ring = [position(rng) for _ in range(rng.choice((4, 5, 5, 6, 2, 0)))]
    kinds = {
        "Polygon": [ring], "MultiPolygon": [[ring], [ring]], "Point": position(rng), "MultiPoint": ring,
        "LineString": ring, "Circle": ring,
    }  # fmt: skip
    kind = rng.choice([*kinds, "Polygon", "Polygon"])
    if rng.random() < 0.1 and depth < 40:
        return {"type": "GeometryCollection", "geometries": [geometry(rng, depth + 1)]}
    found: dict[str, Any] = {"type": kind, "coordinates": kinds[kind]}
    if rng.random() < 0.3:
        found["plane"] = rng.choice(({"z": number(rng), "t": number(rng)}, number(rng)))
    return found if rng.random() < 0.95 else number(rng)


def geojson(rng: random.Random) -> bytes:
    features = []
    for _ in range(rng.randint(0, 5)):
        name = rng.choice(NAMES)
        colour = rng.choice(([200, 0, 0], [0.5, 1.0, 0.0], -3670016, "#112233", number(rng), [number(rng)] * 3))
        classification = rng.choice(({"name": name, "color": colour}, name, json.dumps({"name": name}), number(rng)))
        properties = {"classification": classification, "measurements": {"area": number(rng)}, "objectType": "tile"}
        features.append({"type": "Feature", "geometry": geometry(rng), "properties": properties})
    content = rng.choice((features, {"type": "FeatureCollection", "features": features}, *features[:1]))
    data = json.dumps(content).encode()
    return gzip.compress(data) if rng.random() < 0.2 else data


def coco(rng: random.Random) -> bytes:
    images = [{"id": rng.choice((i, str(i), number(rng))), "file_name": f"set{i % 2}\\{i // 2}.png"} for i in range(4)]
    categories = [{"id": rng.choice((i, str(i))), "name": rng.choice(NAMES), "colour": "#112233"} for i in range(3)]
    annotations = [
        {"id": i, "image_id": rng.choice((0, "1", 2.0)), "category_id": rng.choice((0, "1", 9, None)),
         "bbox": [number(rng) for _ in range(rng.choice((4, 4, 4, 3)))]}
        for i in range(rng.randint(0, 6))
    ]  # fmt: skip
    content = {"images": images, "categories": categories, "annotations": annotations}
    if rng.random() < 0.1:
        content.pop(rng.choice(list(content)))
    return json.dumps(content).encode()


def table(rng: random.Random, columns: list[str]) -> bytes:
    """Give a table of text in any dialect, with odd cells, rows and line ends."""
    separator = rng.choice(",;\t")
    rows = [list(columns)]
    for i in range(rng.randint(0, 8)):
        row = []
        for column in columns:
            if column in ("class", "class_name"):
                row.append(rng.choice(NAMES))
            elif column == "shape-type":
                row.append(rng.choice(("polygon", "ellipse", "line", "x")))
            elif column == "image":
                row.append(rng.choice(("a.png", "x\\a.png", "a", "b.ome.tif")))
            else:
                row.append(
                    rng.choice(FORMS).format(rng.randint(0, 60)) if rng.random() < 0.9 else str(number(rng))[:400]
                )
        rows.append(row if rng.random() < 0.9 else row[: rng.randint(0, len(row))] + [""] * rng.randint(0, 5))
        if rng.random() < 0.1:
            rows.append([""] * i)
    cells = [[f'"{cell}"' if separator in cell or rng.random() < 0.1 else cell for cell in row] for row in rows]
    text = rng.choice(("\n", "\r\n", "\r")).join(separator.join(row) for row in cells)
    text = f"sep={separator}\n{text}" if rng.random() < 0.1 else text
    content = text.encode(rng.choice(("utf-8", "utf-8-sig", "utf-16")))
    return content if rng.random() < 0.9 else corpus.spoil(content, rng)


def ome_tiff(path: Path, rng: random.Random) -> None:
    """Write an OME-TIFF whose XML may say other things than its pixels."""
    images = ""
    for i in range(rng.randint(1, 3)):
        name, unit = rng.choice(("scan", "macro", "label", "a")), rng.choice(UNITS).replace("\0", "")
        other, own = '<UUID FileName="none.ome.tif">urn:uuid:1</UUID>', f'<UUID FileName="{path.name}">u</UUID>'
        file, size = rng.choice(("", other, own)), rng.choice(("0,5", "0.5", "-1", "x", "1e400"))
        order, width = rng.choice(("XYZCT", "XYCTZ")), rng.choice((16, 16, 8))
        depth, times = rng.choice((1, 1, 2, 0)), rng.choice((1, 2))
        images += (
            f'<Image ID="Image:{i}" Name="{name}"><Pixels ID="Pixels:{i}" DimensionOrder="{order}" '
            f'Type="uint8" SizeX="{width}" SizeY="16" SizeZ="{depth}" SizeC="1" SizeT="{times}" PhysicalSizeX="{size}" '
            f'PhysicalSizeXUnit="{unit}"><Channel ID="Channel:{i}:0" SamplesPerPixel="1"/>'
            f'<TiffData IFD="{rng.choice((i, 0, 9))}" PlaneCount="1">{file}</TiffData></Pixels></Image>'
        )
    uuid = rng.choice(("", ' UUID="u"', ' UUID="urn:uuid:1"'))
    xml = f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{uuid}>{images}</OME>'
    xml = xml if rng.random() < 0.9 else xml[: rng.randint(0, len(xml))]
    with tifffile.TiffWriter(path) as writer:
        for i in range(rng.randint(1, 3)):
            writer.write(
                np.full((16, 16), i, np.uint8), description=xml.encode("utf-8") if i == 0 else None, metadata=None,
                contiguous=False,
            )  # fmt: skip


def ome_zarr(path: Path, rng: random.Random) -> None:
    """Write a Zarr group, image, container or plate, with metadata that may be odd."""
    shutil.rmtree(path, ignore_errors=True)
    root = zarr.open_group(path, mode="w", zarr_format=rng.choice((2, 3)))
    axes = [
        {"name": n, "type": "space", "unit": rng.choice(UNITS)}
        for n in rng.choice(("yx", "yx", "yx", "xy", "y", "zyx"))
    ]
    level = {
        "path": rng.choice(("0", "0", "0", "0", "1", "")),
        "coordinateTransformations": [{"type": "scale", "scale": [0.5, 1]}],
    }
    image = {"multiscales": [{"axes": axes, "datasets": [level], "name": rng.choice(("scan", "macro"))}]}
    kind = rng.choice(("image", "container", "plate", "nothing"))
    places = {"image": [""], "container": ["0", "1"], "plate": ["A/1/0", "B/2/0"], "nothing": []}[kind]
    for place in places:
        group = root.require_group(place) if place else root
        group.create_array("0", data=np.zeros((16, 16), np.uint8))
        group.attrs.update(rng.choice((image, {"ome": image})))
    if kind == "container":
        root.attrs["bioformats2raw.layout"] = 3
    if kind == "plate":
        wells = [{"path": rng.choice(("A/1", "B/2", "C/3", "x")), "rowIndex": rng.choice((0, 9)), "columnIndex": 0}]
        root.attrs["plate"] = {"rows": [{"name": "A"}], "columns": [{"name": "1"}], "wells": wells}
        root["A/1"].attrs["well"] = {"images": [{"path": rng.choice(("0", "7"))}]}
    for file in rng.sample(sorted(p for p in path.rglob("*") if p.is_file()), 1):
        if rng.random() < 0.5:
            file.write_bytes(corpus.spoil_json(file.read_bytes(), rng))


def look(path: Path) -> None:
    """List the fields of an image file or plate, and read some pixels of each."""
    fields, _ = find_fields(find_images([path]))
    for field in fields:
        read_image(field.path, scene=field.scene).read(0, 0, 4, 4)
    list_scenes(path)
    read_image(path).read(0, 0, 4, 4)


def job(watch: watching.Watch, folder: Path, rng: random.Random, count: int) -> None:
    """Use ``count`` files of other programs."""
    watching.limit_memory()
    points = ["image", "x", "y", "class"]
    shapes = ["index", "shape-type", "vertex-index", "axis-0", "axis-1", "class_name"]
    texts: dict[str, tuple[str, Callable[[random.Random], bytes], Callable[[Path], Any]]] = {
        "geojson": ("a.geojson", geojson, read_geojson), "json": ("a.json", geojson, detect_json_kind),
        "coco": ("a.coco.json", coco, lambda path: read_coco(path, rng.choice(("0.png", "set1/0.png", "9.png")))),
        "points": ("p.csv", lambda r: table(r, points), lambda path: read_points_csv(path, "a.tif")),
        "boxes": ("b.csv", lambda r: table(r, ["x0", "y0", "x1", "y1", "class"]), read_boxes_csv),
        "napari points": ("n.csv", lambda r: table(r, ["index", "axis-0", "axis-1", "axis-2"]), read_points_csv),
        "napari shapes": ("s.csv", lambda r: table(r, shapes), read_napari_shapes),
    }  # fmt: skip
    for number_ in range(count):
        kind = rng.choice([*texts, "ome-tiff", "ome-zarr", "names"])
        if kind == "names":
            name, value = "_".join(rng.sample(WELLS, 3)) + ".tif", str(number(rng))[:400]
            watch.run("names", str(number_), lambda name=name: (well_in_name(name), site_in_name(name)))
            watch.run("units", str(number_), lambda value=value: size_in_um(value, 1, rng.choice(UNITS), "µm"))
            continue
        if kind in ("ome-tiff", "ome-zarr"):
            path = folder / ("set.ome.tif" if kind == "ome-tiff" else "image.zarr")
            (ome_tiff if kind == "ome-tiff" else ome_zarr)(path, rng)
            watch.run(kind, str(number_), lambda path=path: look(path))
            continue
        name, make, use = texts[kind]
        (folder / name).write_bytes(make(rng))
        watch.run(kind, str(number_), lambda use=use, path=folder / name: use(path))


if __name__ == "__main__":
    watching.main(job)
