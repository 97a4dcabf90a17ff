"""A project dropped onto napari is opened in the dock *Cell Class*."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.viewer.common.opening_viewer import opening_viewer
from napari_cellclass.widgets.common.docks import open_cell_class
from napari_cellclass.widgets.workspace.project_bar import SUFFIX


def get_reader(path: str | list[str]) -> Callable[[Any], list[tuple[None]]] | None:
    """Give napari's reader for a project file; it makes no layer."""
    first = path if isinstance(path, str) else path[0]
    return use_project if first.endswith(SUFFIX) else None


def use_project(path: str | list[str]) -> list[tuple[None]]:
    """Open a project.

    Raises
    ------
    DatasetError
        There is no napari window.
    """
    first = path if isinstance(path, str) else path[0]
    viewer = opening_viewer()
    if viewer is None:
        raise DatasetError(f"{first} is a project, not an image; open it in a napari window")
    open_cell_class(viewer).open_project(Path(first))
    return [(None,)]
