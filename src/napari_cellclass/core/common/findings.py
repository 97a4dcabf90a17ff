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
        ``"error"``: cannot be trained on; ``"warning"``: the results of a training may be misleading, or files
        are excluded; ``"note"``: for information.
    code
        A stable name for programs, such as ``"near-duplicate"``.
    text
        A sentence with the numbers, without the full stop.
    files
        The files concerned.
    """

    severity: Severity
    code: str
    text: str
    files: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a dict that can be written as JSON."""
        return {
            "severity": self.severity,
            "code": self.code,
            "text": self.text,
            "files": [str(path) for path in self.files],
        }


def first_few(names: Sequence[object], most: int = 3) -> str:
    """Name the first few and count the others: ``'a', 'b', 'c' and 2 more``."""
    shown = ", ".join(repr(str(name)) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: ``1 group``, ``2 groups``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
