"""Parameters of the verb ``experiment``: those of a training, and which comparisons are made."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from napari_cellclass.core.params.train import TrainParams


class ExperimentParams(TrainParams):
    """Find out whether a network learns the classes or memorises its tiles: repeated runs, comparisons, a verdict."""

    verb = "experiment"

    out: Path = Field(description="folder for the verdict, tables, figures and models; run it again to resume")
    runs: int = Field(5, ge=2, le=1000, description="number of trainings, each from another seed, to see the spread")
    ensemble: bool = Field(False, description="not needed: the ensemble of the runs is evaluated without training it")
    folds: int | None = Field(
        None,
        ge=2,
        le=100,
        description="folds of groups for cross-validation: in each run every group is held out once; when not given, "
        "each run holds out the same fraction of the groups. Comparisons are trained on the first fold only",
    )
    null: bool = Field(True, description="also train on shuffled labels, to measure memorisation alone")
    curve: bool = Field(True, description="also train on fewer tiles, for a learning curve: would more tiles help?")
    pair: bool = Field(
        True, description="also hold out single tiles instead of groups, to see how much that inflates the accuracy"
    )
    repeats: int = Field(2, ge=1, le=100, description="trainings of each comparison")
    sizes: str = Field("0.125,0.25,0.5", description="fractions of the training tiles for the learning curve")

    @property
    def fractions(self) -> tuple[float, ...]:
        """The fractions of the training tiles, in ascending order."""
        return tuple(sorted(float(word) for word in self.sizes.split(",")))

    @field_validator("sizes")
    @classmethod
    def _between_0_and_1(cls, value: str) -> str:
        try:
            fractions = [float(word) for word in value.split(",")]
        except ValueError:
            fractions = []
        if not fractions or not all(0 < fraction < 1 for fraction in fractions):
            raise ValueError("give fractions between 0 and 1, such as 0.125,0.25,0.5")
        return value

    @model_validator(mode="after")
    def _one_way_to_hold_out(self) -> ExperimentParams:
        if self.ensemble:
            raise ValueError("--ensemble has no use here: the ensemble of the runs is evaluated anyway; drop it")
        if self.folds is not None and self.test:
            raise ValueError(
                "--folds and --test were both given; with folds every group is held out already, so drop one"
            )
        return self

    def training(self) -> TrainParams:
        """Return the parameters of one training, without those of the experiment."""
        return TrainParams.checked(**{name: getattr(self, name) for name in TrainParams.model_fields})
