"""The file of results that are kept: one section per benchmark, each written by its own program."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd


def markdown(frame: pd.DataFrame) -> str:
    """Lay a table out."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_section(path: Path, title: str, text: str) -> None:
    """Put a section in the place of the one of that title, or at the end; the others stay as they are."""
    whole = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    parts = re.split(r"(?m)^(?=## )", whole)
    section = f"## {title}\n\n{text.strip()}\n"
    places = [i for i, part in enumerate(parts) if part.startswith(f"## {title}\n")]
    if places:
        parts[places[0]] = section
    else:
        parts.append(section)
    path.write_text("\n".join(part.rstrip("\n") + "\n" for part in parts), encoding="utf-8")
