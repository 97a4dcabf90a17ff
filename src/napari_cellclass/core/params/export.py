"""Parameters of the verb ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from napari_cellclass.core.params.base import Params

ExportFormat = Literal["onnx", "bioimageio"]
ENDINGS: dict[ExportFormat, str] = {"onnx": ".onnx", "bioimageio": ".bioimageio.zip"}
"""How the name of an exported file ends, by format."""


class ExportParams(Params):
    """Write a model for other programs: ONNX with a script for QuPath, or a package of bioimage.io."""

    verb = "export"

    model: Annotated[Path, "positional"] = Field(description="a .cellclass model")
    format: ExportFormat = Field(
        "onnx",
        description="onnx: one file from grey values to calibrated probabilities, with a script for QuPath beside it; "
        "bioimageio: the same file with its description as a package of bioimage.io",
    )
    out: Path | None = Field(
        None, description="file to write, NAME.onnx or NAME.bioimageio.zip; beside the model, by its name, if not given"
    )
    force: bool = Field(False, description="overwrite files that exist")
    quiet: bool = Field(False, description="print nothing but errors")

    @model_validator(mode="after")
    def _fits(self) -> ExportParams:
        ending = ENDINGS[self.format]
        if self.out is not None and not self.out.name.lower().endswith(ending):
            raise ValueError(f"--out {self.out.name} is not a name for --format {self.format}; end it in {ending}")
        return self

    @property
    def target(self) -> Path:
        """The file to write."""
        return self.out or self.model.with_name(self.model.stem + ENDINGS[self.format])
