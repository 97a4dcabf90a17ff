"""Parameters of the verb ``experiment``: those of a training, and which comparisons are made."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from napari_cellclass.core.params.verbs import TrainParams


class ExperimentParams(TrainParams):
    """Find out whether a network learns the classes or memorises its tiles: repeated runs, comparisons, a verdict."""

    verb = "experiment"

    out: Path = Field(description="folder for the verdict, tables, figures and models; call it again to go on")
    runs: int = Field(5, ge=2, le=1000, description="train so often, from as many seeds, to see the spread")
    ensemble: bool = Field(False, description="not needed: the runs' ensemble is judged without training it")
    folds: int | None = Field(
        None,
        ge=2,
        le=100,
        description="cross-validate: in each run, train so often that every group is held out once; when not given, "
        "each run holds out the same part of the groups. Comparisons are trained on the first fold alone",
    )
    null: bool = Field(True, description="also train on shuffled labels, to see what memory alone does")
    curve: bool = Field(True, description="also train on fewer tiles, to see whether more would help")
    pair: bool = Field(True, description="also hold out tile by tile, to see how much that flatters")
    repeats: int = Field(2, ge=1, le=100, description="trainings of each comparison")
    sizes: str = Field("0.125,0.25,0.5", description="parts of the training tiles for the learning curve")

    @property
    def parts(self) -> tuple[float, ...]:
        """The parts of the training tiles, rising."""
        return tuple(sorted(float(word) for word in self.sizes.split(",")))

    @field_validator("sizes")
    @classmethod
    def _parts_of_one(cls, value: str) -> str:
        try:
            parts = [float(word) for word in value.split(",")]
        except ValueError:
            parts = []
        if not parts or not all(0 < part < 1 for part in parts):
            raise ValueError("give parts between 0 and 1, such as 0.125,0.25,0.5")
        return value

    @model_validator(mode="after")
    def _one_way_to_hold_out(self) -> ExperimentParams:
        if self.ensemble:
            raise ValueError("--ensemble has no use here: the runs' ensemble is judged anyway; drop it")
        if self.folds is not None and self.test:
            raise ValueError("--folds and --test were both given; with folds every group is tested already, drop one")
        return self

    def training(self) -> TrainParams:
        """Give the parameters of one training, without those of the experiment."""
        return TrainParams.checked(**{name: getattr(self, name) for name in TrainParams.model_fields})
