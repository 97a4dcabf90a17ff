"""Parameters of the verb ``demo``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from napari_cellclass.core.params.shared import ReportingParams


class DemoParams(ReportingParams):
    """Train on one half of a real field, classify the other half, and show the map."""

    verb = "demo"

    out: Path = Field(Path("demo"), description="folder for the model, figure and tables")
    window: bool | None = Field(None, description="open napari afterwards; where there is a display when not given")
