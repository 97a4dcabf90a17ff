"""One sentence for a result: the figure with its interval and n, and the worst caveat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from napari_cellclass.core.common.findings import Finding, counted
from napari_cellclass.core.stats.intervals import Estimate

_SEVERITIES = ("error", "warning", "note")
# What makes a figure say nothing at all comes before what makes it less certain; others follow in their order.
_WORST = (
    "trained-on", "copies-across-split", "near-duplicate", "duplicate-across-classes", "one-class", "loss-of-guessing",
    "nothing-learned", "memorised", "confounded", "shortcut", "brightness-alone", "below-texture",
    "classes-by-brightness", "too-few-groups", "one-group", "few-groups", "few-tiles",
)  # fmt: skip
_FEW_GROUPS = 6  # fewer give an interval that may include chance only because they are few
_COARSE = 0.05  # a tile that changes the balanced accuracy by more makes it a coarse figure


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings, the worst first: by severity, and then by what they make of the figure."""

    def rank(one: Finding) -> tuple[int, int]:
        known = [i for i, code in enumerate(_WORST) if one.code.startswith(code)]
        return _SEVERITIES.index(one.severity), min(known, default=len(_WORST))

    return tuple(sorted(findings, key=rank))


def estimate_text(value: Estimate, n: str = "") -> str:
    """Write a fraction with its confidence interval and what it was measured on.

    Parameters
    ----------
    value
        0 to 1.
    n
        Such as ``"n = 320 tiles of 12 groups"``; may be empty.

    Returns
    -------
    str
        ``0.91 (95 % CI 0.85–0.95, n = 320 tiles of 12 groups)``.
    """
    bounds = "95 % CI not defined" if value.lo is None or value.hi is None else f"95 % CI {value.lo:.2f}–{value.hi:.2f}"
    return f"{value.value:.2f} ({', '.join(text for text in (bounds, n) if text)})"


def sample_text(tiles: int, groups: int, which: str = "") -> str:
    """Write what a figure was measured on: ``n = 320 held-out tiles of 12 groups``."""
    return f"n = {counted(tiles, f'{which} tile'.strip())} of {counted(groups, 'group')}"


def headline(figure: str, caveats: Sequence[str]) -> str:
    """Join a figure and its worst caveat to one sentence, which the advice of the caveat is left out of.

    Parameters
    ----------
    figure
        Begins the sentence.
    caveats
        Without a full stop, the worst first; may be empty.
    """
    start = f"{figure[:1].upper()}{figure[1:]}"
    if not caveats:
        return f"{start}."
    caveat = caveats[0].partition("; ")[0]
    if caveat[1:2].islower():  # else its first word is an abbreviation or a letter
        caveat = f"{caveat[:1].lower()}{caveat[1:]}"
    return f"{start}; but {caveat}."


def sample_caveats(tiles_by_class: Sequence[int], groups: int) -> Iterator[str]:
    """Tell in what way a balanced accuracy is of too few tiles or groups.

    Parameters
    ----------
    tiles_by_class
        Tiles of each class that were measured on.
    groups
        Independent groups that they are of.
    """
    occurring = [n for n in tiles_by_class if n]
    if groups < 2:
        yield "all tiles are of one group, so that the accuracy on others is unknown"
    elif groups < _FEW_GROUPS:
        yield f"only {groups} groups were measured, so that chance plays a large part"
    if occurring and (step := 1 / (len(occurring) * min(occurring))) > _COARSE:
        tiles = counted(min(occurring), "tile")
        are = "is" if min(occurring) == 1 else "are"
        yield f"of the rarest class there {are} only {tiles}, each of which changes it by {100 * step:.0f} points"
