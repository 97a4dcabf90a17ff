"""Parameters of the verb ``explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from napari_cellclass.core.params.shared import PlaneParams, ReportingParams
from napari_cellclass.core.tiles.grid import EdgeRule

ExplainMethod = Literal["occlusion", "grad-cam"]


class ExplainParams(PlaneParams, ReportingParams):
    """Show where in a tile a prediction comes from, and tiles from one class to the other."""

    verb = "explain"

    image: Annotated[Path, "positional"] = Field(description="the image")
    model: Path = Field(description="a .cellclass or .keras model")
    out: Path = Field(description="folder for the maps, explain.csv and sheets")
    tiles: str | None = Field(
        None,
        description="tile ids, as in a table of classify, e.g. 3,17; else the most confident of each class",
    )
    count: int = Field(12, ge=1, le=500, description="number of tiles where --tiles is not given")
    class_name: str | None = Field(
        None, description="class whose evidence is shown; of each tile the predicted one when not given"
    )
    method: ExplainMethod = Field(
        "occlusion",
        description="occlusion: what hiding a part changes, for any model; grad-cam: where the last maps of a "
        "convolutional network support the class",
    )
    patch_px: int | None = Field(
        None,
        ge=2,
        le=4096,
        description="side of the part that is hidden, in px; else an eighth of the tile, or as much as is needed",
    )
    overlap: float = Field(0.0, ge=0, le=0.95, description="fraction of a tile that is shared with its neighbour")
    edge: EdgeRule = Field(
        "drop", description="incomplete tiles at the edge: drop them, pad them, or shift the last tile back"
    )
    spectrum: int = Field(
        0,
        ge=0,
        le=500,
        description="also write a sheet of so many tiles, from the least to the most probable of a class",
    )
    channels: str | None = Field(None, description="channels to use, by index from 0, e.g. 0,2")
    classes: str | None = Field(None, description="class names of a .keras file in the order of its outputs, e.g. a,b")
    rescale: float | None = Field(None, gt=0, description="grey value that a .keras file expects scaled to 1, e.g. 255")
    tile_px: int | None = Field(None, ge=1, description="side of the tiles of a .keras file that takes any size, in px")

    @field_validator("tiles")
    @classmethod
    def _list_of_ids(cls, value: str | None) -> str | None:
        if value is not None:
            _ = parse_ids(value)
        return value

    @property
    def tile_ids(self) -> tuple[int, ...]:
        """The ids that were given."""
        return () if self.tiles is None else parse_ids(self.tiles)


def parse_ids(text: str) -> tuple[int, ...]:
    """Read ``"3,17"``.

    Raises
    ------
    ValueError
        It is no list of numbers from 0.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and len(word) < 10 for word in words):
        raise ValueError("it is no list of tile ids; write numbers from 0, e.g. 3,17")
    return tuple(dict.fromkeys(int(word) for word in words))
