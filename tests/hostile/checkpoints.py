"""Checkpoints of PyTorch in its old format, written opcode by opcode, good and hostile."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL = b"\x80\x02M\xe9\x03."
SYSTEM = b"\x80\x02}X\r\x00\x00\x00little_endian\x88s."
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value: str) -> bytes:
    """Push a text."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    """Push an int of 32 bits."""
    return b"J" + struct.pack("<i", value)


def tensor(
    key: str,
    shape: Sequence[int],
    strides: Sequence[int],
    count: int,
    offset: int = 0,
    kind: bytes = b"ctorch\nFloatStorage\n",
) -> bytes:
    """Push a tensor over the storage of a key."""
    storage = b"((" + text("storage") + kind + text(key) + text("cpu") + number(count) + b"Nt"
    sizes = b"(" + b"".join(map(number, shape)) + b"t" + b"(" + b"".join(map(number, strides)) + b"t"
    return REBUILD + storage + b"Q" + number(offset) + sizes + b"\x89ccollections\nOrderedDict\n)RtR"


def checkpoint(
    state: Mapping[str, bytes], storages: Mapping[str, NDArray[np.float32]], system: bytes = SYSTEM
) -> bytes:
    """Join tensors, given as opcodes, and their values to a whole file."""
    items = b"".join(text(name) + value for name, value in state.items())
    parts = [MAGIC, PROTOCOL, system, b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u."]
    parts.append(b"\x80\x02](" + b"".join(map(text, storages)) + b"e.")
    parts += [struct.pack("<q", values.size) + values.astype("<f4").tobytes() for values in storages.values()]
    return b"".join(parts)


VALUES = np.arange(12, dtype=np.float32)


def good(**storages: NDArray[np.float32]) -> bytes:
    """Give a checkpoint of three tensors over two storages."""
    state = {
        "rows": tensor("1", (3, 4), (4, 1), 12),
        "columns": tensor("1", (4, 3), (1, 4), 12),
        "part": tensor("2", (2,), (1,), 5, offset=2),
    }
    return checkpoint(state, storages or {"1": VALUES, "2": -VALUES[:5]})


def hostile(path: str) -> dict[str, bytes]:
    """Give checkpoints that would create the file ``path``, take more memory than there is, or never end."""
    run = text(f"touch {path}") + b"\x85R"
    plain = {"1": VALUES}
    deep = b"(" * 1 + b")" + b"\x85" * 90_000
    calls = {
        "a function of the system": b"cos\nsystem\n" + run,
        "a built-in function": b"cbuiltins\neval\n" + run,
        "a function by protocol 4": text("os") + text("system") + b"\x93" + run,
        "an instance of a class": b"(" + text(f"touch {path}") + b"ios\nsystem\n",
        "an object": b"(cos\nsystem\n" + text(f"touch {path}") + b"o",
        "a class without __init__": b"csubprocess\nPopen\n(" + text("touch") + b"t\x81",
        "an extension": b"\x82\x01" + run,
        "torch's own loader": b"ctorch.serialization\nload\n" + run,
        "an import of numpy": b"cnumpy.core.multiarray\n_reconstruct\n)R",
        "the rebuilt tensor as a function": b"ccollections\nOrderedDict\n" + text(path) + b"\x85R",
        "a nested tuple as a key": b"}" + deep + b"Ns",
        "a nested tuple": deep,
    }
    files = {what: checkpoint({"x": opcodes}, plain) for what, opcodes in calls.items()}
    files["a call in the first pickle"] = b"\x80\x02cos\nsystem\n" + run + b"." + good()
    files["a state that is set"] = checkpoint({"x": tensor("1", (2,), (1,), 12) + b"cos\nsystem\n" + run + b"b"}, plain)
    for what, opcodes in {
        "values behind the end": tensor("1", (12,), (1,), 12, offset=5),
        "values before the start": tensor("1", (2,), (1,), 12, offset=-4),
        "a step backwards": tensor("1", (3,), (-1,), 12, offset=4),
        "one value a thousand million times": tensor("1", (1 << 15, 1 << 15), (0, 0), 12),
        "more values than there are": tensor("1", (1 << 30,), (1,), 1 << 30),
        "fewer strides than sizes": tensor("1", (3, 4), (1,), 12),
        "an empty axis": tensor("1", (0, 1 << 30), (1, 1), 12),
        "many axes": tensor("1", (1,) * 2000, (1,) * 2000, 12),
        "another kind of values": tensor("1", (2,), (1,), 12, kind=b"cos\nsystem\n"),
        "a number for a tensor": number(7),
        "a storage that is not there": tensor("9", (2,), (1,), 12),
    }.items():  # fmt: skip
        files[what] = checkpoint({"x": opcodes}, plain)
    files["other byte order"] = checkpoint(
        {"x": tensor("1", (2,), (1,), 12)}, plain, SYSTEM.replace(b"\x88s", b"\x89s")
    )
    files["no end"] = MAGIC + PROTOCOL + SYSTEM + b"\x80\x02" + b"N" * 300_000
    files["a text of four gigabytes"] = MAGIC + PROTOCOL + SYSTEM + b"\x80\x02X\xff\xff\xff\xff"
    files["a number of a million digits"] = MAGIC + PROTOCOL + SYSTEM + b"\x80\x02L" + b"9" * 1_000_000 + b"L\n."
    files["half of it"] = good()[:-20]
    files["nothing"] = b""
    files["a zip file"] = b"PK\x03\x04" + bytes(100)
    return files
