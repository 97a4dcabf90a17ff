"""Parameters that several verbs share: tiles, planes, reporting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from napari_cellclass.core.common.errors import GridError, ParamsError
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.params.base import Params
from napari_cellclass.core.tiles.grid import EdgeRule, TileGrid

EngineName = Literal["auto", "openvino", "tensorflow"]
PrecisionName = Literal["f32", "int8"]
ProgressStyle = Literal["bar", "jsonl", "none"]
ColourName = Literal["auto", "rgb", "channels"]
ScalingName = Literal["imagenet", "unit", "byte"]
"""Values that a user's backbone takes: with ImageNet's mean and standard deviation taken out, 0 to 1, or 0 to 255."""


class TileParams(Params):
    """How a field is cut into tiles; at most one of the sizes may be given."""

    overrides: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "tile_px": ("tile_um", "tiles"),
        "tile_um": ("tile_px", "tiles"),
        "tiles": ("tile_px", "tile_um"),
    }
    tile_px: int | None = Field(None, ge=1, le=65536, description="side of a tile in px")
    tile_um: float | None = Field(None, gt=0, description="side of a tile in µm, where the pixel size is known")
    tiles: int | None = Field(None, ge=1, description="cut each field into about N equal tiles")
    overlap: float = Field(0.0, ge=0, le=0.95, description="fraction of a tile that is shared with its neighbour")
    edge: EdgeRule = Field(
        "drop", description="incomplete tiles at the edge: drop them, pad them, or shift the last tile back"
    )

    @model_validator(mode="after")
    def _one_size(self) -> TileParams:
        given = [n for n in ("tile_px", "tile_um", "tiles") if getattr(self, n) is not None]
        if len(given) > 1:
            flags = " and ".join("--" + name.replace("_", "-") for name in given)
            raise ValueError(f"{flags} were both given; a tile has one size, so give only one of them")
        return self

    def grid(self, image: SourceImage, default_px: tuple[int, int] | None = None) -> TileGrid:
        """Lay the grid over an image.

        Parameters
        ----------
        image
            The field; its pixel size serves ``tile_um``.
        default_px
            (height, width) of a tile where no size is given; None for one tile of the size of the image.

        Raises
        ------
        GridError
            The tile does not fit the field.
        ParamsError
            ``tile_um`` is given, but the image has no pixel size.
        """
        if self.tiles is not None:
            return TileGrid.from_tile_count(image.shape, self.tiles)
        size: int | tuple[int, int] = default_px or image.shape
        if self.tile_px is not None:
            size = self.tile_px
        elif self.tile_um is not None:
            if image.pixel_size_um is None:
                raise ParamsError(
                    f"{image.name} has no pixel size, so a tile of {self.tile_um} µm cannot be converted to px; "
                    f"use --tile-px{''.join(f' ({note})' for note in image.notes if 'pixel' in note)}"
                )
            size = (
                round(self.tile_um / image.pixel_size_um[0]),
                round(self.tile_um / image.pixel_size_um[1]),
            )
        try:
            return TileGrid.regular(image.shape, size, self.overlap, self.edge)
        except GridError as error:
            raise GridError(f"{image.name}: {error}") from error


class ReportingParams(Params):
    """How a long verb reports its progress."""

    progress: ProgressStyle = Field(
        "bar", description="how progress is shown: a bar, JSON lines on standard output, or not at all"
    )
    quiet: bool = Field(False, description="print nothing but errors")


class BackboneParams(Params):
    """A network of the user's, in the place of the pretrained backbone."""

    backbone: Path | None = Field(
        None,
        description="a network of your own as pretrained backbone: .onnx or .keras, from an image to maps or numbers",
    )
    backbone_values: ScalingName | None = Field(
        None,
        description="values that it takes: 0 to 1, 0 to 255, or with ImageNet's mean and standard deviation taken out; "
        "imagenet for .onnx and unit for .keras when not given, byte for .keras that rescales itself",
    )
    backbone_px: int | None = Field(
        None, ge=8, le=4096, description="side of its input in px, where it takes any; 224 when not given"
    )

    @model_validator(mode="after")
    def _has_backbone(self) -> BackboneParams:
        for name in ("backbone_values", "backbone_px"):
            if self.backbone is None and getattr(self, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} belongs to a network of yours; give it with --backbone")
        return self


class PlaneParams(Params):
    """Which plane of a stack is used."""

    t: int = Field(0, ge=0, description="time point of a time series")
    z: int = Field(0, ge=0, description="plane of a Z stack")
    scene: int | None = Field(
        None, ge=0, description="image within a file that holds several, from 0; all fields in it when not given"
    )


class PlaneRangeParams(Params):
    """Which planes of a stack are used, one or more."""

    t: Annotated[str, BeforeValidator(str)] = Field(
        "0", description="time points of a time series: one, LO:HI without HI, e.g. 0:10, or all"
    )
    z: Annotated[str, BeforeValidator(str)] = Field(
        "0", description="planes of a Z stack: one, LO:HI without HI, or all"
    )
    scene: int | None = Field(
        None, ge=0, description="image within a file that holds several, from 0; all fields in it when not given"
    )

    @field_validator("t", "z")
    @classmethod
    def _planes(cls, value: str) -> str:
        if not re.fullmatch(r"\s*(all|\d{1,9}|\d{0,9}:\d{0,9})\s*", value):
            raise ValueError("it is no plane; write a number from 0, a range such as 0:10, or all")
        return value.strip()

    @property
    def many_planes(self) -> str:
        """Letters of the axes along which several planes may be used: ``""``, ``"T"``, ``"Z"`` or ``"TZ"``."""
        return "".join(axis for axis, text in (("T", self.t), ("Z", self.z)) if not text.isdecimal())

    @property
    def first_plane(self) -> tuple[int, int]:
        """(t, z) of the plane where there is one, else of the first."""
        return planes_of(self.t, 1)[0], planes_of(self.z, 1)[0]


def planes_of(text: str, length: int) -> list[int]:
    """List the indices that a choice of planes means along an axis of a length.

    A single index is returned as it is, even where the axis is shorter; a range is cut to the axis.
    """
    if text.isdecimal():
        return [int(text)]
    low, _, high = ("", ":", "") if text == "all" else text.partition(":")
    found = list(range(int(low or 0), min(int(high) if high else length, length)))
    return found or [int(low or 0)]


def parse_channels(text: str | None) -> tuple[int, ...]:
    """Read ``"0,2"``; empty stands for all channels."""
    try:
        chosen = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise ParamsError(f"--channels {text!r} is not a list of numbers; write e.g. 0,2") from error
    if any(channel < 0 for channel in chosen):
        raise ParamsError(f"--channels {text!r}: channels count from 0")
    return chosen
