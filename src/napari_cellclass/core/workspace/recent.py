"""The projects and models that were used last: a short list in the user's data folder."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Literal

import platformdirs

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.common.files import write_json

FILE = "recent.json"
MOST = 20
"""Projects, and models, that are remembered."""
_LARGEST_BYTES = 1 << 20
_Kind = Literal["projects", "models"]


class Recent:
    """The projects and models that were used last, the newest first.

    Where the list cannot be read or written, it is empty or stays as it is: no work depends on it.

    Parameters
    ----------
    folder
        Folder of the list; by default the user's data folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or Path(platformdirs.user_data_path("napari-cellclass", appauthor=False))) / FILE

    @property
    def projects(self) -> list[Path]:
        """The projects that are still there."""
        return self._existing("projects")

    @property
    def models(self) -> list[Path]:
        """The models that are still there."""
        return self._existing("models")

    def add_project(self, path: Path) -> None:
        """Put a project first."""
        self._add("projects", path)

    def add_model(self, path: Path) -> None:
        """Put a model first."""
        self._add("models", path)

    def _existing(self, kind: _Kind) -> list[Path]:
        found = []
        for text in self._read()[kind]:
            with contextlib.suppress(OSError, ValueError):
                if Path(text).is_file():
                    found.append(Path(text))
        return found

    def _add(self, kind: _Kind, path: Path) -> None:
        content, text = self._read(), str(path.absolute())
        content[kind] = [text, *(other for other in content[kind] if other != text)][:MOST]
        with contextlib.suppress(OutputError, OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(self.path, content)
            self.path.chmod(0o600)  # it shows where the user's files are

    def _read(self) -> dict[_Kind, list[str]]:
        found: dict[_Kind, list[str]] = {"projects": [], "models": []}
        try:
            if self.path.stat().st_size > _LARGEST_BYTES:
                return found
            content = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return found
        if isinstance(content, dict):
            for kind in found:
                values = content.get(kind)
                if isinstance(values, list):
                    found[kind] = [text for text in values if isinstance(text, str)][:MOST]
        return found
