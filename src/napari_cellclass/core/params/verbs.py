"""Parameters of the verbs: one model each for the form, the command's flags and the manifest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from napari_cellclass.core.common.errors import GridError, ParamsError
from napari_cellclass.core.common.files import absolute_pattern
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.params.base import Params
from napari_cellclass.core.tiles.grid import EdgeRule, TileGrid
from napari_cellclass.core.tiles.preprocess import NormalisationName

NetworkName = Literal["compact", "deep-50", "deep", "alexnet", "mobilenet"]
AugmentName = Literal["none", "flips", "full"]
StandardiseName = Literal["auto", "tile", "none"]
TextureName = Literal["auto", "off"]
EngineName = Literal["auto", "openvino", "tensorflow"]
PrecisionName = Literal["f32", "int8"]
PanelOrder = Literal["confident", "uncertain", "wrong", "random"]
ProgressStyle = Literal["bar", "jsonl", "none"]


class TileParams(Params):
    """How a field is cut into tiles; at most one of the sizes may be given."""

    overrules: ClassVar[Mapping[str, tuple[str, ...]]] = {
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
            (height, width) of a tile where no size is given; None stands for one tile, the image.

        Raises
        ------
        GridError
            The tile does not fit the field.
        ParamsError
            ``tile_um`` is given, but the image has no pixel size.
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


class PlaneParams(Params):
    """Which plane of a stack is used."""

    t: int = Field(0, ge=0, description="time point of a time series")
    z: int = Field(0, ge=0, description="plane of a Z stack")
    scene: int = Field(0, ge=0, description="image within a file that holds several")


# The recipe of the article: what may be chosen otherwise, and what may not.
AS_PUBLISHED: dict[str, Any] = {"network": "deep-50", "epochs": 9, "batch_size": 20}
_PUBLISHED_ALWAYS: dict[str, Any] = {
    "augment": "none", "standardise": "none", "texture": "off", "class_weights": False,
}  # fmt: skip


class TrainParams(TileParams, PlaneParams, ReportingParams):
    """Train a network on class folders or listed tiles, split by group, and write a .cellclass model."""

    verb = "train"
    overrules: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **TileParams.overrules,
        "as_published": ("rotate", *AS_PUBLISHED, *_PUBLISHED_ALWAYS),
    }

    data: Annotated[Path, "positional"] = Field(
        description="folder with one sub-folder per class, or TILES.csv: path,y0,x0,y1,x1,class_name[,group]"
    )
    out: Path = Field(description="the model to write, NAME.cellclass")
    test: list[Path] = Field(
        [], description="test set to evaluate on after training: class folders or TILES.csv; may be repeated"
    )
    group_by: str | None = Field(
        None,
        description="regular expression on the file name; its first group names the split's group, e.g. a well",
    )
    network: NetworkName = Field(
        "compact",
        description="network architecture; deep-50, deep and alexnet are those of the article, and slower; mobilenet is "
        "MobileNetV2 with weights from photographs, which must be on this disk, and only its last layer is trained",
    )
    standardise: StandardiseName = Field(
        "auto",
        description="tile: bring every tile to the same brightness and contrast per channel, so that the exposure does "
        "not matter; none: keep them, for classes that differ in brightness or stain colour; auto: tile, unless "
        "brightness separates the classes and texture does not",
    )
    texture: TextureName = Field(
        "auto",
        description="auto: a linear model on texture features joins the network where tiles are standardised and "
        "held-out tiles allow it, which helps with few tiles; off: the network alone",
    )
    normalisation: NormalisationName = Field(
        "range",
        description="how grey values are scaled to 0 to 1: by one range stored with the model, or by percentiles of each "
        "field",
    )
    range: str | None = Field(
        None,
        description="LO:HI, the grey values that become 0 and 1, or with percentiles the two percentiles; when not "
        "given, 0:255 for 8 bit, 0 to the 99.8th percentile for other depths, and 0.2:99.8 for percentiles",
    )
    input_px: int | None = Field(
        None,
        ge=16,
        le=1024,
        description="longer side of the network's input in px; when not given the tile's, at most 128, "
        "224 for mobilenet, and 256 for the article's networks",
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="passes over the training tiles; when not given, 25 to 200, the fewer the more tiles there are",
    )
    batch_size: int = Field(16, ge=1, le=4096, description="tiles per training step")
    learning_rate: float | None = Field(
        None, gt=0, le=10, description="highest learning rate of the schedule; the network's own when not given"
    )
    augment: AugmentName = Field(
        "full",
        description="augmentation of training tiles: none; flips: mirrored and rotated by right angles; full: also "
        "zoomed, made brighter and darker, blurred and sharpened, with noise",
    )
    rotate: str | None = Field(
        None,
        description="LO:HI, also rotate training tiles by an angle in this range (degrees), e.g. -5:5 as in the article",
    )
    class_weights: bool = Field(
        True, description="weight the tiles of rare classes higher, so that all classes count equally"
    )
    as_published: bool = Field(
        False,
        description="train as in the article: grey values / 255, 9 epochs of 20 tiles a step, Adam, no augmentation or "
        "standardisation. It costs: 0.84 instead of 0.99 balanced accuracy on wells never seen, 0.67 after a gain "
        "change, on a plate with vesicles of two classes",
    )
    views: int = Field(
        1,
        description="1, or 8: average the predictions for a tile mirrored and rotated; eight times slower, hardly better",
    )
    precision: PrecisionName = Field(
        "f32",
        description="int8: also store the network with int8 quantisation, faster on processors with int8 instructions, "
        "unless held-out tiles show a loss",
    )
    initial: Path | None = Field(
        None, description="model whose weights training starts from; it must have the same classes, channels and input"
    )
    val_fraction: float = Field(0.25, gt=0, lt=1, description="fraction of the groups that is held out for validation")
    runs: int = Field(1, ge=1, le=1000, description="number of trainings, each from another seed, to see the spread")
    workers: int = Field(
        1,
        ge=1,
        le=256,
        description="trainings at once, each in a process of its own with its fraction of the processors",
    )
    ensemble: bool = Field(False, description="make one model of all runs, which averages their predictions")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="random seed of weights, order and augmentation")

    @model_validator(mode="before")
    @classmethod
    def _as_in_the_article(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("as_published") is not True:
            return values
        contrary = [name for name, value in _PUBLISHED_ALWAYS.items() if values.get(name, value) not in (value, "auto")]
        contrary += ["network"] if values.get("network") in ("compact", "mobilenet") else []
        contrary += ["rotate"] if values.get("rotate") is not None else []
        if contrary:
            flag = "--" + contrary[0].replace("_", "-")
            raise ValueError(f"{flag} {values[contrary[0]]} contradicts --as-published; drop one of them")
        return AS_PUBLISHED | values | _PUBLISHED_ALWAYS

    @model_validator(mode="after")
    def _fits_together(self) -> TrainParams:
        if self.views not in (1, 8):
            raise ValueError(f"--views {self.views} is not possible; use 1 or 8")
        if self.ensemble and self.runs < 2:
            raise ValueError(f"--ensemble averages several runs, but --runs is {self.runs}; use e.g. --runs 3")
        _ = self.grey_range, self.degrees
        return self

    @property
    def grey_range(self) -> tuple[float, float] | None:
        """``range`` as two numbers, None where it is not given."""
        if self.range is None:
            return None
        low, high = _span("--range", self.range)
        if self.normalisation == "percentiles" and not 0 <= low < high <= 100:
            raise ValueError(f"--range {self.range} are no two percentiles; use e.g. 0.2:99.8")
        if low == high:
            raise ValueError(f"--range {self.range} is empty; use e.g. 0:4095")
        return low, high

    @property
    def degrees(self) -> tuple[float, float] | None:
        """``rotate`` as two numbers, None where it is not given."""
        return None if self.rotate is None else _span("--rotate", self.rotate)


def _span(flag: str, text: str) -> tuple[float, float]:
    """Read ``"LO:HI"``; ``ValueError`` for anything else."""
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        raise ValueError(f"{flag} {text!r} is not LO:HI; give two numbers, e.g. -5:5") from None
    if not -math.inf < low <= high < math.inf:
        raise ValueError(f"{flag} {text!r} does not go from a lower to a higher number; give LO:HI")
    return low, high


class ClassifyParams(PlaneParams, ReportingParams):
    """Classify every tile of the given images, or of a whole plate, with a model."""

    verb = "classify"
    overrules: ClassVar[Mapping[str, tuple[str, ...]]] = {"workers": ("scheduler",), "scheduler": ("workers",)}

    images: Annotated[list[Path], "positional"] = Field(
        min_length=1,
        description="images, folders of images, patterns in quotes such as 'plate/*.tif', or lists: .txt or .csv files "
        "with a path per line",
    )
    model: Path = Field(description="a .cellclass model, or a Keras .keras file")
    out: Path = Field(description="folder for the tables")
    overlap: float | None = Field(
        None, ge=0, le=0.95, description="overlap of tiles, as a fraction; the model's when not given"
    )
    edge: EdgeRule | None = Field(None, description="edge rule: drop, pad or shift; the model's when not given")
    channels: str | None = Field(None, description="channels to use, by index from 0, e.g. 0,2")
    error_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="call tiles unsure where several classes, or none, are possible at this error rate, e.g. 0.05",
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
        description="threads of the network in each process; the cores divided equally when not given; with 1 a process "
        "reads and computes sequentially, on one core",
    )
    scheduler: str | None = Field(None, description="address of a Dask scheduler, tcp://host:8786 or tls://host:8786")
    wells: Path | None = Field(
        None, description="CSV image,well with the well of each image; read from the file names when not given"
    )
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

    def absolute(self) -> Self:
        """Give the same parameters with absolute paths and patterns."""
        return super().absolute().model_copy(update={"images": [absolute_pattern(one) for one in self.images]})


def name_and_path(word: str) -> tuple[str, Path]:
    """Split ``NAME=PATH``; the name is empty where there is none, as in a path with ``=`` in it.

    Raises
    ------
    ParamsError
        The name or the path is empty.
    """
    name, equals, path = word.partition("=")
    if not equals or Path(word).exists():
        return "", Path(word)
    if not name or not path:
        raise ParamsError(f"{word!r} is no NAME=FOLDER; give both, or only the folder")
    return name, Path(path)


class EvaluateParams(PlaneParams, ReportingParams):
    """Evaluate a model on labelled tiles, of one test set or of several."""

    verb = "evaluate"

    data: Annotated[list[str], "positional"] = Field(
        min_length=1,
        description="folder with one sub-folder per class, or TILES.csv: path,y0,x0,y1,x1,class_name[,group]; "
        "NAME=FOLDER gives a test set a name",
    )
    model: Path = Field(description="a .cellclass model, or a Keras .keras file")
    out: Path = Field(
        description="folder for evaluation.json, tiles.csv and figures; with several test sets a folder in it for each"
    )
    group_by: str | None = Field(
        None, description="regular expression on the file name; its first group names the group, e.g. a well"
    )
    engine: EngineName = Field("auto", description="library that runs the network")
    precision: PrecisionName = Field(
        "f32", description="int8: use the int8 network of a model that was trained with --precision int8"
    )
    classes: str | None = Field(None, description="class names of a .keras file in the order of its outputs, e.g. a,b")
    rescale: float | None = Field(None, gt=0, description="grey value that a .keras file expects as 1, e.g. 255")
    tile_px: int | None = Field(None, ge=1, description="side of the tiles of a .keras file that takes any size, in px")
    shortcuts: bool = Field(
        False, description="also evaluate linear models on brightness, contrast, position, the file or texture alone"
    )
    stress: bool = Field(
        False, description="also measure robustness to perturbations: gain, offset, blur, noise, JPEG and rotation"
    )
    panel: int = Field(
        0,
        ge=0,
        le=10_000,
        description="number of example tiles drawn with predicted and true class and confidence, 25 a page",
    )
    panel_order: PanelOrder = Field(
        "uncertain", description="which example tiles come first: most or least confident, incorrect ones, or random"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="random seed of example tiles in random order")
    kit: bool = Field(
        False, description="write all figures, their tables and a methods paragraph to OUT/kit, for a paper"
    )

    def absolute(self) -> Self:
        """Give the same parameters with absolute paths, also behind the names of test sets."""
        named = [name_and_path(word) for word in self.data]
        data = [f"{name}={path.absolute()}" if name else str(path.absolute()) for name, path in named]
        return super().absolute().model_copy(update={"data": data})


class InfoParams(Params):
    """Show a model's layers, classes, data and scores."""

    verb = "info"

    model: Annotated[Path, "positional"] = Field(description="a .cellclass model")
    json_lines: bool = Field(False, description="print the manifest as JSON instead")
    verify: bool = Field(False, description="check the hash of every part and predict the golden tiles again")


class DemoParams(ReportingParams):
    """Train on one half of a real field, classify the other half, and show the map."""

    verb = "demo"

    out: Path = Field(Path("demo"), description="folder for the model, picture and tables")
    window: bool | None = Field(None, description="open napari afterwards; where there is a display when not given")
