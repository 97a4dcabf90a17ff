"""Parameters of the verb ``classify``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from napari_cellclass.core.common.files import absolute_pattern
from napari_cellclass.core.params.shared import EngineName, PlaneRangeParams, PrecisionName, ReportingParams
from napari_cellclass.core.tiles.grid import EdgeRule


class ClassifyParams(PlaneRangeParams, ReportingParams):
    """Classify every tile of the given images, or of a whole plate, with a model."""

    verb = "classify"
    overrides: ClassVar[Mapping[str, tuple[str, ...]]] = {"workers": ("scheduler",), "scheduler": ("workers",)}

    images: Annotated[list[Path], "positional"] = Field(
        min_length=1,
        description="images, folders of images, patterns in quotes such as 'plate/*.tif', or lists: .txt or .csv files "
        "with a path per line; or one project, NAME.cellproject",
    )
    model: Path = Field(
        description="a .cellclass model, or a Keras .keras file; of a project its newest when not given"
    )
    out: Path = Field(description="folder for the tables; of a project its maps when not given")
    overlap: float | None = Field(
        None, ge=0, le=0.95, description="overlap of tiles, as a fraction; the model's when not given"
    )
    edge: EdgeRule | None = Field(None, description="edge rule: drop, pad or shift; the model's when not given")
    channels: str | None = Field(None, description="channels to use, by index from 0, e.g. 0,2")
    error_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="call tiles unsure whose prediction set at this error rate has several classes or none, e.g. 0.05",
    )
    novelty_rate: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="call tiles unlike training that are farther from all training tiles than this fraction of known "
        "tiles of other groups; for models that carry features of their training tiles",
    )
    resample: bool = Field(
        False, description="resample fields of another pixel size to the model's; boxes stay in px of the field"
    )
    engine: EngineName = Field("auto", description="library that runs the network")
    precision: PrecisionName = Field(
        "f32", description="int8: use the int8 network of a model that was trained with --precision int8"
    )
    workers: int = Field(1, ge=1, le=1024, description="processes on this machine")
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="threads of the network in each process; the cores divided equally when not given; with 1 a "
        "process reads and computes sequentially, on one core",
    )
    scheduler: str | None = Field(None, description="address of a Dask scheduler, tcp://host:8786 or tls://host:8786")
    wells: Path | None = Field(
        None, description="CSV image,well with the well of each image; read from the file names when not given"
    )
    conditions: Path | None = Field(
        None,
        description="CSV with the columns well or image, condition and replicate; conditions are compared on the means "
        "of replicates",
    )
    control: str | None = Field(
        None, description="condition that the others are compared with; when not given one called control, or the first"
    )
    anndata: Literal["field", "plate"] | None = Field(
        None,
        description="also write the tiles with their features as AnnData, for scanpy and squidpy: STEM.h5ad of each "
        "field, or tiles.h5ad of all",
    )
    write_labels: str | None = Field(
        None,
        description="also write the map into each OME-Zarr image, as a label image of that name; nothing that is there "
        "is changed",
    )
    write_table: str | None = Field(
        None, description="also write the table of tiles into each OME-Zarr image, as AnnData of that name in tables"
    )
    classes: str | None = Field(None, description="class names of a .keras file in the order of its outputs, e.g. a,b")
    rescale: float | None = Field(None, gt=0, description="grey value that a .keras file expects scaled to 1, e.g. 255")
    tile_px: int | None = Field(None, ge=1, description="side of the tiles of a .keras file that takes any size, in px")

    @field_validator("write_labels", "write_table")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", value):
            raise ValueError("it is no name for a group of Zarr; use letters, digits, _, - and .")
        return value

    @model_validator(mode="after")
    def _one_place_to_run(self) -> ClassifyParams:
        if self.scheduler is not None and self.workers != 1:
            raise ValueError(
                "--workers and --scheduler were both given; the scheduler has its own workers, so drop one"
            )
        return self

    def absolute(self) -> Self:
        """Return the same parameters with absolute paths and patterns."""
        return super().absolute().model_copy(update={"images": [absolute_pattern(one) for one in self.images]})
