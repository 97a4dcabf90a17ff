"""A stack of several positions and an OME-Zarr plate, whose tiles have known classes, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

TILE, ROWS, COLUMNS = 32, 3, 4
PLATE_WELLS = ["A01", "A02", "A10", "C01", "C02", "C10"]
_RNG_SEED = 3


def write_classes(folder: Path, each: int = 24) -> Path:
    """Write tiles of two channels: class ``even``, and class ``striped``."""
    rng = np.random.default_rng(_RNG_SEED)
    for striped, name in enumerate(("even", "striped")):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            options = {"photometric": "minisblack", "metadata": {"axes": "CYX"}}
            tifffile.imwrite(folder / name / f"{name[0]}{i:02d}.tif", _tile(rng, striped), **options)
    return folder


def striped_field(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Make a field of 3 x 4 tiles with two channels, (2, 96, 128), whose first ``count`` tiles are striped."""
    rng = np.random.default_rng(seed)
    field = np.zeros((2, ROWS * TILE, COLUMNS * TILE), np.uint8)
    for i in range(ROWS * COLUMNS):
        y, x = i // COLUMNS * TILE, i % COLUMNS * TILE
        field[:, y : y + TILE, x : x + TILE] = _tile(rng, int(i < count))
    return field


def striped_tiles(position: int, z: int) -> int:
    """Tell how many tiles of a plane of :func:`write_stack` are striped."""
    return 2 * z + position


def write_stack(path: Path, positions: int = 3, depth: int = 5) -> Path:
    """Write an OME-TIFF of several positions, Z planes and two channels."""
    with tifffile.TiffWriter(path) as writer:
        for p in range(positions):
            stack = np.stack([striped_field(striped_tiles(p, z), 100 * p + z) for z in range(depth)])
            metadata = {"axes": "ZCYX", "Name": f"pos{p}"}
            writer.write(stack, metadata=metadata, contiguous=False, photometric="minisblack")
    return path


def write_zarr_plate(path: Path, version: str, fields: int = 2) -> Path:
    """Write an OME-Zarr plate of A01, A02, A10, C01, C02, C10 with pyramids; fields of well n have n striped tiles."""
    new = version == "0.5"
    rows, columns = ("A", "C"), ("1", "2", "10")
    root = zarr.open_group(path, mode="w", zarr_format=3 if new else 2)

    def describe(group: Any, content: dict[str, Any]) -> None:
        group.attrs.update({"ome": {"version": version, **content}} if new else content)

    wells = [
        {"path": f"{row}/{column}", "rowIndex": r, "columnIndex": c}
        for r, row in enumerate(rows)
        for c, column in enumerate(columns)
    ]
    names = {"rows": [{"name": row} for row in rows], "columns": [{"name": column} for column in columns]}
    describe(root, {"plate": {"version": version, **names, "wells": wells}})
    for n, well in enumerate(wells, 1):
        group = root.create_group(well["path"])
        describe(group, {"well": {"version": version, "images": [{"path": str(f)} for f in range(fields)]}})
        for f in range(fields):
            image = group.create_group(str(f))
            pixels = striped_field(n, 10 * n + f)
            image.create_array("0", data=pixels, chunks=(1, 48, 64))
            image.create_array("1", data=pixels[:, ::2, ::2])
            units = [{"name": "c", "type": "channel"}]
            units += [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
            levels = [
                {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": [1, s, s]}]}
                for i, s in enumerate((0.5, 1.0))
            ]
            describe(image, {"multiscales": [{"version": version, "axes": units, "datasets": levels}]})
    return path


def _tile(rng: np.random.Generator, striped: int) -> NDArray[np.uint8]:
    tile = rng.normal(100, 10, (2, TILE, TILE))
    tile[:, :, ::2] += 80 * striped
    return tile.clip(0, 255).astype(np.uint8)
