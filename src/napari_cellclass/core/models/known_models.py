"""Where a model comes from, in a line; and which models were trained or used on this machine before."""

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
from napari_cellclass.core.models.bundle import ModelBundle

FILE = "known-models.txt"
SHORT = 12
"""Digits of a SHA-256 that are shown."""


def describe_origin(bundle: ModelBundle) -> str:
    """Tell when a model was trained, by which version and on what, and its file's hash, as the file says itself.

    Nothing of it is proven: whoever wrote the file wrote this, too. Only the hash can be compared.
    """
    m = bundle.manifest
    if m.network.startswith("keras:"):
        return (
            f"converted from {m.training.get('source', 'a Keras file')} by {m.program}; sha256 {_hash(bundle)[:SHORT]}"
        )
    day = m.created[:10] if re.match(r"\d{4}-\d\d-\d\d", m.created) else "on an unknown day"
    return f"trained {day} by {m.program} on {_data(m.data, m.training)}; sha256 {_hash(bundle)[:SHORT]}"


def _data(data: dict[str, Any], training: dict[str, Any]) -> str:
    images = data.get("images")
    counts = [n for n in (data.get("n_train"), data.get("n_validation")) if isinstance(n, int)]
    parts = [f"{sum(counts):,} tiles"] if counts else []
    parts += [f"{len(images):,} images"] if isinstance(images, list) and images else []
    path = str(training.get("data") or "")
    name = (PureWindowsPath if "\\" in path else PurePosixPath)(path).name
    return (" of ".join(parts) or "unknown data") + (f" in {name!r}" if name else "")


def _hash(bundle: ModelBundle) -> str:
    """Give the hash of the file that a user was given: of a converted model, that of the Keras file."""
    given = bundle.manifest.training.get("sha256") if bundle.manifest.network.startswith("keras:") else None
    return given if isinstance(given, str) else bundle.sha256


class KnownModels:
    """The models that were trained or used here: a line each of SHA-256, time and name, for this user only.

    Parameters
    ----------
    folder
        Where the file lies; the user's data folder when not given. Made with mode 0700, the file with 0600.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(platformdirs.user_data_dir("napari-cellclass", appauthor=False))

    def knows(self, bundle: ModelBundle) -> bool:
        """Whether this very file was trained or used here before."""
        try:
            lines = (self.folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return False
        return any(line.split(" ", 1)[0] == _hash(bundle) for line in lines)

    def announce_new(self, bundle: ModelBundle, say: Callable[[str], None]) -> None:
        """Say where a model comes from before it is used here for the first time, and remember it."""
        if not self.knows(bundle):
            say(escape_controls(f"{bundle.path.name} is new on this machine: {describe_origin(bundle)}"))
            self.remember(bundle)

    def remember(self, bundle: ModelBundle) -> None:
        """Add a model; where the file cannot be written, it will be called new again, and nothing else happens."""
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
