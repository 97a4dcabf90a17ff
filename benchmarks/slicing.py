"""Cutting a large RGB field to PNG tiles of 128 px: `slice`, and Pillow's crop and save, side by side.

Prints both times, the ratio of their medians, and how large the files of one are beside the other's. The field is
the mosaic of 5120 x 3840 px beside the project, or a synthetic one where that is missing.

    .venv/bin/python benchmarks/slicing.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from napari_cellclass.core.params.prepare import SliceParams
from napari_cellclass.core.samples.realfield import ihc_field
from napari_cellclass.runs.prepare.slicing import slice_images

_TILE_PX, _RUNS = 128, 5
_FIELD = Path(__file__).parents[2] / "shared" / "data" / "large" / "chula_mosaic_5120x3840.jpg"


def field(folder: Path) -> Path:
    """Give the field's file; where there is none, make one of scikit-image's real field."""
    if _FIELD.is_file():
        return _FIELD
    pixels = np.asarray(ihc_field().data)
    tiled = np.tile(pixels, (8, 10, 1))[:3840, :5120]
    Image.fromarray(tiled).save(folder / "field.jpg", quality=92)
    return folder / "field.jpg"


def with_pillow(path: Path, out: Path) -> float:
    """Cut with Pillow in one process, as most scripts do; give the seconds."""
    out.mkdir()
    start = time.perf_counter()
    with Image.open(path) as image:
        width, height = image.size
        for row, y in enumerate(range(0, height - _TILE_PX + 1, _TILE_PX)):
            for col, x in enumerate(range(0, width - _TILE_PX + 1, _TILE_PX)):
                image.crop((x, y, x + _TILE_PX, y + _TILE_PX)).save(out / f"tile_r{row:02d}_c{col:02d}.png")
    return time.perf_counter() - start


def with_ours(path: Path, out: Path) -> float:
    """Cut with ``slice``, hashes and tiles.csv included; give the seconds."""
    start = time.perf_counter()
    slice_images(SliceParams(images=[path], out=out, tile_px=_TILE_PX))
    return time.perf_counter() - start


def size(folder: Path) -> int:
    """Bytes of all tiles."""
    return sum(path.stat().st_size for path in folder.glob("*.png"))


def same(one: Path, other: Path) -> bool:
    """Whether the tiles of both hold the same pixels, in order of their names."""
    pairs = zip(sorted(one.glob("*.png")), sorted(other.glob("*.png")), strict=True)
    return all(np.array_equal(np.asarray(Image.open(a)), np.asarray(Image.open(b))) for a, b in pairs)


def main() -> None:
    """Print the times."""
    theirs, ours = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = field(folder)
        for run in range(_RUNS):
            theirs.append(with_pillow(path, folder / f"pillow{run}"))
            ours.append(with_ours(path, folder / f"ours{run}"))
        if not same(folder / "pillow0", folder / "ours0"):
            raise SystemExit("the tiles are not the same")
        tiles = len(list((folder / "ours0").glob("*.png")))
        sizes = size(folder / "ours0") / size(folder / "pillow0")
    print(f"{path.name}: {tiles} tiles of {_TILE_PX} px, PNG, n = {_RUNS} each, in turn")
    for label, seconds in (("Pillow, crop and save", theirs), ("slice", ours)):
        print(f"{label:24s} median {np.median(seconds):6.2f} s, {min(seconds):.2f} to {max(seconds):.2f} s")
    print(f"ratio of medians: {np.median(theirs) / np.median(ours):.1f}")
    print(f"size of the files, slice / Pillow: {sizes:.3f}")


if __name__ == "__main__":
    main()
