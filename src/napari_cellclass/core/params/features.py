"""Parameters of the verb ``features``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from napari_cellclass.core.common.files import absolute_pattern
from napari_cellclass.core.params.shared import ColourName, PlaneParams, ReportingParams, ScalingName, TileParams

FORMATS = (".npz", ".csv", ".parquet")


class FeaturesParams(TileParams, PlaneParams, ReportingParams):
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
    backbone: Path | None = Field(None, description="a network of your own instead: .onnx or .keras, image to maps")
    backbone_values: ScalingName | None = Field(
        None,
        description="values that it takes: 0 to 1, 0 to 255, or with ImageNet's mean and standard deviation taken out; "
        "imagenet for .onnx and unit for .keras when not given, byte for .keras that rescales itself",
    )
    backbone_px: int | None = Field(
        None, ge=8, le=4096, description="side of its input in px, where it takes any; 224 when not given"
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
        for name in ("backbone_values", "backbone_px"):
            if self.backbone is None and getattr(self, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} belongs to a network of yours; give it with --backbone")
        return self

    def absolute(self) -> Self:
        """Return the same parameters with absolute paths and patterns."""
        return super().absolute().model_copy(update={"images": [absolute_pattern(one) for one in self.images]})
