"""Whether image layers are channels of one image, or fields of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from napari_cellclass.core.images.channel_names import names_of_one_field, names_of_several_fields
from napari_cellclass.viewer.common.metadata import remember, remembered

if TYPE_CHECKING:
    from napari.layers import Image

LayerRelation = Literal["channels", "fields"]
_COPY = re.compile(r" \[\d+\]$")  # how napari makes names unique, also those of the channels of one array


def base_name(name: str) -> str:
    """Give a layer's name without the number by which napari made it unique."""
    return _COPY.sub("", name)


def why_one_image(layers: Sequence[Image]) -> str:
    """Say by what layers are recognised as channels of one image; empty where nothing shows it."""
    names = [layer.name for layer in layers]
    if names_of_one_field(names) == (tuple(range(len(names))),):
        return "their names differ by channel alone"
    bases = {base_name(name) for name in names}
    paths = {layer.source.path for layer in layers}
    colours = [layer.colormap.name for layer in layers]
    if (len(bases) == 1 or (len(paths) == 1 and None not in paths)) and len(set(colours)) > 1:
        return "they were opened together, each in its colour"
    return ""


def relation_of(layers: Sequence[Image]) -> LayerRelation | None:
    """Tell what several layers are to each other.

    A user's answer comes first. Without one they are channels, unless their names differ in other numbers than those
    of channels and nothing shows that they are one image; then it is unclear, None.
    """
    ids = {str(layer.unique_id) for layer in layers}
    answer: LayerRelation | None
    for one in layers:
        for others, answer in remembered(one).get("relations", {}).items():
            if set(others) == ids:
                return answer
    if not why_one_image(layers) and names_of_several_fields([layer.name for layer in layers]):
        return None
    return "channels"


def answer_relation(layers: Sequence[Image], relation: LayerRelation) -> None:
    """Remember in the layers' metadata what they are to each other."""
    ids = tuple(sorted(str(layer.unique_id) for layer in layers))
    for layer in layers:
        remember(layer, relations={**remembered(layer).get("relations", {}), ids: relation})
