"""Parameters of the verb ``slides``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from napari_cellclass.core.params.shared import ReportingParams

SlideBackground = Literal["white", "dark"]
SlideFormat = Literal["png", "svg", "both"]


class SlidesParams(ReportingParams):
    """Draw pictures for slides of classified fields: image beside map, scale bar and legend with counts."""

    verb = "slides"

    folder: Annotated[Path, "positional"] = Field(description="a folder of results that classify has written")
    out: Path | None = Field(
        None, description="folder for the pictures; slides in the folder of results when not given"
    )
    fields: str | None = Field(
        None, description="names of fields, or a pattern in quotes such as 'B03*'; all fields when not given"
    )
    background: SlideBackground = Field("white", description="background of the pictures")
    format: SlideFormat = Field("both", description="kind of files: png, svg, or both of each field")
