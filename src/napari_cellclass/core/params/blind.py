"""Parameters of a blinded reading."""

from __future__ import annotations

from pydantic import Field, model_validator

from napari_cellclass.core.params.base import Params


class BlindParams(Params):
    """Draw a blinded reading from test tiles."""

    tiles: int = Field(
        60, ge=2, le=2000, description="number of test tiles to read, the same of each class as far as there are"
    )
    repeats: int = Field(
        10,
        ge=0,
        le=500,
        description="tiles shown a second time, unannounced, to measure each reader's agreement with themselves",
    )
    own_order: bool = Field(False, description="another random order for each reader; else the same for all")
    seed: int | None = Field(
        None, ge=0, description="random seed of the draw; from the operating system when not given"
    )

    @model_validator(mode="after")
    def _room_for_repeats(self) -> BlindParams:
        if self.repeats > self.tiles // 2:
            raise ValueError(f"{self.repeats} repeats of {self.tiles} tiles are too many; at most half can come twice")
        return self
