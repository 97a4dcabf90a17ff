"""Groups of images, proposed from their file names: wells, plates, patients, or whatever varies in the names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.datasets.class_images import group_name
from napari_cellclass.core.datasets.naming import natural_sort_key
from napari_cellclass.core.images.reading import is_image_name
from napari_cellclass.core.plates.wells import site_in_name, wells_in_names

_TOKEN = re.compile(r"\d+|[^\W\d_]+|[\W_]+")
_ROWS = re.compile(r"A[A-F]|[A-P]")
# The end of the names of cut tiles: "_r00_c03" and the angle of a rotated copy.
_TILE_END = re.compile(r"_r\d+_c\d+(_a[+-]\d+)?$")
# Words before a number that tell what it counts, with their plural; "" for what several images of one field differ by.
_WORDS = {
    **dict.fromkeys(("plate", "plt"), "plates"), **dict.fromkeys(("slide", "sl"), "slides"),
    **dict.fromkeys(("patient", "pat", "pt", "subject", "case"), "patients"), "donor": "donors",
    **dict.fromkeys(("mouse", "mice", "animal", "rat"), "animals"), "embryo": "embryos", "fish": "fish",
    **dict.fromkeys(("day", "d"), "days"), "week": "weeks", "batch": "batches", "dish": "dishes", "well": "wells",
    **dict.fromkeys(("exp", "experiment"), "experiments"), **dict.fromkeys(("rep", "repl", "replicate"), "replicates"),
    **dict.fromkeys(("section", "sec"), "sections"), "run": "runs", "sample": "samples", "culture": "cultures",
    **dict.fromkeys(("s", "f", "site", "field", "fld", "fov"), "fields"),
    **dict.fromkeys(("t", "time", "z", "c", "ch", "channel", "w", "wv", "p"), ""),
}  # fmt: skip
_SPECIAL = re.compile(r"[.^$*+?{}\[\]\\|()]")
_SHOWN = 3


@dataclass(frozen=True)
class GroupProposal:
    """One way to group images by their names.

    Parameters
    ----------
    pattern
        The regular expression for ``--group-by``; None for each image by itself.
    sentence
        What it means, for users.
    groups
        The group of each name, in the order given.
    count
        The number of groups.
    """

    pattern: str | None
    sentence: str
    groups: tuple[str, ...]
    count: int


def propose_groups(names: Sequence[str]) -> tuple[GroupProposal, ...]:
    """Propose how images are grouped for a split, the likeliest first, each image by itself last.

    Wells come first; then numbers after a word such as plate, slide, patient or day; then every other part by which
    the names differ. Proposals that divide the images alike are given once.

    Parameters
    ----------
    names
        File names, without folders; they may repeat.

    Returns
    -------
    tuple of GroupProposal
        Each pattern fits all names, and makes more than one group and fewer groups than images.
    """
    found: list[GroupProposal] = []
    divisions = set()
    paths = [Path(name) for name in names]
    for pattern, noun in _candidates(names):
        try:
            groups = tuple(group_name(path, pattern) for path in paths)
        except DatasetError:
            continue
        numbers = {group: i for i, group in enumerate(dict.fromkeys(groups))}
        division = tuple(numbers[group] for group in groups)
        if 1 < len(numbers) < len(names) and division not in divisions:
            divisions.add(division)
            sentence = f"{len(numbers)} {noun}: {_listed(groups)}; {_sizes(names, groups, noun)}"
            found.append(GroupProposal(pattern, sentence, groups, len(numbers)))
    alone = GroupProposal(None, "each image by itself", tuple(names), len(names))
    return (*found, alone)


def _candidates(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield patterns and the plural of what they name, the likeliest first."""
    columns = _Columns.of(names)
    wells = wells_in_names(list(names))
    well = columns.well() if wells is not None else None
    if well is not None:
        if columns.varies_before(well[0]):
            yield columns.pattern(0, well[1]), "wells"
        yield columns.pattern(*well), "wells"
    elif wells is not None:
        yield r"(?<![A-Za-z0-9])([A-P][A-F]?\d{1,2})(?!\d)", "wells"
    varying = [i for i in columns.varying() if well is None or not well[0] <= i <= well[1]]
    unnamed, within = [], []
    for i in varying:
        start = columns.word_before(i)
        noun = None if start is None else _WORDS.get(columns.values[start][0].casefold())
        if start is None or noun is None:
            unnamed.append(i)
        elif not noun:
            within.append(i)
        else:
            nested = (well is not None and well[0] < i) or any(j < i and j not in within for j in varying)
            if nested:
                yield columns.pattern(0, i), noun
            if not (nested and noun == "fields"):  # site 1 of each well is no group
                yield columns.pattern(start, i), noun
    for i in unnamed:
        yield columns.pattern(0, i), "groups"
    for i in unnamed:
        if i != varying[-1]:  # the last number counts the images of a group
            yield columns.pattern(i, i), "groups"


@dataclass(frozen=True)
class _Columns:
    """What names have in common: their parts, from the beginning for as long as all have the same kinds of parts.

    Parameters
    ----------
    values
        Per part, what it is in each name.
    """

    values: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, names: Sequence[str]) -> _Columns:
        rows = [_TOKEN.findall(_TILE_END.sub("", _stem(name))) for name in names]
        values = []
        for column in zip(*rows, strict=False):
            if len({_kind(text) for text in set(column)}) > 1:
                break
            values.append(column)
        return cls(tuple(values))

    def varying(self) -> list[int]:
        """Which parts are words or numbers that differ between names."""
        return [i for i, column in enumerate(self.values) if _kind(column[0]) and len(set(column)) > 1]

    def varies_before(self, i: int) -> bool:
        return any(len(set(column)) > 1 for column in self.values[:i])

    def word_before(self, i: int) -> int | None:
        """Find the word that all names have before a number, such as ``plate`` of plate_2."""
        if _kind(self.values[i][0]) != r"\d+":
            return None
        same = [j for j in (i - 1, i - 2) if j >= 0 and len(set(self.values[j])) == 1]
        if same[:1] == [i - 1] and not _kind(self.values[i - 1][0]):
            same = same[1:]
        found = [j for j in same[:1] if _kind(self.values[j][0]) not in ("", r"\d+")]
        return found[0] if found else None

    def well(self) -> tuple[int, int] | None:
        """Find the first and last part of the well, where it is in the same parts of all names: ``B``, ``03``."""
        for i, column in enumerate(self.values[:-1]):
            stands_alone = i == 0 or not _kind(self.values[i - 1][0])
            if stands_alone and all(map(_ROWS.fullmatch, column)) and _kind(self.values[i + 1][0]) == r"\d+":
                return i, i + 1
            long = self.values[i : i + 4]
            heads = [{text.casefold() for text in part} for part in long]
            if stands_alone and len(long) == 4 and heads[0] == {"r"} and heads[2] == {"c"}:
                return i, i + 3
        return None

    def pattern(self, first: int, last: int) -> str:
        """Return the regular expression whose group is the parts from ``first`` to ``last``."""
        well = self.well()
        parts = [self._part(column) for column in self.values[: last + 1]]
        if well is not None and well[0] <= last and all(map(_ROWS.fullmatch, self.values[well[0]])):
            parts[well[0]] = "[A-P]" if all(len(text) == 1 for text in self.values[well[0]]) else "[A-P]+"
        return f"^{''.join(parts[:first])}({''.join(parts[first:])})"

    @staticmethod
    def _part(column: tuple[str, ...]) -> str:
        if _kind(column[0]) == r"\d+":
            return r"\d+"
        if len(set(column)) == 1:
            return _SPECIAL.sub(r"\\\g<0>", column[0])
        word = "[A-Za-z]+" if all(text.isascii() for text in column) else r"[^\W\d_]+"
        return word if _kind(column[0]) else r"[\W_]+"


def _kind(text: str) -> str:
    """Return the pattern of a number or a word; empty for what is between them."""
    if text[0].isdecimal():
        return r"\d+"
    return "" if re.match(r"[\W_]", text) else r"[^\W\d_]+"


def _stem(name: str) -> str:
    return (name.rpartition(".")[0] if is_image_name(name) else name).removesuffix(".ome")


def _listed(groups: Sequence[str]) -> str:
    ordered = sorted(set(groups), key=lambda group: natural_sort_key(Path(group)))
    return ", ".join(ordered[:_SHOWN]) + (" …" if len(ordered) > _SHOWN else "")


def _sizes(names: Sequence[str], groups: Sequence[str], noun: str) -> str:
    """Say how many images there are of each group."""
    sizes = Counter(groups).values()
    one = "site" if noun == "wells" and _differ_by_site(names, groups) else "image"
    least, most = min(sizes), max(sizes)
    return f"{counted(most, one)} each" if least == most else f"{least} to {counted(most, one)} each"


def _differ_by_site(names: Sequence[str], groups: Sequence[str]) -> bool:
    sites = {(group, site_in_name(name)) for group, name in zip(groups, names, strict=True)}
    return len(sites) == len(names) and all(site is not None for _, site in sites)
