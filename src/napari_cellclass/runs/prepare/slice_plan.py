"""Plan which tiles slicing writes: of which images, under which names, in which groups; nothing is written here."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from napari_cellclass.core.common.errors import CellClassError, OutputError, ParamsError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.naming import (
    angle_suffix,
    folder_images,
    natural_sort_key,
    number_width,
    safe_prefix,
    tile_position_suffix,
)
from napari_cellclass.core.datasets.tile_provenance import (
    TILE_LIST,
    TileOrigin,
    TileOrigins,
    empty_tile_list,
    read_tile_list,
)
from napari_cellclass.core.images.reading import is_image, read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.params.prepare import SliceParams
from napari_cellclass.core.plates.inputs import InputField, find_fields, with_plates_opened
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.writing import tile_suffix

_Box = tuple[int, int, int, int]
_NUMBER = re.compile(r"_(\d+)(?:_r\d+_c\d+)?(?:_a[+-]\d+)?$")


@dataclass(frozen=True)
class SliceJob:
    """One image to cut.

    Parameters
    ----------
    path, class_name
        The image, and the sub-folder of its tiles, or empty.
    source, group
        As they will stand in ``tiles.csv``.
    start
        The beginning of its tiles' names, e.g. ``Control_0001``.
    in_place
        Whether the image itself is the tile and only rotated copies are written, beside it.
    origin
        The field that the image itself was cut from, if known.
    replaced
        Files of an earlier slicing, relative to the folder, that are removed when the new ones are there.
    error
        Why it cannot be cut.
    scene
        Which image of the file.
    notes
        What a user should know of it.
    """

    path: Path
    class_name: str
    source: str = ""
    group: str = ""
    start: str = ""
    in_place: bool = False
    origin: TileOrigin | None = None
    replaced: tuple[str, ...] = ()
    error: str = ""
    scene: int = 0
    notes: tuple[str, ...] = ()

    def file(self, params: SliceParams, row: int, col: int, grid: TileGrid, angle: int, suffix: str) -> str:
        """Name a tile, relative to the folder of results, with forward slashes."""
        position = tile_position_suffix(row, col, grid.grid_shape) if is_cut(params) else ""
        return _in_class(self.class_name, f"{self.start}{position}{angle_suffix(angle, params.angles)}{suffix}")


@dataclass(frozen=True, eq=False)
class SlicePlan:
    """All images, and the list of tiles that is in the folder of results already."""

    jobs: tuple[SliceJob, ...]
    listed: pd.DataFrame = field(default_factory=empty_tile_list)
    notes: tuple[str, ...] = ()


def is_cut(params: SliceParams) -> bool:
    """Whether images are cut; without a size, each is a tile itself."""
    return any(size is not None for size in (params.tile_px, params.tile_um, params.tiles))


def open_source(path: Path, params: SliceParams, scene: int | None) -> SourceImage:
    """Open the chosen plane of an image of a file."""
    return read_image(path, t=params.t, z=params.z, scene=scene)


def plan_slices(params: SliceParams, task: Task) -> SlicePlan:
    """Find the images, give their tiles unused names, and check that no file would be overwritten.

    Raises
    ------
    DatasetError, ImageError
        A folder without images.
    OutputError
        A file exists; the first is named. With ``force`` it will be replaced.
    ParamsError
        Tiles would lie among the images that they are cut from.
    """
    out = _out(params)
    listed = read_tile_list(out)
    if listed is None and (out / TILE_LIST).exists():
        raise OutputError(f"{out / TILE_LIST} is a table of another kind; choose another --out")
    listed = empty_tile_list() if listed is None else listed
    images, notes = _fields(params)
    paths = [one.path for _, one in images]
    origins = TileOrigins(folder for path in paths for folder in (path.parent, path.parent.parent))
    namer = _Namer(params, listed, len(images))
    jobs = []
    for done, (class_name, one) in enumerate(images):
        task.check("cancelled before anything was written")
        task.progress("reading images", done, len(images))
        origin = origins.find(one.path)
        if origin is not None and origin.angle:
            continue  # no copies of copies
        jobs.append(namer.job(one, class_name, origin))
    if not jobs:
        raise ParamsError(f"{params.images[0]} holds rotated copies only; give the tiles that they were made from")
    return SlicePlan(tuple(jobs), listed, notes)


class _Namer:
    """Gives every image its number and its tiles their names, each used once."""

    def __init__(self, params: SliceParams, listed: pd.DataFrame, images: int) -> None:
        self._params, self._out = params, _out(params)
        self._cut_before: dict[tuple[str, str], list[tuple[str, _Box]]] = defaultdict(list)
        self._used: dict[str, int] = defaultdict(int)
        self._existing: dict[str, set[str]] = {}
        self._planned: dict[str, Path] = {}
        self._groups = dict(zip(listed["group"], listed["source"], strict=True))
        for row in listed.itertuples(index=False):
            self._cut_before[row.source, row.class_name].append((row.file, (row.y0, row.x0, row.y1, row.x1)))
            match = _NUMBER.search(PurePosixPath(row.file).stem)
            folder = _class_of(row.file)
            self._used[folder] = max(self._used[folder], int(match[1]) if match else 0)
        self._width = number_width(max(self._used.values(), default=0) + images)

    def job(self, one: InputField, class_name: str, origin: TileOrigin | None) -> SliceJob:
        """Return one image its number; an error is noted in the job."""
        path = one.path
        # Images of one file have sources of their own, so that cutting one again leaves the others' tiles.
        part = f"#{one.scene}" if one.name and one.well is None else ""
        source = origin.source if origin else path.resolve().as_posix() + part
        in_place = path.parent.resolve() == (self._out / class_name).resolve()
        if in_place and (is_cut(self._params) or not self._params.angles):
            raise ParamsError(f"--out {self._out} holds the images themselves; choose another folder for the tiles")
        job = SliceJob(path, class_name, source, origin=origin, in_place=in_place)
        try:
            image = open_source(path, self._params, one.scene)
            grid, suffix = self._params.grid(image), tile_suffix(image, self._params.format)
        except CellClassError as error:
            return SliceJob(path, class_name, error=str(error))
        known = () if in_place else self._files_cut_before(job)
        if known and not self._params.force:
            raise OutputError(
                f"{self._out / known[0]} exists, because {path.name} was cut before; --force writes over it"
            )
        job = SliceJob(
            path, class_name, source, self._group(job), self._start(job, known, one.name), in_place, origin, known,
            scene=one.scene, notes=image.notes,
        )  # fmt: skip
        self._claim(job, grid, suffix)
        return job

    def _files_cut_before(self, job: SliceJob) -> tuple[str, ...]:
        """List the files that were cut from this image, or from its part of the field, before."""
        before = self._cut_before.get((job.source, job.class_name), [])
        if job.origin is None:
            return tuple(file for file, _ in before)
        y0, x0, y1, x1 = job.origin.box
        return tuple(f for f, box in before if box[0] >= y0 and box[1] >= x0 and box[2] <= y1 and box[3] <= x1)

    def _group(self, job: SliceJob) -> str:
        if job.origin is not None:
            return job.origin.group
        path = Path(job.source)
        names = (path.name, f"{path.parent.name}/{path.name}", job.source)
        for name in names:
            group = _in_class(job.class_name, name)
            if self._groups.setdefault(group, job.source) == job.source:
                return group
        return job.source

    def _start(self, job: SliceJob, known: tuple[str, ...], name: str) -> str:
        if job.in_place:
            return job.path.stem
        numbers = [_NUMBER.search(PurePosixPath(file).stem) for file in known]
        number = next((int(match[1]) for match in numbers if match), 0)
        if not number:
            self._used[job.class_name] += 1
            number = self._used[job.class_name]
        start = safe_prefix(self._params.prefix or job.class_name or name or job.path.stem)
        return f"{start}_{number:0{self._width}d}"

    def _claim(self, job: SliceJob, grid: TileGrid, suffix: str) -> None:
        """Reserve the names of an image's tiles.

        Raises
        ------
        OutputError, ParamsError
            A file of a name exists, or another image's tile has it.
        """
        folder = self._out / job.class_name
        if job.class_name not in self._existing:
            entries = folder.iterdir() if folder.is_dir() else ()
            self._existing[job.class_name] = {entry.name.casefold() for entry in entries}
        used = self._existing[job.class_name]
        if job.replaced:
            used = used - {PurePosixPath(file).name.casefold() for file in job.replaced}
        angles = self._params.angles if job.in_place else (0, *self._params.angles)
        for row, col in zip(grid.row.tolist(), grid.col.tolist(), strict=True):
            for angle in angles:
                file = job.file(self._params, row, col, grid, angle, suffix)
                if PurePosixPath(file).name.casefold() in used and not self._params.force:
                    raise OutputError(f"{self._out / file} exists; --force writes over it, or choose another --out")
                other = self._planned.setdefault(file.casefold(), job.path)
                if other != job.path:
                    raise ParamsError(f"{other.name} and {job.path.name} would both give {file}; rename one of them")


def _out(params: SliceParams) -> Path:
    if params.out is None:
        raise ParamsError("--out is needed, but was not given; name the folder for the tiles")
    return params.out


def _fields(params: SliceParams) -> tuple[list[tuple[str, InputField]], tuple[str, ...]]:
    """List (class, field) of all given images, each once, in natural order; and what is left out."""
    found: dict[Path, tuple[str, Path]] = {}
    for path in params.images:
        if path.is_dir() and not is_image(path):
            for name, images in folder_images(path, params.out).items():
                found |= {one.resolve(): (params.class_name or name, one) for one in with_plates_opened(images)}
        else:
            found |= {one.resolve(): (params.class_name or "", one) for one in with_plates_opened([path])}
    ordered = sorted(found.values(), key=lambda pair: (pair[0], natural_sort_key(pair[1])))
    fields, notes = find_fields([path for _, path in ordered], params.scene)
    classes = {path: name for name, path in ordered}
    return [(classes[one.path], one) for one in fields], notes


def _in_class(class_name: str, name: str) -> str:
    return f"{class_name}/{name}" if class_name else name


def _class_of(file: str) -> str:
    parent = PurePosixPath(file).parent.as_posix()
    return "" if parent == "." else parent
