"""Small OME-Zarr images of both versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

_KINDS = {"t": "time", "c": "channel"}


def write_ome_zarr(
    path: Path, pixels: np.ndarray, axes: str, version: str, um: float = 0.5, shift: float = 0.0
) -> Path:
    """Write an image with axes such as ``tczyx``; pixels have a side in µm, and the field begins at a shift in µm."""
    import zarr

    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=pixels, chunks=tuple(min(n, 256) for n in pixels.shape))
    space = ["zyx".find(letter) >= 0 for letter in axes]
    steps: list[dict[str, Any]] = [{"type": "scale", "scale": [um if one else 1.0 for one in space]}]
    if shift:
        steps.append({"type": "translation", "translation": [shift if one else 0.0 for one in space]})
    listed = [
        {"name": a, "type": _KINDS.get(a, "space")} | ({"unit": "micrometer"} if a in "zyx" else {}) for a in axes
    ]
    entry = {"axes": listed, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": "0.4", **entry}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [entry]}
    return path


def write_ome_zarr_plate(path: Path, pixels: np.ndarray, version: str) -> Path:
    """Write a plate with two wells, A1 and A2, of one field each."""
    import zarr

    def describe(folder: Any, kind: str, about: dict[str, Any]) -> None:
        if version == "0.4":
            folder.attrs[kind] = {"version": "0.4", **about}
        else:
            folder.attrs["ome"] = {"version": "0.5", kind: about}

    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    wells = [{"path": f"A/{column}", "rowIndex": 0, "columnIndex": column - 1} for column in (1, 2)]
    describe(group, "plate", {"rows": [{"name": "A"}], "columns": [{"name": "1"}, {"name": "2"}], "wells": wells})
    group.create_group("A")
    for column in ("1", "2"):
        describe(group.create_group(f"A/{column}"), "well", {"images": [{"path": "0"}]})
        write_ome_zarr(path / "A" / column / "0", pixels, "cyx", version)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
