"""Pictures for slides of the fields of a folder of results, all with one contrast."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CellClassError, DatasetError, OutputError, ParamsError
from napari_cellclass.core.common.findings import first_few
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.interchange.tile_tables import read_tile_geojson
from napari_cellclass.core.params.slides import SlidesParams
from napari_cellclass.report.figures import read_thinned
from napari_cellclass.report.slides import SlideField, is_shown_as_it_is, save_slide, shared_limits
from napari_cellclass.runs.classify.field_files import GEOJSON, REPORT, channels_of_field, plane_of_field

FOLDER = "slides"
_SUFFIX = "_slide"
_SAMPLED_PX, _SAMPLED_IN_ALL = 40_000, 4_000_000
_CONTRAST_PX = 400  # of a field's longer side, read for the contrast


@dataclass(frozen=True)
class SlidesReport:
    """What was written: files, errors in one line each, and what a user should know."""

    out: Path
    written: tuple[Path, ...]
    failed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResultField:
    """A classified field of a folder of results: its image, and what the names of its tables begin with."""

    image: Path
    stem: str


def export_slides(params: SlidesParams, task: Task = NO_TASK, stems: Collection[str] | None = None) -> SlidesReport:
    """Draw a picture of each field: image beside map, scale bar, legend with counts; see :mod:`report.slides`.

    Grey values shown black and white are the same in all fields that have equally many channels: percentiles 0.5 and
    99.8 of pixels of all of them. RGB images of 8 bits are shown as they are.

    Parameters
    ----------
    params
        As of the command line.
    task
        Reports the pictures; checked between them.
    stems
        Names of the fields to draw, of those that the parameters choose; all when None.

    Raises
    ------
    DatasetError
        The folder holds no results.
    ParamsError
        No field has such a name.
    OutputError
        A picture cannot be written.
    CancelledError
        The task was cancelled; finished pictures stay.
    """
    fields = classified_fields(params.folder, params.fields)
    fields = [one for one in fields if stems is None or one.stem in stems]
    out = params.out or params.folder / FOLDER
    suffixes = (".png", ".svg") if params.format == "both" else (f".{params.format}",)
    images = {field.image.resolve() for field in fields}
    limits = contrast_of(params.folder, fields, task)
    written: list[Path] = []
    failed: list[str] = []
    without_size: list[str] = []
    for field in task.track(fields, "pictures"):
        try:
            source, table = (
                open_field(params.folder, field),
                read_tile_geojson(params.folder / f"{field.stem}{GEOJSON}"),
            )
            slide = SlideField(source, table, limits=limits.get(_kind(source)), title=field.stem)
            for suffix in suffixes:
                path = out / f"{field.stem}{_SUFFIX}{suffix}"
                if path.resolve() in images:
                    raise OutputError(f"{path} is an image that was classified; choose another folder")
                save_slide(slide, path, params.background)
                written.append(path)
        except OutputError:
            raise
        except CellClassError as error:
            failed.append(str(error) if field.stem in str(error) else f"{field.stem}: {error}")
            continue
        if source.pixel_size_um is None:
            without_size.append(field.stem)
    notes = [f"no scale bar, as the pixel size is not known: {first_few(without_size)}"] if without_size else []
    return SlidesReport(out, tuple(written), tuple(failed), tuple(notes))


def classified_fields(folder: Path, pattern: str | None = None) -> list[ResultField]:
    """List the classified fields of a folder of results, whose names match a pattern such as ``B03*``.

    Raises
    ------
    DatasetError
        It holds no results, or no field was classified.
    ParamsError
        No field has such a name.
    """
    try:
        results = json.loads((folder / REPORT).read_text(encoding="utf-8"))["results"]
        found = [ResultField(Path(one["image"]), str(one["stem"])) for one in results if not one["error"]]
    except OSError as error:
        raise DatasetError(
            f"{folder} holds no results of classify ({REPORT}: {error.strerror or error}); give the folder of --out"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{folder / REPORT} is damaged ({error!r}); classify again") from error
    if not found:
        raise DatasetError(f"{folder} holds no classified field; {REPORT} says why")
    if pattern is None:
        return found
    chosen = [one for one in found if fnmatch.fnmatchcase(one.stem.casefold(), pattern.casefold())]
    if not chosen:
        raise ParamsError(f"--fields {pattern!r} matches none of the fields: {first_few([one.stem for one in found])}")
    return chosen


def open_field(folder: Path, field: ResultField) -> SourceImage:
    """Open the plane and channels of a field that its tables were made of.

    Raises
    ------
    ImageError
        The image is missing or cannot be read.
    """
    t, z, scene = plane_of_field(folder, field.stem)
    source = read_image(field.image, t=t, z=z, scene=scene)
    channels = channels_of_field(folder, field.stem)
    return source.select(channels) if channels else source


def contrast_of(folder: Path, fields: Sequence[ResultField], task: Task) -> dict[Any, NDArray[np.float64]]:
    """Return the grey values shown black and white, float (2, C), by what fields have in common to share them."""
    samples: dict[Any, list[NDArray[np.float32]]] = {}
    most = max(256, min(_SAMPLED_PX, _SAMPLED_IN_ALL // len(fields)))
    for field in task.track(fields, "contrast"):
        try:
            source = open_field(folder, field)
            if is_shown_as_it_is(source):
                continue
            pixels = read_thinned(source, _CONTRAST_PX)[0].reshape(-1, source.channels)
        except CellClassError:
            continue  # said when it is drawn
        samples.setdefault(_kind(source), []).append(pixels[:: max(1, -(-len(pixels) // most))])
    return {kind: shared_limits(each) for kind, each in samples.items()}


def _kind(source: SourceImage) -> tuple[int, bool]:
    return source.channels, source.rgb
