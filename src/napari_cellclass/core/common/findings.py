"""Findings of a data set or of a training: a severity, a stable code, a plain sentence, the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know.

    Parameters
    ----------
    severity
        ``"error"``: cannot be trained on; ``"warning"``: the figures of a training may mislead, or files are
        left out; ``"note"``: good to know.
    code
        A stable name for programs, such as ``"near-duplicate"``.
    text
        A plain sentence with the numbers, without the full stop.
    files
        The files concerned.
    """

    severity: Severity
    code: str
    text: str
    files: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-able dict."""
        return {
            "severity": self.severity,
            "code": self.code,
            "text": self.text,
            "files": [str(path) for path in self.files],
        }


def some(names: Sequence[object], most: int = 3) -> str:
    """Name the first few and count the others: ``'a', 'b', 'c' and 2 more``."""
    shown = ", ".join(repr(str(name)) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def counted(count: int, one: str, many: str = "") -> str:
    """Count things in words: ``1 group``, ``2 groups``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
