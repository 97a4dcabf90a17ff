"""Files of other programs that are not read here: recognised, with a clause on how to get there."""

from __future__ import annotations

import zipfile
from pathlib import Path

_CPA_COLUMNS = {"imagenumber", "objectnumber"}
_PIXIMI_GROUPS = ("project", "classifier")
CPA_HINT = (
    "it is a training set of CellProfiler Analyst, whose places are in the database; make boxes around the objects, "
    "see 'Coming from another program' in the documentation"
)


def other_program_hint(path: Path) -> str:
    """Say in a clause what a file of another program is and what to do with it; empty where none is known."""
    suffix = path.suffix.lower()
    if suffix == ".qpproj":
        return "it is a project of QuPath; export the objects of its images as GeoJSON there, and open these"
    if suffix == ".properties":
        return CPA_HINT.replace("a training set", "a properties file")
    if _is_piximi(path):
        return (
            "it is a project of Piximi; sort its images into a folder per category, or export annotations as COCO there"
        )
    return ""


def is_cpa_training_set(columns: list[str]) -> bool:
    """Whether the columns of a table are those of a training set of CellProfiler Analyst."""
    names = {str(name).strip().lower() for name in columns}
    return names >= _CPA_COLUMNS and "path" not in names


def _is_piximi(path: Path) -> bool:
    """Whether a zip file or a folder of Zarr has the groups that a project of Piximi has."""
    try:
        if path.is_dir():
            return all((path / name / ".zgroup").is_file() for name in _PIXIMI_GROUPS)
        if path.suffix.lower() != ".zip":
            return False
        with zipfile.ZipFile(path) as packed:
            names = set(packed.namelist())
    except (OSError, zipfile.BadZipFile, ValueError):
        return False
    tops = {"", *(name.partition("/")[0] + "/" for name in names)}
    return any(all(f"{top}{name}/.zgroup" in names for name in _PIXIMI_GROUPS) for top in tops)
