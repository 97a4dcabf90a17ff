"""Spoilt images, images that claim gigapixels, and bytes that are no image at all."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import corpus
import imagecodecs  # noqa: F401 - before the limit on memory is set
import npe2  # noqa: F401
import tifffile  # noqa: F401
import watch as watching
import zarr  # noqa: F401

from napari_cellclass.core.images.reading import read_image

SUFFIXES = (".tif", ".png", ".jpg", ".bmp", ".gif", ".npy", ".jp2", ".webp", ".zarr", ".svs", ".czi", "")
HEADS = (
    b"",
    b"II*\0",
    b"MM\0*",
    b"II+\0\x08\0\0\0",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"BM",
    b"GIF89a",
    b"\x93NUMPY",
)


def read(path: Path) -> str:
    """Open an image as the program does, and read pixels at both of its ends."""
    image = read_image(path)
    height, width = image.shape
    image.read(0, 0, min(height, 600), min(width, 600))
    image.read(max(0, height - 64), max(0, width - 64), height, width)
    return "taken"


def job(watch: watching.Watch, folder: Path, rng: random.Random, count: int) -> None:
    """Read ``count`` images, besides those that claim too much."""
    good = corpus.good_images(folder / "good")
    odd = Path(__file__).parents[3] / "shared" / "data" / "odd"
    if odd.is_dir():
        good += [p for p in sorted(odd.iterdir()) if p.suffix != ".csv" and (p.is_dir() or p.stat().st_size < 300_000)]
    watching.limit_memory()
    for path in good:
        watch.run("image whole", path.name, lambda path=path: read(path))
    claims = folder / "claims"
    claims.mkdir()
    for path in corpus.gigapixels(claims):
        watch.run("image claims", path.name, lambda path=path: read(path))
    for number in range(count):
        place = folder / "one"
        place.mkdir()
        if number % 8 == 0:
            path = place / f"random{rng.choice(SUFFIXES)}"
            path.write_bytes(rng.choice(HEADS) + rng.randbytes(rng.randint(0, 4000)))
        else:
            path = corpus.spoilt_image(good, place, rng)
        watch.run("image spoilt", f"{number} {path.name}", lambda path=path: read(path))
        shutil.rmtree(place)


if __name__ == "__main__":
    watching.main(job)
