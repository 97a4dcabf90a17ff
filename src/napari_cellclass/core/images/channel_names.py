"""Channels recognised from names, and described."""

from __future__ import annotations

import re
from collections.abc import Sequence

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.images.source import SourceImage

# "_w1", "-ch00", "C1-", "Z01C02": how microscopes and ImageJ number channels. A "C03" that stands alone is a well.
_NUMBERED = r"(?:(?:channel|chan|ch|wv|w|(?-i:c))[ _-]?\d{1,2}|(?-i:C)\d{1,2}(?=-)|(?<=\d)(?-i:C)\d{1,2})(?!\d)"
_DYES = "|".join((
    r"DAPI|Hoechst(?:[ _-]?\d+)?|DNA|nuclei|DRAQ5|SiR|PI|[EM]?GFP|E?YFP|E?CFP|[DTM]?RFP|mCherry|tdTomato|mScarlet",
    r"mVenus|mNeonGreen|FITC|TRITC|Tx ?Red|Texas ?Red|Rhodamine|Cy[2357](?:\.5)?|Alexa(?:Fluor)?[ _-]?\d{3}",
    r"A?F?(?:405|488|546|555|561|568|594|633|640|647)(?:nm)?|BF|brightfield|DIC|phase(?:contrast)?|actin|phalloidin",
    r"tubulin|mito(?:tracker)?|red|green|blue|cyan|magenta|yellow",
))  # fmt: skip
_CHANNEL = re.compile(rf"(?<![^\W\d_])(?:{_NUMBERED}|(?P<dye>{_DYES})(?![^\W_]))", re.IGNORECASE)
# The c of "r02c03", a well, and of "_r00_c03", a tile, is a column.
_POSITION = re.compile(r"(?<![^\W\d_])r(\d{1,4}_?)c(?=\d)", re.IGNORECASE)
_COPY = re.compile(r" \[\d+\]$")  # napari makes names unique so


def channel_in_name(name: str) -> tuple[str, str] | None:
    """Read a channel from the name of a file or layer.

    Parameters
    ----------
    name
        Such as ``B03_s1_w2.tif``, ``C1-cells`` or ``cells GFP``.

    Returns
    -------
    tuple of str or None
        What is left of the name without its channel, and the channel: the name of a dye where there is one, else such
        as ``w2``. None where no channel is named.
    """
    hidden = _hide_columns(name)
    found = list(_CHANNEL.finditer(hidden))
    if not found:
        return None
    dyes = [match["dye"] for match in found if match["dye"]]
    return _CHANNEL.sub("\0", hidden), " ".join(dyes) or " ".join(match[0] for match in found)


def _hide_columns(name: str) -> str:
    return _POSITION.sub(lambda match: f"\1{match[1]}\2", _COPY.sub("", name))


def names_of_one_field(names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Find names that differ only in the channel that they name.

    Returns
    -------
    tuple of tuples of int
        The indices of two or more names each, in the order given.
    """
    fields: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        if (found := channel_in_name(name)) is not None:
            fields.setdefault(found[0], []).append(i)
    groups = (tuple(indices) for indices in fields.values() if len(indices) > 1)
    return tuple(group for group in groups if len({names[i] for i in group}) == len(group))


def names_of_several_fields(names: Sequence[str]) -> bool:
    """Return whether names differ in a number that is not a channel's, as those of several fields do."""
    rests = [(channel_in_name(name) or (_hide_columns(name), ""))[0] for name in names]
    return len({tuple(re.findall(r"\d+", rest)) for rest in rests}) == len(names) > 1


def describe_channels(source: SourceImage) -> str:
    """Describe the channels of an image: ``channels: GFP, DNA``, ``2 channels``, ``RGB``."""
    if source.rgb:
        return "RGB"
    if source.channels > 1 and source.channel_names:
        return f"channels: {', '.join(source.channel_names)}"
    return counted(source.channels, "channel")
