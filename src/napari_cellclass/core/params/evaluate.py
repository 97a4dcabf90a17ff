"""Parameters of the verb ``evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.params.shared import EngineName, PlaneParams, PrecisionName, ReportingParams

PanelOrder = Literal["confident", "uncertain", "wrong", "random"]


class EvaluateParams(PlaneParams, ReportingParams):
    """Evaluate a model on labelled tiles, of one test set or of several."""

    verb = "evaluate"

    data: Annotated[list[str], "positional"] = Field(
        min_length=1,
        description="folder with one sub-folder per class, or TILES.csv: path,y0,x0,y1,x1,class_name[,group]; "
        "NAME=FOLDER gives a test set a name; or a project, NAME.cellproject, of which the labelled tiles count that "
        "the model was not trained on",
    )
    model: Path = Field(
        description="a .cellclass model, or a Keras .keras file; of a project its newest when not given"
    )
    out: Path = Field(
        description="folder for evaluation.json, tiles.csv and figures; with several test sets a folder in it for "
        "each; of a project one in its folder when not given"
    )
    group_by: str | None = Field(
        None, description="regular expression on the file name; its first group names the group, e.g. a well"
    )
    engine: EngineName = Field("auto", description="library that runs the network")
    precision: PrecisionName = Field(
        "f32", description="int8: use the int8 network of a model that was trained with --precision int8"
    )
    classes: str | None = Field(None, description="class names of a .keras file in the order of its outputs, e.g. a,b")
    rescale: float | None = Field(None, gt=0, description="grey value that a .keras file expects scaled to 1, e.g. 255")
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
        "uncertain",
        description="which example tiles come first: most or least confident, incorrect predictions, or random",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="random seed of example tiles in random order")
    kit: bool = Field(
        False, description="write all figures, their tables and a methods paragraph to OUT/kit, for a paper"
    )

    def absolute(self) -> Self:
        """Return the same parameters with absolute paths, also after the names of test sets."""
        named = [name_and_path(word) for word in self.data]
        data = [f"{name}={path.absolute()}" if name else str(path.absolute()) for name, path in named]
        return super().absolute().model_copy(update={"data": data})


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
        raise ParamsError(f"{word!r} is not NAME=FOLDER; give both, or only the folder")
    return name, Path(path)
