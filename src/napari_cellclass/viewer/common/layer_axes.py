"""Which axes of an image layer are channels, and which are planes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from napari_cellclass.core.common.errors import CellClassError, ImageError
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.viewer.common.metadata import remember, remembered

if TYPE_CHECKING:
    from napari.layers import Image

AxisKind = Literal["channels", "planes"]

_UNCLEAR_LENGTHS = range(2, 5)
# Longer stacks are not looked up in their file, which may take long.
_MAX_CHANNELS = 16
_CHANNEL_LABELS = {"c", "ch", "chan", "channel", "channels", "wavelength", "lambda", "stain", "dye"}
_FromFile = tuple[str, tuple[int, ...], tuple[str, ...]]
_files: WeakKeyDictionary[Any, tuple[str, _FromFile]] = WeakKeyDictionary()


@dataclass(frozen=True)
class LayerAxes:
    """The axes of an image layer before Y and X.

    Parameters
    ----------
    letters
        One per axis, ``C`` for channels; the others are called Z, T and Z, or further letters before these.
    lengths
        Their lengths.
    unclear
        An axis that may be channels or planes, which only a user knows; None where all are clear.
    channel_names
        The names of the channels, where they are known.
    """

    letters: str
    lengths: tuple[int, ...]
    unclear: int | None = None
    channel_names: tuple[str, ...] = ()

    @property
    def channel(self) -> int | None:
        """The axis of channels, or None."""
        return self.letters.index("C") if "C" in self.letters else None


class UnclearChannelsError(ImageError):
    """An axis of a layer may be channels or planes; see :func:`answer_axis`."""


def layer_data(layer: Image) -> Any:
    """Give a layer's array, of a multiscale layer that of level 0."""
    return layer.data[0] if layer.multiscale else layer.data


def read_layer_axes(layer: Image) -> LayerAxes:
    """Recognise the axes of an image layer before Y and X.

    What a user has answered comes first, then axis labels, then what the layer's file says (OME, ImageJ). An axis
    with a scale or an offset of its own, or a unit of time, is of planes. Else 2 to 4 are unclear, more planes.
    """
    shape = layer_data(layer).shape
    leading = len(shape) - (3 if layer.rgb else 2)
    lengths = tuple(int(n) for n in shape[:leading])
    if layer.rgb or not leading:
        return LayerAxes(_letters(leading, None), lengths)
    kinds: list[AxisKind | None] = [_known_kind(layer, axis, length) for axis, length in enumerate(lengths)]
    names: tuple[str, ...] = ()
    if any(1 < length <= _MAX_CHANNELS for length in lengths) and (found := _from_file(layer, lengths)) is not None:
        letters, names = found
        kinds = [
            kind or ("channels" if letter == "C" else "planes" if "C" in letters or letter == "Z" else None)
            for kind, letter in zip(kinds, letters, strict=True)
        ]
    channel = kinds.index("channels") if "channels" in kinds else None
    unclear = None
    if channel is None:
        open_axes = (i for i, kind in enumerate(kinds) if kind is None and lengths[i] in _UNCLEAR_LENGTHS)
        unclear = next(open_axes, None)
    names = names if channel is not None and len(names) == lengths[channel] else ()
    return LayerAxes(_letters(leading, channel), lengths, unclear, names)


def answer_axis(layer: Image, axis: int, kind: AxisKind) -> None:
    """Remember in the layer's metadata whether an axis holds channels or planes."""
    answers = {**remembered(layer).get("axes", {}), str(axis): kind}
    if kind == "channels":  # an image has one axis of channels
        answers |= {other: "planes" for other in answers if other != str(axis)}
    remember(layer, axes=answers)


def _letters(leading: int, channel: int | None) -> str:
    others = leading - (channel is not None)
    names = "Q" * max(0, others - 2) + "TZ"[2 - min(others, 2) :]
    return names if channel is None else f"{names[:channel]}C{names[channel:]}"


def _known_kind(layer: Image, axis: int, length: int) -> AxisKind | None:
    answer: AxisKind | None = remembered(layer).get("axes", {}).get(str(axis))
    if answer is not None or length == 1:
        return answer or "planes"
    label = layer.axis_labels[axis].strip().casefold()
    if label in _CHANNEL_LABELS:
        return "channels"
    named = label and label != str(axis - layer.ndim)
    # One scale may have been given for all axes.
    own_place = layer.scale[axis] not in (1, layer.scale[-1]) or layer.translate[axis] != 0
    own_place = own_place or layer.units[axis].is_compatible_with("second")
    return "planes" if named or own_place else None


def _from_file(layer: Image, lengths: tuple[int, ...]) -> tuple[str, tuple[str, ...]] | None:
    """Give the letters of the layer's axes, and names of channels, as its file has them; None where it has others."""
    path = layer.source.path
    if not path:
        return None
    if layer not in _files or _files[layer][0] != path:
        _files[layer] = path, _read_file(path)
    letters, shape, names = _files[layer][1]
    sizes = [(letter, n) for letter, n in zip(letters, shape, strict=False) if letter not in "YXS" and n > 1]
    if [n for _, n in sizes] != [n for n in lengths if n > 1]:
        return None
    rest = iter(sizes)
    return "".join(next(rest)[0] if n > 1 else "Z" for n in lengths), names


def _read_file(path: str) -> _FromFile:
    try:
        source = read_image(Path(path))
    except CellClassError:
        return "", (), ()
    return source.source_axes, source.source_shape, source.channel_names
