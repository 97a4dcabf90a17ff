"""What a project holds beside its labels: fields, grid settings, versions of the model, maps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SerializationInfo,
    ValidationInfo,
    field_validator,
)
from pydantic import Field as Constrained

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.tiles.grid import EdgeRule, TileGrid

FOLDER = "folder"
"""The folder of the project file, in the context of validation and serialisation."""


def _read_path(value: Any, info: ValidationInfo) -> Any:
    """Find a stored path: relative to the project file where something is there, else where it was before."""
    if value is None or isinstance(value, Path):
        return value
    folder: Path = (info.context or {})[FOLDER]
    relative, absolute = value["relative"], Path(str(value["absolute"]))
    beside = absolute if relative is None else Path(os.path.normpath(folder / PurePosixPath(str(relative))))
    return beside if is_there(beside) or not is_there(absolute) else absolute


def is_there(path: Path) -> bool:
    """Return whether a path leads to something that can be looked at; a name that no file can have does not."""
    try:
        return path.exists()
    except OSError:
        return False


def _write_path(value: Path | None, info: SerializationInfo) -> Any:
    if value is None or not isinstance(info.context, dict):
        return value
    folder: Path = info.context[FOLDER]
    try:
        relative = Path(os.path.relpath(value, folder)).as_posix()
    except ValueError:  # another drive of Windows
        return {"relative": None, "absolute": str(value)}
    return {"relative": relative, "absolute": str(value)}


StoredPath = Annotated[Path, BeforeValidator(_read_path), PlainSerializer(_write_path)]
"""A path that is absolute in memory; in the file relative to it, and absolute for where that leads nowhere."""

_Index = Annotated[int, Constrained(ge=0)]
_Side = Annotated[int, Constrained(ge=1, le=65536)]


class Record(BaseModel):
    """Base of all records: frozen; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Field(Record):
    """One plane of an image of a project, with the channels that are used.

    Parameters
    ----------
    key
        Names the field in labels and maps; never changes.
    image_id
        Hash of its pixels, see :attr:`SourceImage.image_id`.
    name
        What it is called, usually the file's name.
    path
        The image, or None where it is of no file.
    file_bytes
        Size of the file, by which a moved one is found; None where it is not known.
    channels
        Indices of the channels used; empty for all.
    t, z, scene
        The plane, see :func:`~napari_cellclass.core.images.reading.read_image`.
    group, condition
        Given by hand; None where the project's rules say them.
    """

    key: Annotated[str, Constrained(min_length=1, max_length=200)]
    image_id: str
    name: str
    path: StoredPath | None = None
    file_bytes: int | None = None
    channels: tuple[int, ...] = ()
    t: _Index = 0
    z: _Index = 0
    scene: _Index = 0
    group: str | None = None
    condition: str | None = None

    @property
    def image(self) -> ImageKey:
        """The field as labels name it."""
        return ImageKey(self.key, self.name, self.path)

    @property
    def is_missing(self) -> bool:
        """Whether its file is not where it was."""
        return self.path is not None and not is_there(self.path)

    def read(self, path: Path) -> SourceImage:
        """Open the plane and channels of this field from a file.

        Raises
        ------
        ImageError
            The file cannot be read, or has no such plane or channel.
        """
        source = read_image(path, t=self.t, z=self.z, scene=self.scene)
        return source.select(self.channels) if self.channels else source


class GridSettings(Record):
    """How the fields of a project are cut into tiles.

    Parameters
    ----------
    tile_px
        (height, width) of a tile in px; None until it has been chosen.
    overlap
        Fraction of a tile that its neighbour shares.
    edge
        The edge rule.
    """

    tile_px: tuple[_Side, _Side] | None = None
    overlap: Annotated[float, Constrained(ge=0, le=0.95)] = 0.0
    edge: EdgeRule = "drop"

    @field_validator("tile_px", mode="before")
    @classmethod
    def _square(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int) else value

    def fits(self, layout: Mapping[str, Any]) -> bool:
        """Return whether a grid, as :func:`~napari_cellclass.core.tiles.grid_layout.grid_layout` describes it, is this.

        Without a tile size any is.
        """
        if self.tile_px is None:
            return True
        step = [max(1, round(side * (1 - self.overlap))) for side in self.tile_px]
        return [*layout["tile_px"]] == [*self.tile_px] and [*layout["step_px"]] == step and layout["edge"] == self.edge

    def lay(self, image_shape: tuple[int, int]) -> TileGrid:
        """Lay the grid over a field of (height, width) px.

        Raises
        ------
        GridError
            The tile does not fit the field.
        ValueError
            No tile size has been chosen.
        """
        if self.tile_px is None:
            raise ValueError("no tile size has been chosen")
        return TileGrid.regular(image_shape, self.tile_px, self.overlap, self.edge)


class Score(Record):
    """A balanced accuracy with its 95 % confidence interval, and what it was measured on.

    Parameters
    ----------
    value, lo, hi
        Balanced accuracy and the ends of the interval, 0..1; ``lo`` and ``hi`` None where there are too few groups.
    n, groups
        Validation tiles and groups.
    """

    value: float
    lo: float | None = None
    hi: float | None = None
    n: int
    groups: int

    def __str__(self) -> str:
        bounds = "" if self.lo is None or self.hi is None else f" ({self.lo:.2f} to {self.hi:.2f})"
        return f"{self.value:.2f}{bounds}, {counted(self.n, 'tile')} of {counted(self.groups, 'group')}"


class ModelVersion(Record):
    """One trained model of a project.

    Parameters
    ----------
    version
        Counts from 1.
    path, model_id, sha256
        Its file and hashes, see :class:`~napari_cellclass.core.models.bundle.ModelBundle`.
    classes
        Their names in the order of the network's outputs.
    tile_px
        (height, width) of a tile in px.
    tiles
        How many it was trained on.
    groups
        Those whose tiles it was trained on.
    images
        Content hashes of the images with these tiles.
    score
        On the validation tiles; None where the model has none.
    created
        When, ISO 8601.
    """

    version: Annotated[int, Constrained(ge=1, le=999_999)]
    path: StoredPath
    model_id: str
    sha256: str
    classes: tuple[str, ...]
    tile_px: tuple[int, int]
    tiles: int
    groups: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    score: Score | None = None
    created: str = ""

    @classmethod
    def of(cls, bundle: ModelBundle, version: int) -> Self:
        """Describe a model by what its file says.

        Raises
        ------
        ModelError
            The file is damaged.
        """
        manifest, split = bundle.manifest, bundle.table("split.csv")
        trained = split[split["split"] == "train"] if {"split", "group", "path"} <= set(split.columns) else split[:0]
        ids = {str(one.get("path")): str(one.get("id")) for one in manifest.data.get("images") or []}
        found = set(trained["path"].astype(str)) if len(trained) else set()
        return cls(
            version=version,
            path=bundle.path.absolute(),
            model_id=bundle.model_id,
            sha256=bundle.sha256,
            classes=bundle.scheme.names,
            tile_px=manifest.tile_px,
            tiles=len(trained),
            groups=tuple(sorted(set(trained["group"].astype(str)))) if len(trained) else (),
            images=tuple(sorted(ids[path] for path in found if path in ids)),
            score=_score(bundle),
            created=manifest.created,
        )


def _score(bundle: ModelBundle) -> Score | None:
    found: Any = bundle.evaluation().get("validation")
    try:
        value = found["balanced_accuracy"]
        return Score(value=value["value"], lo=value["lo"], hi=value["hi"], n=found["n"], groups=found["groups"])
    except (KeyError, TypeError, ValueError):
        return None


class MapRecord(Record):
    """The predictions of one model for a field.

    Parameters
    ----------
    field
        The field's key.
    t, z, scene
        The plane.
    grid_key
        Text id of the grid.
    model_id
        The model that made it.
    path
        Its ``FIELD.tiles.csv``.
    sha256
        Of that file.
    created
        When, ISO 8601.
    """

    field: str
    t: int = 0
    z: int = 0
    scene: int = 0
    grid_key: str
    model_id: str
    path: StoredPath
    sha256: str
    created: str = ""


class Rules(Record):
    """Regular expressions on the names of fields, whose first group names the split's group or the condition."""

    group_by: str | None = None
    condition_by: str | None = None
