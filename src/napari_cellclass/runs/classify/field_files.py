"""The files of one classified field: written, and checked for being complete, unchanged and up to date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import napari_cellclass
from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.common.files import output_error, write_json
from napari_cellclass.core.plates.field_summary import FieldSummary
from napari_cellclass.core.plates.inputs import CONDITION_FILES, FIELD_TABLE, PLANES_FIGURE, PLATE_FIGURE, WELL_TABLE
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.runs.classify.folder_lock import LOCK

TABLE, GEOJSON, RECORD, REPORT = ".tiles.csv", ".geojson", ".run.json", "report.json"


def signature(image_id: str, model_id: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Say what decides the tables of a field: its pixels, the model, the settings and the program."""
    return {
        "image": image_id,
        "model": model_id,
        "parameters": dict(parameters),
        "program": f"napari-cellclass {napari_cellclass.__version__}",
    }


def write_field(table: TileTable, folder: Path, stem: str, signed: Mapping[str, Any], summary: FieldSummary) -> None:
    """Write ``STEM.tiles.csv``, ``STEM.geojson`` and, last, ``STEM.run.json`` with the hashes of the two.

    Parameters
    ----------
    table
        All tiles of the field.
    folder, stem
        Where to, and what the names begin with.
    signed
        What :func:`signature` gave.
    summary
        What a later run reports of the field without classifying it.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    table.to_csv(folder / f"{stem}{TABLE}")
    table.to_geojson(folder / f"{stem}{GEOJSON}")
    hashes = {suffix[1:]: _hash(folder / f"{stem}{suffix}") for suffix in (TABLE, GEOJSON)}
    if None in hashes.values():
        raise OutputError(f"{folder / stem}{TABLE} was removed while it was written; run again")
    own = {"signature": dict(signed), "files": hashes, "summary": asdict(summary)}
    write_json(folder / f"{stem}{RECORD}", {**table.record, **own})


def finished_summary(folder: Path, stem: str, signed: Mapping[str, Any]) -> FieldSummary | None:
    """Return the summary of a field whose files are whole, unchanged and of an equal signature; else None."""
    try:
        record = json.loads((folder / f"{stem}{RECORD}").read_text(encoding="utf-8"))
        same = record["signature"] == signed
        whole = all(record["files"][suffix[1:]] == _hash(folder / f"{stem}{suffix}") for suffix in (TABLE, GEOJSON))
        found = record["summary"]
        summary = FieldSummary(**{**found, "warnings": tuple(found["warnings"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return summary if same and whole else None


def record_of_field(folder: Path, stem: str) -> dict[str, Any]:
    """Return what was classified with what, as the record of a field says; empty where it cannot be read."""
    try:
        record = json.loads((folder / f"{stem}{RECORD}").read_text(encoding="utf-8"))
        return {name: value for name, value in record.items() if name not in ("signature", "files", "summary")}
    except (OSError, ValueError, AttributeError):
        return {}


def plane_of_field(folder: Path, stem: str) -> tuple[int, int, int | None]:
    """Return (t, z, scene) of the image that the tables of a field were made of, as its record says."""
    try:
        record = json.loads((folder / f"{stem}{RECORD}").read_text(encoding="utf-8"))
        plane = record["signature"]["parameters"]["plane"]
        return int(plane["t"]), int(plane["z"]), int(plane["scene"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0, None


def channels_of_field(folder: Path, stem: str) -> tuple[int, ...]:
    """Return the channels that the tables of a field were made of, as its record says; empty for all."""
    try:
        record = json.loads((folder / f"{stem}{RECORD}").read_text(encoding="utf-8"))
        return tuple(int(one) for one in record["signature"]["parameters"]["channels"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def check_folder(folder: Path, images: Collection[str], stems: Iterable[str]) -> None:
    """Refuse a folder where a run would write over an image to classify, or over a file that no run has written.

    Parameters
    ----------
    folder
        Where the results will be; it may be missing.
    images
        Resolved paths of the images.
    stems
        What the names of the results begin with.

    Raises
    ------
    OutputError
        With the first such file.
    """
    names = [f"{stem}{suffix}" for stem in stems for suffix in (TABLE, GEOJSON, RECORD)]
    names = [PLATE_FIGURE, PLANES_FIGURE, FIELD_TABLE, WELL_TABLE, *CONDITION_FILES, REPORT, *names]
    known, whole = set(images), folder.resolve()
    for name in names:
        if str(whole / name) in known:
            raise OutputError(
                f"{whole / name} is an image to classify, but would be written over; choose another folder"
            )
    if folder.is_dir() and not _holds_results(folder):
        try:
            there = {path.name for path in folder.iterdir()}  # once: a plate has thousands of names
        except OSError as error:
            raise output_error(folder, error) from error
        for name in names:
            if name in there:
                raise OutputError(
                    f"{folder / name} was not written by classify, but would be written over; move it, or choose "
                    "another folder"
                )


def _holds_results(folder: Path) -> bool:
    """Whether a run has written to a folder, be it one that was killed at its first file."""
    if (folder / LOCK).exists() or any(folder.glob(f"*{RECORD}")):
        return True
    try:
        return "model_id" in json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def remove_temporary_files(folder: Path) -> None:
    """Remove the temporary files of a run that was killed; only while no other run writes to the folder."""
    for path in folder.glob(".tmp-*"):
        if path.is_file():
            path.unlink(missing_ok=True)


def _hash(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return None
