"""Parameters of the verbs that prepare tiles: slice and check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.params.shared import PlaneParams, ReportingParams, TileParams
from napari_cellclass.core.tiles.background import BackgroundRule
from napari_cellclass.core.tiles.rotation import parse_angles
from napari_cellclass.core.tiles.writing import TileFormat


class SliceParams(TileParams, PlaneParams, ReportingParams):
    """Cut images into tiles with sortable names, also rotated, or number the images of a folder."""

    verb = "slice"

    images: Annotated[list[Path], "positional"] = Field(
        min_length=1, description="images, folders of images, or folders with one sub-folder per class"
    )
    out: Path | None = Field(
        None, description="folder for the tiles and tiles.csv; that of the images to put rotated copies beside them"
    )
    rotate: str | None = Field(
        None, description="LO:HI, also write copies rotated by each of these angles (degrees), without 0, e.g. -5:5"
    )
    background: BackgroundRule = Field(
        "none",
        description="drop background tiles, by mean, variance, fraction of tissue (otsu) or sharpness (focus)",
    )
    background_limit: float | None = Field(
        None,
        allow_inf_nan=False,
        description="lowest score of a tile that is kept; when not given, mean 0.05 and variance 0.0025 (of the "
        "field's grey range), otsu 0.1 (of the tile), focus a quarter of the field's median",
    )
    format: TileFormat = Field("auto", description="file format; auto: PNG where it can hold the pixels, else TIFF")
    prefix: str | None = Field(
        None, min_length=1, max_length=100, description="beginning of the file names; the class or image when not given"
    )
    class_name: str | None = Field(None, min_length=1, max_length=100, description="class of all the images given")
    force: bool = Field(False, description="overwrite files that exist")
    rename: bool = Field(False, description="do not cut, but number the images of one folder in place")
    undo: bool = Field(False, description="restore the names that the images had before the last --rename")

    @property
    def angles(self) -> tuple[int, ...]:
        """Degrees of the rotated copies."""
        return parse_angles(self.rotate)

    @field_validator("rotate")
    @classmethod
    def _range_of_degrees(cls, value: str | None) -> str | None:
        try:
            parse_angles(value)
        except ParamsError as error:
            raise ValueError(str(error).removeprefix(f"{value!r} ")) from error
        return value

    @field_validator("class_name")
    @classmethod
    def _name_of_a_folder(cls, value: str | None) -> str | None:
        if value is not None and (set(value) & set('<>:"/\\|?*') or value.strip(" .") != value):
            raise ValueError('it becomes a folder, whose name can neither hold < > : " / \\ | ? * nor end in a dot')
        return value

    @model_validator(mode="after")
    def _one_job(self) -> SliceParams:
        if not (self.rename or self.undo):
            if self.out is None:
                raise ValueError("--out is needed, but was not given; name the folder for the tiles")
            if self.background_limit is not None and self.background == "none":
                raise ValueError("--background-limit was given without --background; say which rule it belongs to")
            return self
        verb = "--undo" if self.undo else "--rename"
        allowed = {"images", "rename", "undo", "progress", "quiet"} | ({"prefix"} if not self.undo else set())
        other = sorted(self.model_fields_set - allowed)
        if other:
            raise ValueError(f"{verb} cuts nothing, so --{other[0].replace('_', '-')} has no use; drop it")
        if len(self.images) != 1:
            raise ValueError(f"{verb} takes one folder, but {len(self.images)} were given")
        return self


class CheckParams(TileParams, PlaneParams, ReportingParams):
    """Check class folders or listed tiles before training: what is excluded, and what makes results misleading."""

    verb = "check"

    data: Annotated[Path, "positional"] = Field(
        description="folder with one sub-folder per class, or TILES.csv: path,y0,x0,y1,x1,class_name[,group]"
    )
    out: Path | None = Field(None, description="also write the report as JSON")
    label_errors: Path | None = Field(
        None,
        description="also rank the labels by how likely they are wrong, and write them to this file, e.g. "
        "label_errors.csv; by leave-one-group-out cross-validation of linear models on pretrained features",
    )
    group_by: str | None = Field(
        None,
        description="regular expression on the file name; its first group names the split's group, e.g. a well",
    )
