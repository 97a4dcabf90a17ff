"""Names of files and classes as people and programs write them: one Unicode form, one stem, either slash."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

_ENDINGS = (".ome.tiff", ".ome.tif", ".ome.btf", ".ome.tf2", ".ome.tf8", ".ome.zarr.zip", ".ome.zarr", ".zarr.zip")


def normal_form(text: str) -> str:
    """Return a text in Unicode's form NFC, in which names are compared: macOS decomposes letters with accents."""
    return unicodedata.normalize("NFC", text)


def clean_name(value: Any) -> str:
    """Return the name that a cell of a table holds, ``""`` where the value is missing; any text is a name.

    A missing value is None, NaN, NA or NaT as an object; the texts ``"nan"`` and ``"NA"`` are names. A number
    without a fraction has none in its name.
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(value, str):
        return normal_form(value).strip()
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        value = int(value) if value.is_integer() else value
    return normal_form(str(value)).strip()


def stem_of(name: str) -> str:
    """Return a file's name without its suffix; such as ``.ome.tif`` are one suffix."""
    base = split_path(name)[-1]
    ending = next((one for one in _ENDINGS if base.lower().endswith(one) and len(base) > len(one)), None)
    return base[: -len(ending)] if ending else PurePosixPath(base).stem


def split_path(text: str) -> tuple[str, ...]:
    """Split a path written on any system into its parts, in normal form; at least one, which may be empty."""
    parts = normal_form(text.strip()).replace("\\", "/").split("/")
    return tuple(part for part in parts if part not in ("", ".")) or ("",)


def matching_names(wanted: str, listed: Sequence[str]) -> list[int]:
    """Find the names in a list that mean a file.

    Compared are, until something is found: file names, names without suffix, and both without case. Where files of
    several folders have the name, those count that share most folders with ``wanted``.

    Parameters
    ----------
    wanted
        The file's path or name.
    listed
        Paths or names, relative or of another machine; a name may occur several times.

    Returns
    -------
    list of int
        Indices into ``listed``. They may be of several paths: see :func:`distinct_paths`.
    """
    want = split_path(wanted)
    parts = [split_path(text) for text in listed]
    keys: tuple[Callable[[str], str], ...] = (
        lambda name: name, stem_of, str.casefold, lambda name: stem_of(name).casefold()
    )  # fmt: skip
    for key in keys:
        found = [i for i, part in enumerate(parts) if key(part[-1]) == key(want[-1])]
        if found:
            break
    else:
        return []
    shared = {i: _shared_folders(want, parts[i]) for i in found}
    most = max(shared.values())
    return [i for i in found if shared[i] == most]


def distinct_paths(listed: Sequence[str], found: Sequence[int]) -> list[str]:
    """Return the different paths among the names that were found, as they are written."""
    first: dict[tuple[str, ...], str] = {}
    for i in found:
        first.setdefault(split_path(listed[i]), listed[i])
    return list(first.values())


def _shared_folders(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the folders that two paths have in common, from the file's own upwards."""
    count = 0
    for a, b in zip(one[-2::-1], other[-2::-1], strict=False):
        if a.casefold() != b.casefold():
            break
        count += 1
    return count


def listed_path(folder: Path, text: str) -> Path:
    """Return the path that a line of a list names: relative to a folder, quoted or not, of Windows or macOS.

    What is there as it is written is taken so; else quotation marks are removed, backslashes become slashes,
    and names are compared in one Unicode form, then without case where that is unambiguous. A path that is not there
    is returned as written, without quotation marks.
    """
    text = text.strip()
    if _exists(folder / text):
        return folder / text
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
        if _exists(folder / text):
            return folder / text
    for one in dict.fromkeys((text, text.replace("\\", "/"))):
        if (found := _existing(folder, one)) is not None:
            return found
    return folder / text


def _existing(folder: Path, text: str) -> Path | None:
    path = folder / text
    if _exists(path):
        return path
    at = Path(path.anchor) if path.is_absolute() else Path()
    for part in path.parts[1:] if path.is_absolute() else path.parts:
        if _exists(at / part):
            at = at / part
            continue
        try:
            names = [entry.name for entry in at.iterdir()] if at.is_dir() else []
        except OSError:
            return None
        same = [name for name in names if normal_form(name) == normal_form(part)]
        same = same or [name for name in names if normal_form(name).casefold() == normal_form(part).casefold()]
        if len(same) != 1:
            return None
        at = at / same[0]
    return at


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, or a NUL
        return False
