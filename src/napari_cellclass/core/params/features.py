"""Parameters of the verb ``features``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from napari_cellclass.core.common.files import absolute_pattern
from napari_cellclass.core.params.shared import BackboneParams, ColourName, PlaneParams, ReportingParams, TileParams

FORMATS = (".npz", ".csv", ".parquet")


class FeaturesParams(TileParams, PlaneParams, BackboneParams, ReportingParams):
    """Write features of the tiles of images, from a pretrained network and from texture, for programs of your own."""

    verb = "features"

    images: Annotated[list[Path], "positional"] = Field(
        min_length=1,
        description="images, folders of images, patterns in quotes such as 'plate/*.tif', or lists: .txt or .csv files "
        "with a path per line",
    )
    out: Path = Field(description="file to write: .npz, .csv, or .parquet where pyarrow is installed")
    channels: str | None = Field(None, description="channels to use, by index from 0, e.g. 0,2")
    colour: ColourName = Field(
        "auto",
        description="rgb: three channels are red, green and blue; channels: they are not; auto: as the file says",
    )
    texture_only: bool = Field(False, description="leave the features of the network out")
    keep: bool = Field(True, description="keep features in the cache folder, so that no tile is computed twice")
    threads: int | None = Field(None, ge=1, le=1024, description="threads; the cores when not given")

    @field_validator("out")
    @classmethod
    def _known_format(cls, value: Path) -> Path:
        if value.suffix.lower() not in FORMATS:
            raise ValueError(f"its name has to end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
        return value

    @model_validator(mode="after")
    def _one_backbone(self) -> FeaturesParams:
        if self.texture_only and self.backbone is not None:
            raise ValueError("--backbone and --texture-only were both given; drop one of them")
        return self

    def absolute(self) -> Self:
        """Return the same parameters with absolute paths and patterns."""
        return super().absolute().model_copy(update={"images": [absolute_pattern(one) for one in self.images]})
