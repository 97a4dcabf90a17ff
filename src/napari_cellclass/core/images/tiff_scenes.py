"""The images within a TIFF: those of an OME-TIFF and of its set of files, and those of slide scanners."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_cellclass.core.images.scenes import Scene, SceneKind, kind_of_name

_THUMBNAIL = 4  # a smaller picture of the same shape is this many times smaller, or more


def scenes_in_tiff(tif: Any, path: Path) -> list[Scene]:
    """List the images of an open TIFF; those of an OME-TIFF that lie in other files of its set are marked so."""
    series = list(tif.series)
    if len(series) < 2:
        return [Scene(0, _name(one)) for one in series]
    numbers = ome_image_numbers(tif, path)
    images = _ome_images(tif)
    overviews = _scn_overviews(tif) if getattr(tif, "is_scn", False) else ()
    scenes = []
    for i, one in enumerate(series):
        name = _name(one)
        kind: SceneKind = kind_of_name(name)
        if kind == "field" and (i in overviews):
            kind = "overview"
        elif kind == "field" and not images and _is_thumbnail(one, series):
            kind = "thumbnail"
        if images and numbers[i] < len(images) and not _lies_in(images[numbers[i]], tif, path):
            kind = "image of another file"
        scenes.append(Scene(i, name, kind))
    if all(scene.kind == "image of another file" for scene in scenes):  # renamed, and its id is not its own
        scenes = [Scene(scene.index, scene.name) for scene in scenes]
    return scenes


def ome_image_numbers(tif: Any, path: Path) -> list[int]:
    """Return for each series which ``Image`` of the OME-XML it is; images without any data have no series."""
    count = len(tif.series)
    images = _ome_images(tif)
    if len(images) <= count:
        return list(range(count))
    there = [i for i, image in enumerate(images) if _lies_in(image, tif, path) or _exists(image, path)]
    return there if len(there) == count else list(range(count))


def own_indices(tif: Any, series: Any, axes: str, lengths: Sequence[int]) -> dict[str, list[int]]:
    """Return which indices of each axis of pages lie in the file itself, where other files of its set hold the rest.

    Returns
    -------
    dict
        Empty where the file holds all, or where another file's image was chosen.
    """
    if series.dataoffset is not None or not axes:
        return {}
    pages = list(series.pages)
    own = np.array([page is not None and page.parent is tif for page in pages], bool)
    foreign = any(page is not None and page.parent is not tif for page in pages)
    if not own.any() or not foreign or own.size != math.prod(lengths):
        return {}
    own = own.reshape(tuple(lengths))
    found = {}
    for axis, letter in enumerate(axes):
        others = tuple(i for i in range(own.ndim) if i != axis)
        found[letter] = np.flatnonzero(own.any(axis=others)).tolist()
    return found


def own_note(own: Mapping[str, Sequence[int]], sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Say what of its set a file holds; empty where it holds all."""
    parts = [f"{len(at)} of {sizes[axis]} along {axis}" for axis, at in own.items() if len(at) < sizes[axis]]
    return (f"the file is one of a set and holds {', '.join(parts)}; only these are read",) if parts else ()


def _name(series: Any) -> str:
    name = str(getattr(series, "name", "") or "")
    return "" if name.casefold() in ("baseline", "unknown") else name


def _ome_images(tif: Any) -> list[ElementTree.Element]:
    if not tif.is_ome:
        return []
    try:
        return ElementTree.fromstring(tif.ome_metadata or "").findall("{*}Image")
    except ElementTree.ParseError:
        return []


def _lies_in(image: ElementTree.Element, tif: Any, path: Path) -> bool:
    """Return whether some plane of an image is in the file itself."""
    uuids = image.findall("{*}Pixels/{*}TiffData/{*}UUID")
    if not uuids or len(uuids) < len(image.findall("{*}Pixels/{*}TiffData")):
        return True
    try:
        own = ElementTree.fromstring(tif.ome_metadata or "").attrib.get("UUID")
    except ElementTree.ParseError:
        own = None
    if own is not None:
        return any((uuid.text or "").strip() == own for uuid in uuids)
    return any(uuid.attrib.get("FileName", "").casefold() == path.name.casefold() for uuid in uuids)


def _exists(image: ElementTree.Element, path: Path) -> bool:
    names = {uuid.attrib.get("FileName", "") for uuid in image.findall("{*}Pixels/{*}TiffData/{*}UUID")}
    return any(name and (path.parent / name).exists() for name in names)


def _is_thumbnail(one: Any, series: list[Any]) -> bool:
    """Return whether a page is marked as reduced, or is a much smaller picture of the same shape as another one."""
    key = one.keyframe
    if int(getattr(key, "subfiletype", 0) or 0) & 1:
        return True
    height, width = int(key.imagelength), int(key.imagewidth)
    largest = max((s.keyframe for s in series), key=lambda k: int(k.imagelength) * int(k.imagewidth))
    tall, wide = int(largest.imagelength), int(largest.imagewidth)
    if height * _THUMBNAIL > tall or width * _THUMBNAIL > wide:
        return False
    return abs(height * wide - width * tall) <= max(wide, tall)  # one pixel of rounding


def _scn_overviews(tif: Any) -> tuple[int, ...]:
    """Return which images of Leica's SCN show the whole glass."""
    try:
        root = ElementTree.fromstring(tif.pages.first.description)
    except ElementTree.ParseError:
        return ()
    found, index = [], 0
    for collection in root.findall("{*}collection"):
        whole = collection.attrib.get("sizeX"), collection.attrib.get("sizeY")
        for image in collection.findall("{*}image"):
            view = image.find("{*}view")
            if view is not None and (view.attrib.get("sizeX"), view.attrib.get("sizeY")) == whole:
                found.append(index)
            index += len(image.findall("{*}pixels"))
    return tuple(found)
