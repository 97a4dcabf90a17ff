"""The channels of image layers: recognised, described, and asked where they are unclear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.images.channel_names import channel_in_name, describe_channels, names_of_one_field
from napari_cellclass.viewer.common.layer_axes import answer_axis, layer_data, read_layer_axes
from napari_cellclass.viewer.common.layer_relations import answer_relation, base_name, relation_of, why_one_image
from napari_cellclass.viewer.common.layers import image_from_layers, same_transform
from napari_cellclass.viewer.common.metadata import forget, remembered
from napari_cellclass.viewer.common.proxies import unwrap

if TYPE_CHECKING:
    from napari.layers import Image

_SAME_PLACE = 0.5  # px; a quick test before that of the whole transform


@dataclass(frozen=True, eq=False)
class ChannelQuestion:
    """What only a user knows of the layers that were chosen; the answer is kept in the layers' metadata.

    Parameters
    ----------
    text
        The question, in one line.
    choices
        What can be answered.
    answer
        Is called with one of the choices.
    """

    text: str
    choices: tuple[str, ...]
    answer: Callable[[Any], None]


def channel_question(layers: Sequence[Image]) -> ChannelQuestion | None:
    """Give the first thing that is unclear about the channels of the chosen layers, or None."""
    layers = [unwrap(layer) for layer in layers]
    for layer in layers:
        axes = read_layer_axes(layer)
        if (axis := axes.unclear) is not None:
            text = f"The axis of length {axes.lengths[axis]} of {layer.name}: channels or planes?"
            return ChannelQuestion(text, ("channels", "planes"), partial(answer_axis, layer, axis))
    overlie = all(_overlie(layers[0], layer) for layer in layers[1:])
    if len(layers) > 1 and overlie and relation_of(layers) is None:
        names = f"{', '.join(layer.name for layer in layers[:-1])} and {layers[-1].name}"
        return ChannelQuestion(
            f"{names}: channels of one image or {len(layers)} fields?",
            ("channels", "fields"),
            partial(answer_relation, layers),
        )
    return None


def forget_answers(layers: Sequence[Image]) -> None:
    """Drop what was answered about the chosen layers, so that it is asked again."""
    for layer in layers:
        forget(unwrap(layer))


def has_answers(layers: Sequence[Image]) -> bool:
    """Return whether something was answered about the chosen layers."""
    return any(remembered(unwrap(layer)) for layer in layers)


def describe_layers(layers: Sequence[Image]) -> str:
    """Describe the channels of the chosen layers in one line; empty where there is nothing to read.

    Of several layers it says why they are taken as channels of one image.
    """
    layers = [unwrap(layer) for layer in layers]
    try:
        source = image_from_layers(layers)
    except CellClassError:
        return ""
    if len(layers) == 1:
        return describe_channels(source)
    reason = why_one_image(layers) or "they lie on each other"
    return f"channels: {', '.join(_channel_names(layers))} (of one image: {reason})"


@dataclass(frozen=True, eq=False)
class FieldLayers:
    """Image layers that belong to one field.

    Parameters
    ----------
    layers
        In the order given; several are its channels.
    reason
        Why several layers are one field; empty for one.
    channel_names
        The names of the channels, or empty where they are not known.
    """

    layers: tuple[Any, ...]
    reason: str = ""
    channel_names: tuple[str, ...] = ()


def propose_fields(layers: Sequence[Image]) -> tuple[FieldLayers, ...]:
    """Propose which image layers belong to one field, in the order of their first layers.

    Layers of one shape, pixel type and transform are channels of one field where their names differ by channel alone,
    or where they came from one array or file with a colour each, as napari opens an axis of channels. A user's answer
    comes first. All others are fields of their own.
    """
    layers = [unwrap(layer) for layer in layers]
    alike: list[list[Image]] = []
    for layer in layers:
        same = next((some for some in alike if _overlie(some[0], layer)), None)
        (alike.append([layer]) if same is None else same.append(layer))
    groups = [group for some in alike for group in _channels_of_one_field(some)]
    taken = {id(layer) for group in groups for layer in group}
    groups += [[layer] for layer in layers if id(layer) not in taken]
    groups.sort(key=lambda group: next(i for i, layer in enumerate(layers) if layer is group[0]))
    return tuple(
        FieldLayers(tuple(group), why_one_image(group) if len(group) > 1 else "", _channel_names(group))
        for group in groups
    )


def field_of(layer: Image, layers: Sequence[Image]) -> tuple[Any, ...]:
    """Give the layers of :func:`propose_fields` that belong to one field with a layer, among them itself."""
    layer = unwrap(layer)
    others = [one for one in map(unwrap, layers) if one is layer or why_one_image([one, layer])]
    fields = (field.layers for field in propose_fields(others))
    return next((field for field in fields if any(one is layer for one in field)), (layer,))


def _overlie(one: Image, other: Image) -> bool:
    data = layer_data(one), layer_data(other)
    return (
        data[0].shape == data[1].shape
        and data[0].dtype == data[1].dtype
        and not (one.rgb or other.rgb)
        and abs(one.translate[-2:] - other.translate[-2:]).max() <= _SAME_PLACE * abs(one.scale[-2:]).max()
        and same_transform(one, other)
    )


def _channels_of_one_field(layers: list[Image]) -> list[list[Image]]:
    """Divide layers that overlie each other into those that are channels of one image; leave out all others."""
    candidates = [[layers[i] for i in group] for group in names_of_one_field([layer.name for layer in layers])]
    by_origin: dict[Any, list[Image]] = {}
    for layer in layers:
        by_origin.setdefault((layer.source.path, base_name(layer.name)), []).append(layer)
    found: list[list[Image]] = []
    for group in (*candidates, *by_origin.values()):
        free = [layer for layer in group if not any(layer is other for one in found for other in one)]
        if len(free) > 1 and why_one_image(free) and relation_of(free) == "channels":
            found.append(free)
    return found


def _channel_names(layers: Sequence[Image]) -> tuple[str, ...]:
    if len(layers) == 1:
        return read_layer_axes(layers[0]).channel_names
    found = [channel_in_name(layer.name) for layer in layers]
    return tuple(one[1] if one else layer.name for one, layer in zip(found, layers, strict=True))
