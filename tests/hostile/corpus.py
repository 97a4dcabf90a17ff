"""Hostile files: small good ones of every kind, and ways to spoil them. Everything follows from a seed."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\1\0\0\0")


def good_images(folder: Path) -> list[Path]:
    """Write a small image of every kind that is read."""
    import imagecodecs
    import tifffile
    import zarr
    from PIL import Image

    rng = np.random.default_rng(7)
    grey = rng.integers(0, 256, (40, 56)).astype(np.uint8)
    deep = grey.astype(np.uint16) * 200
    colour = rng.integers(0, 256, (40, 56, 3)).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    kinds: dict[str, dict[str, Any]] = {
        "plain": {}, "lzw": {"compression": "lzw"}, "deflate": {"compression": "zlib", "tile": (16, 16)},
        "jpeg": {"compression": "jpeg"}, "packbits": {"compression": "packbits"}, "big": {"bigtiff": True},
        "planar": {"planarconfig": "separate", "compression": "lzw"}, "zstd": {"compression": "zstd"},
        "motorola": {"byteorder": ">", "compression": "zlib", "predictor": True},
    }  # fmt: skip
    for name, options in kinds.items():
        pixels = np.moveaxis(colour, 2, 0) if name == "planar" else colour
        tifffile.imwrite(folder / f"{name}.tif", pixels, photometric="rgb", **options)
    tifffile.imwrite(folder / "stack.tif", np.stack([deep] * 4), photometric="minisblack", imagej=True)
    ome = {"axes": "TCYX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3}
    tifffile.imwrite(
        folder / "ome.ome.tif", np.stack([np.stack([deep] * 2)] * 2), photometric="minisblack", metadata=ome
    )
    for suffix in ("png", "jpg", "bmp", "gif", "webp"):
        Image.fromarray(colour).save(folder / f"colour.{suffix}")
    Image.fromarray(colour).quantize(17).save(folder / "palette.png")
    Image.fromarray(grey).save(folder / "grey.jpg", progressive=True)
    Image.fromarray(grey > 100).save(folder / "bits.bmp")
    (folder / "deep.png").write_bytes(imagecodecs.png_encode(np.dstack([deep] * 3)))
    (folder / "colour.jp2").write_bytes(imagecodecs.jpeg2k_encode(colour, level=0))
    (folder / "deep.jp2").write_bytes(imagecodecs.jpeg2k_encode(deep, level=0))
    np.save(folder / "grey.npy", deep)
    np.save(folder / "colour.npy", colour)
    for version in (2, 3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zarr.create_array(folder / f"v{version}.zarr", data=deep, chunks=(20, 20), zarr_format=version)
    return sorted(folder.iterdir())


def spoil(data: bytes, rng: random.Random) -> bytes:
    """Change a file's bytes as disks, networks and enemies do."""
    spoilt = bytearray(data)
    n = len(spoilt)
    way = rng.randrange(7)
    near = n if rng.random() < 0.4 else min(n, 400)  # headers break more than pixels do
    if way == 0 or n < 8:
        return bytes(spoilt[: rng.randrange(n + 1)])
    if way == 1:
        for _ in range(rng.randint(1, 24)):
            spoilt[rng.randrange(near)] ^= 1 << rng.randrange(8)
    elif way == 2:
        at = rng.randrange(near)
        spoilt[at : at + rng.randint(1, 64)] = rng.randbytes(rng.randint(0, 64))
    elif way == 3:
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(max(1, near - 4))
            spoilt[at : at + 4] = rng.choice(EXTREMES)
    elif way == 4:
        at = rng.randrange(near)
        spoilt[at : at + rng.randint(1, 200)] = b""
    elif way == 5:
        a, b = rng.randrange(n), rng.randrange(n)
        spoilt[a : a + 32] = spoilt[b : b + 32]
    else:
        return bytes(spoilt[: rng.choice((4, 8, 16))]) + rng.randbytes(rng.randint(0, 3000))
    return bytes(spoilt)


def spoilt_image(sources: list[Path], folder: Path, rng: random.Random) -> Path:
    """Write one spoilt image; a Zarr folder has one of its files spoilt or removed."""
    source = rng.choice(sources)
    target = folder / source.name
    if not source.is_dir():
        target.write_bytes(spoil(source.read_bytes(), rng))
        return target
    files = sorted(path for path in source.rglob("*") if path.is_file())
    victim = rng.choice(
        files if rng.random() < 0.4 else [f for f in files if f.suffix == ".json" or f.name[:2] == ".z"]
    )
    for path in files:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        if path == victim and rng.random() < 0.5:
            content = spoil(content, rng)
        elif path == victim:
            content = spoil_json(content, rng)
        copy.write_bytes(content)
    return target


STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    -(2**70),
    1e308,
    -0.5,
    "",
    "x",
    "\0",
    "../../evil",
    "=1+1",
    "🔬",
    "a" * 5000,
    [],
    {},
    [[]],
    [None],
    {"class_name": "os.system"},
    float("nan"),
    float("inf"),
    10**400,
)


def spoil_json(content: bytes, rng: random.Random) -> bytes:
    """Exchange some values of a JSON document for strange ones, or remove them."""
    try:
        document = json.loads(content)
    except ValueError:
        return spoil(content, rng)
    for _ in range(rng.randint(1, 3)):
        places = [document]
        for place in places:
            inner = place.values() if isinstance(place, dict) else place
            places += [value for value in inner if isinstance(value, dict | list) and value]
        holder = rng.choice(places) if places[0] else document
        if not holder:
            break
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        if rng.random() < 0.15:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(rng.choice(STRANGE))  # as it may be changed in turn
    return json.dumps(document).encode()


def spoil_csv(content: bytes, rng: random.Random) -> bytes:
    """Exchange some cells, lines or the header of a table."""
    if rng.random() < 0.3:
        return spoil(content, rng)
    lines = [line.split(",") for line in content.decode().splitlines()]
    cells = [
        "",
        "nan",
        "inf",
        "-1",
        "1e400",
        "99999999999999999999",
        "=1+1",
        "a\0b",
        '"',
        "🔬",
        "x" * 9000,
        "0x10",
        " 5 ",
        "5.5",
    ]
    for _ in range(rng.randint(1, 4)):
        line = rng.choice(lines)
        way = rng.random()
        if way < 0.6:
            line[rng.randrange(len(line))] = rng.choice(cells)
        elif way < 0.75:
            line.append(rng.choice(cells))
        elif way < 0.9 and len(line) > 1:
            line.pop()
        else:
            lines.append(lines[0])
    return "\n".join(",".join(line) for line in lines).encode()


def zipped(members: list[tuple[str, bytes]]) -> bytes:
    """Make a zip file; names may come twice or lead elsewhere."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def members_of(path: Path) -> list[tuple[str, bytes]]:
    """Read all members of a zip file."""
    with zipfile.ZipFile(path) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


PATHS = (
    "../evil",
    "../../evil.py",
    "/tmp/evil",
    "C:\\evil",
    "..\\evil",
    "a/../../evil",
    "model.keras/../evil",
    "\u202egnp.exe",
    "evil\n",
    "manifest.json ",
    "MANIFEST.JSON",
    ".",
    "a/",
    "x" * 4000,
)


def spoilt_zip(path: Path, rng: random.Random, text: Callable[[bytes, random.Random], bytes] = spoil_json) -> bytes:
    """Change a zip file: its bytes, its members' names, or what is in them, with hashes that fit or not."""
    way = rng.randrange(6)
    members = members_of(path)
    if way == 0:
        return spoil(path.read_bytes(), rng)
    if way == 1:
        members.insert(rng.randrange(len(members) + 1), (rng.choice(PATHS), b"evil"))
    elif way == 2:
        members.append(rng.choice(members))
    elif way == 3:
        members.pop(rng.randrange(len(members)))
    else:
        textual = [i for i, (name, _) in enumerate(members) if name.endswith(".json")]
        at = rng.choice(textual) if way == 4 else rng.randrange(len(members))
        name, content = members[at]
        members[at] = (name, text(content, rng) if name.endswith(".json") else spoil(content, rng))
    return zipped(members)


def rehashed(data: bytes) -> bytes:
    """Make a bundle's manifest fit its members, as an enemy would."""
    import hashlib

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    manifest = json.loads(dict(members)["manifest.json"])
    manifest["files"] = {
        name: hashlib.sha256(content).hexdigest() for name, content in members if name != "manifest.json"
    }
    return zipped([(n, json.dumps(manifest).encode() if n == "manifest.json" else c) for n, c in members])


def gigapixels(folder: Path) -> Iterator[Path]:
    """Write headers that promise thousands of millions of pixels, in a few bytes."""
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    for side in (40_000, 2_000_000, 2**31 - 1):
        for depth, kind in ((8, 2), (16, 2), (1, 0), (8, 3)):
            path = folder / f"{side}-{depth}-{kind}.png"
            head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, kind, 0, 0, 0))
            rows = zlib.compress(bytes(1 << 20))
            path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
            yield path
        path = folder / f"{side}.bmp"
        path.write_bytes(
            struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 60, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
        )
        yield path
        for bits, compression in ((8, 1), (16, 1), (8, 8), (8, 5), (1, 4)):
            path = folder / f"{side}-{bits}-{compression}.tif"
            entries = [
                (256, 4, side), (257, 4, side), (258, 3, bits), (259, 3, compression), (262, 3, 1), (273, 4, 8),
                (277, 3, 1), (278, 4, side), (279, 4, 4000),
            ]  # fmt: skip
            body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
            path.write_bytes(
                struct.pack("<2sHI", b"II", 42, 4008) + bytes(4000) + struct.pack("<H", len(entries)) + body + bytes(4)
            )
            yield path
        path = folder / f"{side}.npy"
        head = repr({"descr": "<f8", "fortran_order": False, "shape": (side, side)}).encode()
        path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(head) + 1) + head + b"\n" + bytes(800))
        yield path
        path = folder / f"{side}.zarr"
        path.mkdir()
        (path / ".zarray").write_text(
            json.dumps(
                {
                    "zarr_format": 2,
                    "shape": [side, side],
                    "chunks": [side, side],
                    "dtype": "<f8",
                    "compressor": None,
                    "fill_value": 0,
                    "order": "C",
                    "filters": None,
                }
            )
        )
        yield path
