"""The models and maps in a project's folder: which are finished, and what their own files say of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.errors import MALFORMED_JSON, CellClassError
from napari_cellclass.core.common.files import output_error, write_json
from napari_cellclass.core.common.limits import limit
from napari_cellclass.core.models.bundle import SUFFIX, open_bundle
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid_layout import grid_from_layout, grid_key
from napari_cellclass.core.workspace.records import Field, MapRecord, ModelVersion, is_there

TABLE, RECORD = ".tiles.csv", ".run.json"
_VERSION = re.compile(rf".+_v(\d{{1,6}}){re.escape(SUFFIX)}")


def model_path(folder: Path, name: str, version: int) -> Path:
    """Return the path of a version of a project's model."""
    return folder / f"{name}_v{version}{SUFFIX}"


def versions_in(folder: Path) -> dict[Path, int]:
    """List the models ``NAME_v1.cellclass``, ``NAME_v2.cellclass`` … of a folder with their numbers, in that order."""
    matches = {path: _VERSION.fullmatch(path.name) for path in folder.glob(f"*{SUFFIX}")}
    found = {path: int(match[1]) for path, match in matches.items() if match is not None and int(match[1])}
    return dict(sorted(found.items(), key=lambda item: (item[1], item[0].name)))


def new_models(folder: Path, known: Sequence[ModelVersion]) -> tuple[list[ModelVersion], list[str]]:
    """Find the finished models of a folder that a project does not list yet.

    Returns
    -------
    models
        Their records; a number that is taken becomes the next free one.
    notes
        A line for each file that is no finished model.
    """
    paths, taken = {one.path for one in known}, {one.version for one in known}
    found, notes = [], []
    for path, number in versions_in(folder.absolute()).items():
        if path in paths:
            continue
        version = number if number not in taken else max(taken) + 1
        try:
            found.append(ModelVersion.of(open_bundle(path), version))
            taken.add(version)
        except (CellClassError, ValueError) as error:
            notes.append(f"{path.name} is left out: {error}")
    return found, notes


def write_map(folder: Path, stem: str, table: TileTable, field: Field, model_id: str) -> MapRecord:
    """Write a map so that at any moment either the old or the new one is whole.

    The record ``STEM.run.json`` is there before ``STEM.tiles.csv`` gets its name, and holds its hash.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    path = folder / f"{stem}{TABLE}"
    grid = table.grid
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".tmp-", suffix=TABLE)
        os.close(handle)
    except OSError as error:
        raise output_error(path, error) from error
    temporary = Path(name)
    try:
        table.to_csv(temporary)
        digest = file_hash(temporary)
        known: Mapping[str, Any] = table.record
        height, width = grid.image_shape
        image = {**_part(known, "image"), "id": field.image_id, "height_px": height, "width_px": width}
        described: dict[str, Any] = {"tile_px": list(grid.tile_px), "step_px": list(grid.step_px), "edge": grid.edge}
        described |= {"rows": grid.grid_shape[0], "columns": grid.grid_shape[1], "tiles": len(grid)}
        own = {
            "image": image,
            "model": {**_part(known, "model"), "id": model_id, "classes": list(table.scheme.names)},
            "grid": described,
            "files": {TABLE[1:]: digest},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(folder / f"{stem}{RECORD}", {**known, **own})
        temporary.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return _record(own, path, field)


def new_maps(
    folder: Path, fields: Sequence[Field], known: Sequence[MapRecord]
) -> tuple[list[MapRecord], list[MapRecord], list[str]]:
    """Compare the finished maps of a folder with those that a project lists.

    Returns
    -------
    maps
        Those that it does not list, or lists with other content.
    gone
        Those that it lists whose file is missing or was changed.
    notes
        A line for each of the latter.
    """
    by_image = {field.image_id: field for field in fields}
    listed = {one.path: one for one in known}
    found: dict[Path, MapRecord] = {}
    changed: set[Path] = set()
    for path in sorted(folder.absolute().glob(f"**/*{RECORD}")):
        table = path.with_name(path.name.removesuffix(RECORD) + TABLE)
        try:
            record = _read_record(path)
            digest = record["files"][TABLE[1:]]
            before = listed[table].sha256 if table in listed else None
            if before == digest:
                continue
            actual = file_hash(table)
            if actual == digest:
                found[table] = _record(record, table, by_image[str(record["image"]["id"])])
            elif actual != before:
                changed.add(table)
        except (*MALFORMED_JSON, CellClassError, OSError):
            continue  # of another project, or cut off
    gone = [one for one in known if one.path in changed or not is_there(one.path)]
    notes = [f"the map {one.path.name} is missing or was changed; classify the field again" for one in gone]
    return list(found.values()), gone, notes


def remove_temporary(folder: Path) -> None:
    """Remove what a process that was killed has left; only while no other process writes to the folder."""
    for path in folder.glob(".tmp-*"):
        if path.is_file():
            path.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_record(path: Path) -> dict[str, Any]:
    if path.stat().st_size > limit("settings_bytes"):
        raise ValueError("too large")
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise TypeError("no object")
    return content


def _record(record: Mapping[str, Any], path: Path, field: Field) -> MapRecord:
    grid, image = record["grid"], record["image"]
    layout = {name: grid[name] for name in ("tile_px", "step_px", "edge")}
    layout |= {"image_shape": [image["height_px"], image["width_px"]]}
    layout |= {"grid_shape": [grid["rows"], grid["columns"]], "tiles": []}
    return MapRecord(
        field=field.key, t=field.t, z=field.z, scene=field.scene, grid_key=grid_key(grid_from_layout(layout)),
        model_id=str(record["model"]["id"]), path=path.absolute(), sha256=record["files"][TABLE[1:]],
        created=str(record.get("created") or ""),
    )  # fmt: skip


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}
