"""Which features are computed of some images: grey-value ranges over all of them, colours or channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.feature_spec import FeatureSpec, feature_preprocess, is_colour
from napari_cellclass.core.params.shared import ColourName
from napari_cellclass.core.tiles.preprocess import sample_pixels
from napari_cellclass.engine.features.extractor import new_feature_spec
from napari_cellclass.engine.features.user_backbone import UserBackbone

_MOST_PIXELS = 16_000_000  # of all images together


def choose_features(
    sources: Sequence[SourceImage],
    colour: ColourName = "auto",
    pretrained: bool = True,
    user_backbone: UserBackbone | None = None,
    task: Task = NO_TASK,
) -> FeatureSpec:
    """Choose the features of images that belong together.

    Their grey-value range is one for all of them, never one for each: percentiles of a field would tell it from others.

    Parameters
    ----------
    sources
        The images; some of them where there are many. Large ones are sampled.
    colour
        Whether three channels are red, green and blue, where the files are wrong.
    pretrained
        Whether there are features of the pretrained backbone, or of texture alone.
    user_backbone
        Takes the place of ours.
    task
        Reports the images that were read, and may be cancelled.

    Raises
    ------
    ImageError
        They differ in their channels or dtype, or cannot be read.
    ModelError
        The weights of the backbone are not installed.
    CancelledError
        The task was cancelled.
    """
    first = sources[0]
    colours = is_colour(first, colour)
    for source in sources[1:]:
        _check_alike(first, source)
        if is_colour(source, colour) != colours:
            raise ImageError(
                f"{first.name} is {_kind(colours)}, but {source.name} is {_kind(not colours)}; say what both are "
                "(--colour rgb or channels)"
            )
    if colours and first.dtype == np.uint8:
        return new_feature_spec(feature_preprocess(first.dtype, 3, True), True, pretrained, user_backbone)
    most = max(1, _MOST_PIXELS // len(sources))
    samples = []
    for source in task.track(sources, "measuring grey values"):
        pixels = sample_pixels(source, task.silent())
        samples.append(pixels[:: -(-len(pixels) // most)])
    sample = np.concatenate(samples)
    preprocess = feature_preprocess(first.dtype, first.channels, colours, sample)
    return new_feature_spec(preprocess, colours, pretrained, user_backbone)


def _check_alike(first: SourceImage, source: SourceImage) -> None:
    if source.channels != first.channels:
        raise ImageError(
            f"{first.name} has {counted(first.channels, 'channel')}, but {source.name} has {source.channels}; give "
            "images with the same channels"
        )
    if source.dtype.newbyteorder("=") != first.dtype.newbyteorder("="):
        raise ImageError(
            f"{first.name} has pixels of {first.dtype}, but {source.name} of {source.dtype}; convert one of them"
        )


def _kind(colours: bool) -> str:
    return "red, green and blue" if colours else "of separate channels"
