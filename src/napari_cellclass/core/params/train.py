"""Parameters of the verb ``train``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, model_validator

from napari_cellclass.core.params.shared import (
    BackboneParams,
    ColourName,
    PlaneParams,
    PrecisionName,
    ReportingParams,
    TileParams,
)
from napari_cellclass.core.tiles.preprocess import NormalisationName

NetworkName = Literal["auto", "pretrained", "compact", "deep-50", "deep", "alexnet", "mobilenet"]
AugmentName = Literal["none", "flips", "full"]
StandardiseName = Literal["auto", "tile", "none"]
TextureName = Literal["auto", "off"]


# Settings of the article: those that may be changed, and those that may not.
AS_PUBLISHED: dict[str, Any] = {"network": "deep-50", "epochs": 9, "batch_size": 20}
_PUBLISHED_ALWAYS: dict[str, Any] = {
    "augment": "none", "standardise": "none", "texture": "off", "class_weights": False,
}  # fmt: skip
# Settings of networks that are trained in epochs, with their defaults: linear models on features have no use for them.
_OF_EPOCHS: dict[str, Any] = {
    "epochs": None, "batch_size": 16, "learning_rate": None, "augment": "full", "rotate": None, "class_weights": True,
}  # fmt: skip
_NOT_PRETRAINED: dict[str, Any] = {"input_px": None, "views": 1, "initial": None}


class TrainParams(TileParams, PlaneParams, BackboneParams, ReportingParams):
    """Train a model on class folders or listed tiles, split by group, and write a .cellclass model."""

    verb = "train"
    overrides: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **TileParams.overrides,
        "as_published": ("rotate", *AS_PUBLISHED, *_PUBLISHED_ALWAYS),
    }

    data: Annotated[Path, "positional"] = Field(
        description="folder with one sub-folder per class, TILES.csv: path,y0,x0,y1,x1,class_name[,group], or a "
        "project, NAME.cellproject"
    )
    out: Path = Field(description="the model to write, NAME.cellclass; of a project its next version when not given")
    test: list[Path] = Field(
        [], description="test set to evaluate on after training: class folders or TILES.csv; may be repeated"
    )
    group_by: str | None = Field(
        None,
        description="regular expression on the file name; its first group names the split's group, e.g. a well",
    )
    network: NetworkName = Field(
        "auto",
        description="auto: pretrained, or compact where its weights are not installed or a setting is given that only "
        "a network has which is trained in epochs; pretrained: linear models on "
        "features of a network that was trained on photographs and on texture, fitted in seconds to all labelled "
        "tiles; compact: a small network trained from scratch; deep-50, deep and alexnet are those of the article, and "
        "slower; mobilenet is MobileNetV2 with weights from photographs, which must be on this disk, and only its last "
        "layer is trained",
    )
    with_compact: bool = Field(
        False,
        description="with auto or pretrained: also train the compact network, which takes as long as by itself, and "
        "mix it in at a quarter's weight where held-out tiles are clearly better classified with it",
    )
    colour: ColourName = Field(
        "auto",
        description="for pretrained, whether three channels are red, green and blue (rgb) or stains of their own "
        "(channels); auto: as the image file says",
    )
    feature_scale: Path | None = Field(
        None,
        description="for pretrained: grey-value ranges and the mean and scale of features, NAME.features.json, as a "
        "labelling session has written them with a model that was kept; the model predicts what was predicted there; "
        "its Keras network is not stored, but made where it is needed, so that the model is written sooner",
    )
    standardise: StandardiseName = Field(
        "auto",
        description="tile: bring every tile to the same brightness and contrast per channel, so that the exposure does "
        "not matter; none: keep them, for classes that differ in brightness or stain colour; auto: none for "
        "pretrained, which does better with them, and otherwise tile, unless brightness separates the classes and "
        "texture does not",
    )
    texture: TextureName = Field(
        "auto",
        description="auto: combine the network with a linear model on texture features where tiles are standardised "
        "and held-out tiles support it, which helps with few tiles; off: the network alone",
    )
    normalisation: NormalisationName = Field(
        "range",
        description="how grey values are scaled to 0 to 1: by one range stored with the model, or by percentiles of "
        "each field",
    )
    range: str | None = Field(
        None,
        description="LO:HI, the grey values mapped to 0 and 1, or with percentiles the two percentiles; when not "
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
        description="augmentation of training tiles: none; flips: flipped and rotated by multiples of 90 degrees; "
        "full: also "
        "zoomed, made brighter and darker, blurred and sharpened, with noise",
    )
    rotate: str | None = Field(
        None,
        description="LO:HI, also rotate training tiles by angles in this range (degrees), e.g. -5:5 as in the article",
    )
    class_weights: bool = Field(
        True, description="weight the tiles of rare classes higher, so that all classes count equally"
    )
    as_published: bool = Field(
        False,
        description="train as in the article: grey values / 255, 9 epochs of 20 tiles a step, Adam, no augmentation or "
        "standardisation. It costs: 0.84 instead of 0.99 balanced accuracy on unseen wells, 0.67 after a gain "
        "change, on a plate with vesicles of two classes",
    )
    views: int = Field(
        1,
        description="1, or 8: average the probabilities over eight flips and rotations of a tile; 8 times slower, "
        "hardly better",
    )
    precision: PrecisionName = Field(
        "f32",
        description="int8: also store the network with int8 quantisation, faster on processors with int8 instructions, "
        "unless held-out tiles show a loss",
    )
    initial: Path | None = Field(
        None, description="model whose weights training starts from; it must have the same classes, channels and input"
    )
    teacher: Path | None = Field(
        None,
        description="model whose probabilities the network learns instead of the labels: a faster copy of it, for "
        "plates",
    )
    unlabelled: list[Path] = Field(
        [],
        description="with --teacher, images of the same experiment, or a folder of them, whose tiles are learned from "
        "without labels, beside all tiles of the labelled images; may be repeated",
    )
    val_fraction: float = Field(0.25, gt=0, lt=1, description="fraction of the groups that is held out for validation")
    runs: int = Field(1, ge=1, le=1000, description="number of trainings, each from another seed, to see the spread")
    workers: int = Field(
        1,
        ge=1,
        le=256,
        description="trainings at once, each in a process of its own with an equal share of the cores",
    )
    ensemble: bool = Field(False, description="make one model of all runs, which averages their probabilities")
    thumbnails: bool = Field(
        True, description="keep thumbnails of training tiles in the model, to be shown beside similar tiles"
    )
    logdir: Path | None = Field(
        None,
        description="folder for TensorBoard: loss and accuracy of every epoch, of training and validation, in a folder "
        "named like the model",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="random seed of weights, order and augmentation")
    # No setting: a model's record needs it, and copies for further runs and for other processes keep it.
    _network_reason: str | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _apply_as_published(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("as_published") is not True:
            return values
        contrary = [name for name, value in _PUBLISHED_ALWAYS.items() if values.get(name, value) not in (value, "auto")]
        contrary += ["network"] if values.get("network") in ("pretrained", "compact", "mobilenet") else []
        contrary += ["rotate"] if values.get("rotate") is not None else []
        if contrary:
            flag = "--" + contrary[0].replace("_", "-")
            raise ValueError(f"{flag} {values[contrary[0]]} contradicts --as-published; drop one of them")
        given = {name: value for name, value in values.items() if (name, value) != ("network", "auto")}
        return AS_PUBLISHED | given | _PUBLISHED_ALWAYS

    @model_validator(mode="after")
    def _check_combination(self) -> TrainParams:
        if self.views not in (1, 8):
            raise ValueError(f"--views {self.views} is not possible; use 1 or 8")
        if self.ensemble and self.runs < 2:
            raise ValueError(f"--ensemble averages several runs, but --runs is {self.runs}; use e.g. --runs 3")
        self._check_pretrained()
        self._check_teacher()
        _ = self.grey_range, self.degrees
        return self

    def _check_teacher(self) -> None:
        """Refuse what does not go with a teacher."""
        if self.teacher is None:
            if self.unlabelled:
                raise ValueError("--unlabelled tiles are learned from a teacher; add --teacher MODEL, or drop them")
            return
        for name in ("initial", "range"):
            if getattr(self, name) is not None:
                raise ValueError(f"--{name} {getattr(self, name)} does not go with --teacher; drop one of them")
        if self.network == "pretrained" or self.as_published:
            chosen = "--as-published" if self.as_published else "--network pretrained"
            raise ValueError(f"{chosen} learns from labels alone, not from a --teacher; use --network compact")

    def _check_pretrained(self) -> None:
        """Refuse settings that linear models on features do not have."""
        self._check_backbone()
        if self.feature_scale is not None and self.network != "pretrained":
            raise ValueError(f"--feature-scale goes with --network pretrained, not {self.network}; drop one of them")
        if self.with_compact and (self.network not in ("auto", "pretrained") or self.teacher is not None):
            other = self.network if self.teacher is None else "with a --teacher"
            raise ValueError(f"--with-compact goes with --network pretrained, not {other}; drop one of them")
        on_features = self.with_compact or self.network == "pretrained" or self.backbone is not None
        if on_features and (flag := self.epochs_setting):
            raise ValueError(
                f"{flag} is for networks that are trained in epochs, not for --network {self.network}; drop it, or "
                "use --network compact"
            )

    @property
    def network_reason(self) -> str | None:
        """Why the network ``auto`` became this one, in a clause; None where the user named it, or it is ``auto``."""
        return self._network_reason

    def with_network(self, network: str, reason: str, **changed: Any) -> TrainParams:
        """Return these parameters with what the network ``auto`` became, and why."""
        found = self.model_copy(update={"network": network, **changed})
        found._network_reason = reason
        return found

    @property
    def epochs_setting(self) -> str:
        """The first setting given that linear models on features do not have, as a flag; empty without any."""
        without = _NOT_PRETRAINED if self.with_compact else _NOT_PRETRAINED | _OF_EPOCHS
        for name, default in without.items():
            if (value := getattr(self, name)) != default:
                return "--no-class-weights" if name == "class_weights" else f"--{name.replace('_', '-')} {value}"
        return ""

    @property
    def reason_for_compact(self) -> str:
        """Why ``--network auto`` trains the compact network here, in a clause; empty where it is to be pretrained."""
        if flag := self.epochs_setting:
            return f"{flag} is for networks that are trained in epochs"
        if self.with_compact or self.backbone is not None:
            return ""
        if self.runs > 1:
            return f"the {self.runs} runs of linear models on pretrained features would be equal"
        if self.standardise == "tile":
            return "pretrained features do worse on tiles of one brightness (--standardise tile)"
        return ""

    def _check_backbone(self) -> None:
        """Refuse what a network of the user's cannot be combined with."""
        if self.backbone is None:
            return
        if self.network not in ("auto", "pretrained"):
            raise ValueError(f"--backbone goes with --network pretrained, not {self.network}; drop one of them")
        if self.teacher is not None:
            raise ValueError("--teacher teaches the compact network, which has no --backbone; drop one of them")
        for name in ("with_compact", "standardise", "precision"):
            if (value := getattr(self, name)) in (True, "tile", "int8"):
                flag = f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
                raise ValueError(f"{flag} is not for a network of yours, which OpenVINO runs as it is; drop it")

    @property
    def grey_range(self) -> tuple[float, float] | None:
        """``range`` as two numbers, None where it is not given."""
        if self.range is None:
            return None
        low, high = _span("--range", self.range)
        if self.normalisation == "percentiles" and not 0 <= low < high <= 100:
            raise ValueError(f"--range {self.range} are not two percentiles; use e.g. 0.2:99.8")
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
