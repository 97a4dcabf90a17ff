"""Parameters of the verbs: one model each for the form, the command's flags and the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_cellclass.core.contracts import ParamsError
from napari_cellclass.core.grid import EdgeRule, TileGrid
from napari_cellclass.core.image import SourceImage

NetworkName = Literal["deep-50", "deep", "alexnet"]
AugmentName = Literal["none", "flips", "full"]
EngineName = Literal["auto", "openvino", "tensorflow"]
ProgressStyle = Literal["bar", "jsonl", "none"]


class Params(BaseModel):
    """Base of all parameters: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def checked(cls, **values: Any) -> Any:
        """Build the parameters, or raise :class:`ParamsError` with one line."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise ParamsError(first_problem(error)) from error


def first_problem(error: ValidationError) -> str:
    """Tell the first problem of a pydantic error in one line: which setting, the value, what is wrong."""
    problem = error.errors(include_url=False)[0]
    name = "--" + str(problem["loc"][0]).replace("_", "-") if problem["loc"] else ""
    text = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "value_error" and not name:
        return text
    if problem["type"] == "missing":
        return f"{name} is needed, but was not given"
    return f"{name} {problem['input']!r}: {text[:1].lower()}{text[1:]}"


class TileParams(Params):
    """How a field is cut into tiles; at most one of the sizes is given."""

    tile_px: int | None = Field(None, ge=1, le=65536, description="side of a tile in px")
    tile_um: float | None = Field(None, gt=0, description="side of a tile in µm, where the pixel size is known")
    tiles: int | None = Field(None, ge=1, description="cut each field into about N equal tiles")
    overlap: float = Field(0.0, ge=0, le=0.95, description="part of a tile that its neighbour shares")
    edge: EdgeRule = Field(
        "drop", description="the strip left over at the edge: drop it, pad it, or shift the last tile back"
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
            (height, width) of a tile where no size is given; None stands for one tile, the image.

        Raises
        ------
        GridError
            The tile does not fit the field.
        ParamsError
            ``tile_um`` is given, but the image does not tell its pixel size.
        """
        if self.tiles is not None:
            return TileGrid.into_n(image.shape, self.tiles)
        size: int | tuple[int, int] = default_px or image.shape
        if self.tile_px is not None:
            size = self.tile_px
        elif self.tile_um is not None:
            if image.pixel_size_um is None:
                raise ParamsError(
                    f"{image.name} does not tell its pixel size, so a tile of {self.tile_um} µm has no size in px; "
                    "use --tile-px"
                )
            size = (
                round(self.tile_um / image.pixel_size_um[0]),
                round(self.tile_um / image.pixel_size_um[1]),
            )
        return TileGrid.regular(image.shape, size, self.overlap, self.edge)


class ReportingParams(Params):
    """How a long verb tells where it is."""

    progress: ProgressStyle = Field("bar", description="a bar, JSON lines on standard output, or nothing")
    quiet: bool = Field(False, description="print nothing but errors")


class PlaneParams(Params):
    """Which plane of a stack is taken."""

    t: int = Field(0, ge=0, description="time point of a time series")
    z: int = Field(0, ge=0, description="plane of a Z stack")
    scene: int = Field(0, ge=0, description="image within a file that holds several")


class TrainParams(TileParams, PlaneParams, ReportingParams):
    """Train a network on class folders or listed tiles, split by group, and write a .cellclass model."""

    data: Annotated[Path, "positional"] = Field(
        description="folder with one sub-folder per class, or TILES.csv: path,y0,x0,y1,x1,class_name[,group]"
    )
    out: Path = Field(description="the model to write, NAME.cellclass")
    test: list[Path] = Field(
        [], description="class folders or TILES.csv to evaluate on after training; may be repeated"
    )
    group_by: str | None = Field(
        None,
        description="regular expression on the file name; its first group names the split's group, e.g. a well",
    )
    network: NetworkName = Field("deep-50", description="the network's name")
    input_px: int | None = Field(
        None,
        ge=16,
        le=1024,
        description="side of the network's input in px; the tile's, at most 256, when not given",
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="passes over the training tiles; 25 to 60, by their number, when not given",
    )
    batch_size: int = Field(20, ge=1, le=4096, description="tiles per training step")
    learning_rate: float | None = Field(
        None, gt=0, le=10, description="the optimiser's; the network's own when not given"
    )
    augment: AugmentName = Field(
        "flips",
        description="how training tiles are varied: none; flips: mirrored and turned by right angles; "
        "full: also turned by up to 5 degrees, brighter and darker",
    )
    class_weights: bool = Field(
        False, description="let the tiles of rare classes count for more, so that all weigh alike"
    )
    initial: Path | None = Field(
        None, description="model whose weights training starts from; it must have the same classes, channels and input"
    )
    val_fraction: float = Field(0.25, gt=0, lt=1, description="part of the groups that is held out for validation")
    runs: int = Field(1, ge=1, le=1000, description="train so often, from as many seeds, to see the spread")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of weights, order and augmentation")


class ClassifyParams(PlaneParams, ReportingParams):
    """Classify every tile of the given images with a model."""

    images: Annotated[list[Path], "positional"] = Field(min_length=1, description="images to classify")
    model: Path = Field(description="a .cellclass model, or a Keras .keras file")
    out: Path = Field(description="folder for the tables")
    overlap: float | None = Field(None, ge=0, le=0.95, description="overlap of tiles; the model's when not given")
    edge: EdgeRule | None = Field(None, description="edge rule: drop, pad or shift; the model's when not given")
    channels: str | None = Field(None, description="channels to use, by number from 0, e.g. 0,2")
    engine: EngineName = Field("auto", description="what runs the network")
    workers: int = Field(1, ge=1, le=1024, description="processes on this machine")
    scheduler: str | None = Field(None, description="address of a Dask scheduler, e.g. tcp://host:8786")
    classes: str | None = Field(None, description="class names of a .keras file in the order of its outputs, e.g. a,b")
    rescale: float | None = Field(None, gt=0, description="grey value that a .keras file expects as 1, e.g. 255")
    tile_px: int | None = Field(None, ge=1, description="side of the tiles of a .keras file that takes any size, in px")

    @model_validator(mode="after")
    def _one_place_to_run(self) -> ClassifyParams:
        if self.scheduler is not None and self.workers != 1:
            raise ValueError(
                "--workers and --scheduler were both given; the scheduler has its own workers, so drop one"
            )
        return self


class EvaluateParams(PlaneParams, ReportingParams):
    """Compare a model's classes with those of labelled tiles."""

    data: Annotated[Path, "positional"] = Field(
        description="folder with one sub-folder per class, or TILES.csv: path,y0,x0,y1,x1,class_name[,group]"
    )
    model: Path = Field(description="a .cellclass model, or a Keras .keras file")
    out: Path = Field(description="folder for evaluation.json, tiles.csv and figures")
    group_by: str | None = Field(
        None, description="regular expression on the file name; its first group names the group, e.g. a well"
    )
    engine: EngineName = Field("auto", description="what runs the network")
    classes: str | None = Field(None, description="class names of a .keras file in the order of its outputs, e.g. a,b")
    rescale: float | None = Field(None, gt=0, description="grey value that a .keras file expects as 1, e.g. 255")
    tile_px: int | None = Field(None, ge=1, description="side of the tiles of a .keras file that takes any size, in px")


class BlindParams(Params):
    """Draw a blinded reading from test tiles."""

    tiles: int = Field(60, ge=2, le=2000, description="test tiles to read, as many of each class as there are")
    repeats: int = Field(
        10, ge=0, le=500, description="tiles that come a second time, unannounced, to see how well readers repeat"
    )
    own_order: bool = Field(False, description="each reader gets an order of their own; else all the same")
    seed: int | None = Field(None, ge=0, description="seed of the draw; from the operating system when not given")

    @model_validator(mode="after")
    def _room_for_repeats(self) -> BlindParams:
        if self.repeats > self.tiles // 2:
            raise ValueError(f"{self.repeats} repeats of {self.tiles} tiles are too many; at most half can come twice")
        return self


class InfoParams(Params):
    """Show a model's layers, classes, data and scores."""

    model: Annotated[Path, "positional"] = Field(description="a .cellclass model")
    json_lines: bool = Field(False, description="print the manifest as JSON instead")


class DemoParams(ReportingParams):
    """Train on one half of a real field, map the other, and show it."""

    out: Path = Field(Path("demo"), description="folder for the model, picture and tables")
    window: bool | None = Field(None, description="open napari afterwards; where there is a display when not given")
