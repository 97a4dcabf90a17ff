"""Parameters of the verb ``info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from napari_cellclass.core.params.base import Params


class InfoParams(Params):
    """Show a model's layers, classes, data and scores, or what a project holds."""

    verb = "info"

    model: Annotated[Path, "positional"] = Field(description="a .cellclass model, or a project, NAME.cellproject")
    json_lines: bool = Field(False, description="print the manifest as JSON instead")
    verify: bool = Field(False, description="check the hash of every part and predict the golden tiles again")
