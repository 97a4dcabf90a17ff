"""Origin of a model in one line, and the list of models that were trained or used on this machine before."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import platformdirs

from napari_cellclass.core.common.errors import escape_controls
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.models.bundle import ModelBundle

FILE = "known-models.txt"
SHORT = 12
"""Digits of a SHA-256 that are displayed."""


def describe_origin(bundle: ModelBundle, with_hash: bool = True) -> str:
    """Describe when, by which version and on which data a model was trained, with the hash of its file.

    All but the hash is read from the file itself, so its author could have written anything.
    """
    m = bundle.manifest
    ending = f"; sha256 {_hash(bundle)[:SHORT]}" if with_hash else ""
    if m.network.startswith("keras:"):
        return f"converted from {m.training.get('source', 'a Keras file')} by {m.program}{ending}"
    day = m.created[:10] if re.match(r"\d{4}-\d\d-\d\d", m.created) else "on an unknown day"
    return f"trained {day} by {m.program} on {_data(m.data, m.training)}{ending}"


def _data(data: dict[str, Any], training: dict[str, Any]) -> str:
    images = data.get("images")
    counts = [n for n in (data.get("n_train"), data.get("n_validation")) if isinstance(n, int)]
    parts = [counted(sum(counts), "tile")] if counts else []
    parts += [counted(len(images), "image")] if isinstance(images, list) and images else []
    path = str(training.get("data") or "")
    name = (PureWindowsPath if "\\" in path else PurePosixPath)(path).name
    return (" of ".join(parts) or "unknown data") + (f" in {name!r}" if name else "")


def _hash(bundle: ModelBundle) -> str:
    """Return the SHA-256 of the file that the user received: for a converted model, that of the Keras file."""
    original = bundle.manifest.training.get("sha256") if bundle.manifest.network.startswith("keras:") else None
    return original if isinstance(original, str) else bundle.sha256


class KnownModels:
    """The user's list of models that were trained or used on this machine: a line of SHA-256, time and name each.

    Parameters
    ----------
    folder
        Folder of the list; by default the user's data folder. It is created with mode 0700, the file with 0600.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(platformdirs.user_data_dir("napari-cellclass", appauthor=False))

    def knows(self, bundle: ModelBundle) -> bool:
        """Return whether this file was trained or used here before."""
        try:
            lines = (self.folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return False
        return any(line.split(" ", 1)[0] == _hash(bundle) for line in lines)

    def announce_new(self, bundle: ModelBundle, say: Callable[[str], None]) -> None:
        """Report the origin of a model that is used here for the first time, and remember it."""
        if not self.knows(bundle):
            say(escape_controls(f"{bundle.path.name} is new on this machine: {describe_origin(bundle)}"))
            self.remember(bundle)

    def remember(self, bundle: ModelBundle) -> None:
        """Add a model; where the file cannot be written, the model is announced as new again next time."""
        if self.knows(bundle):
            return
        name = " ".join(bundle.path.name.split()).encode("utf-8", "backslashreplace").decode()
        line = f"{_hash(bundle)} {datetime.now(UTC).isoformat(timespec='seconds')} {name}\n"
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            number = os.open(self.folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(number, line.encode())  # one write, so that two processes leave whole lines
            finally:
                os.close(number)
