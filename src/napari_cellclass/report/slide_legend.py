"""The legend of a slide: the largest letters at which all names fit, wrapped rather than cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from napari_cellclass.core.common.findings import counted

TextWidth = Callable[[str, float], float]
"""The width in inches of a text of a size in points."""
_LARGEST, _SMALLEST = 20, 11  # points
_LINE, _BETWEEN = 1.2, 0.45  # of the font size: from line to line, and more between entries
_PATCH, _SPACE = 0.9, 0.5
_MOST_LINES = 4
_SMALLEST_IN_STRIP, _MOST_STRIPS, _APART = 16, 2, 2.0
_POINT = 1 / 72


@dataclass(frozen=True)
class LegendRow:
    """A class of a legend: name, colour (0..1), tiles and their fraction of all."""

    name: str
    colour: tuple[float, float, float]
    tiles: int
    fraction: float


@dataclass(frozen=True)
class LegendEntry:
    """An entry as it is drawn; distances in inches from the legend's upper left corner.

    Parameters
    ----------
    lines, count
        Its texts: the name, and how many tiles.
    colour
        Of its patch, 0..1; None where it has none.
    top, left, right
        Of the first line; ``right`` is where the count ends.
    """

    lines: tuple[str, ...]
    count: str
    colour: tuple[float, float, float] | None
    top: float
    left: float
    right: float


@dataclass(frozen=True)
class LegendLayout:
    """A legend as it is drawn: font size in points; the rest in inches."""

    entries: tuple[LegendEntry, ...]
    points: float
    line: float
    indent: float
    patch: float

    @property
    def height(self) -> float:
        """Of all entries."""
        last = self.entries[-1]
        return last.top + len(last.lines) * self.line


def legend_width(rows: Sequence[LegendRow], measure: TextWidth) -> float:
    """Return the width in inches at which no name has to be wrapped in the largest letters."""
    size = _LARGEST * _POINT
    names = max(measure(row.name, _LARGEST) for row in rows)
    return (_PATCH + 2 * _SPACE) * size + names + max(measure(_count(row), _LARGEST) for row in rows) + 0.01


def lay_legend(rows: Sequence[LegendRow], width: float, height: float, measure: TextWidth) -> LegendLayout:
    """Lay out a legend in a space in inches.

    Letters are as large as they can be, from 20 down to 11 points, so that every name stands there in whole, on up
    to four lines. Where that is not possible at 11 points, names are shortened in their middle; where there are still
    too many classes, those with the fewest tiles are left out, and their number is said.

    Parameters
    ----------
    rows
        The classes in order; one at least.
    width, height
        Of the space.
    measure
        How wide a text is.
    """
    for points in range(_LARGEST, _SMALLEST - 1, -1):
        laid, whole = _lay(rows, width, points, measure, _MOST_LINES)
        if whole and laid.height <= height:
            return laid
    for lines in (_MOST_LINES, 3, 2, 1):
        laid, _ = _lay(rows, width, _SMALLEST, measure, lines)
        if laid.height <= height:
            return laid
    kept = list(rows)
    while len(kept) > 1:
        kept.remove(min(reversed(kept), key=lambda row: row.tiles))
        left_out = [row for row in rows if row not in kept]
        note = f"and {counted(len(left_out), 'more class', 'more classes')}"
        rest = LegendRow(note, (0, 0, 0), sum(row.tiles for row in left_out), sum(row.fraction for row in left_out))
        laid, _ = _lay([*kept, rest], width, _SMALLEST, measure, 1, has_rest=True)
        if laid.height <= height:
            break
    return laid


def lay_strip(rows: Sequence[LegendRow], width: float, measure: TextWidth) -> LegendLayout | None:
    """Lay out a legend as one or two lines, of letters of 16 points or more; None where that is not possible."""
    for points in range(_LARGEST, _SMALLEST_IN_STRIP - 1, -1):
        laid = _strip(rows, width, points, measure)
        if len({one.top for one in laid.entries}) <= _MOST_STRIPS and max(one.right for one in laid.entries) <= width:
            return laid
    return None


def _strip(rows: Sequence[LegendRow], width: float, points: int, measure: TextWidth) -> LegendLayout:
    size = points * _POINT
    indent, step = (_PATCH + _SPACE) * size, (_LINE + _BETWEEN) * size
    entries, left, top = [], 0.0, 0.0
    for row in rows:
        long = indent + measure(row.name, points) + _SPACE * size + measure(_count(row), points)
        if left > 0 and left + long > width:
            left, top = 0.0, top + step
        entries.append(LegendEntry((row.name,), _count(row), row.colour, top, left, left + long))
        left += long + _APART * size
    return LegendLayout(tuple(entries), points, _LINE * size, indent, _PATCH * size)


def _lay(
    rows: Sequence[LegendRow], width: float, points: int, measure: TextWidth, most: int, has_rest: bool = False
) -> tuple[LegendLayout, bool]:
    """Lay out at a size; return whether all names are whole."""
    size = points * _POINT
    indent, line = (_PATCH + _SPACE) * size, _LINE * size
    counts = [_count(row) for row in rows]
    free = width - indent - max(measure(text, points) for text in counts) - _SPACE * size
    entries, top, whole = [], 0.0, True
    for i, (row, count) in enumerate(zip(rows, counts, strict=True)):
        lines = _wrapped(row.name, free, lambda text: measure(text, points))
        whole = whole and all(measure(word, points) <= free for word in row.name.split())
        if len(lines) > most:
            whole = False
            lines = _shortened(row.name, free, lambda text: measure(text, points), most)
        colour = None if has_rest and i == len(rows) - 1 else row.colour
        entries.append(LegendEntry(tuple(lines), count, colour, top, 0.0, width))
        top += len(lines) * line + _BETWEEN * size
    return LegendLayout(tuple(entries), points, line, indent, _PATCH * size), whole


def _count(row: LegendRow) -> str:
    return f"{row.tiles:,} ({row.fraction:.0%})"


def _wrapped(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Break a text at spaces, and a word that is wider than a line where the line ends."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if measure(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and measure(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _shortened(text: str, width: float, measure: Callable[[str], float], most: int) -> list[str]:
    """Leave letters in the middle out until a text fits on some lines."""
    for kept in range(len(text) - 1, 1, -1):
        end = kept // 2
        lines = _wrapped(f"{text[: kept - end]}…{text[-end:]}", width, measure)
        if len(lines) <= most:
            return lines
    return [text[:1] + "…"]
