"""A model or a project dropped onto napari goes to the dock *Cell Class*."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.workspace.project_file import SUFFIX
from napari_cellclass.widgets.common.docks import open_cell_class

_MODELS = (".cellclass", ".keras")


def get_reader(path: str | list[str]) -> Callable[[Any], list[tuple[None]]] | None:
    """Give napari's reader for a model or a project; it makes no layer."""
    first = path if isinstance(path, str) else path[0]
    return use_file if first.endswith((*_MODELS, SUFFIX)) else None


def use_file(path: str | list[str]) -> list[tuple[None]]:
    """Open a project in the dock, or choose a model on its page *Map*.

    Raises
    ------
    DatasetError
        There is no napari window.
    """
    import napari

    first = path if isinstance(path, str) else path[0]
    viewer = napari.current_viewer()
    if viewer is None:
        kind = "a project" if first.endswith(SUFFIX) else "a model"
        raise DatasetError(f"{first} is {kind}, not an image; open it in a napari window")
    dock = open_cell_class(viewer)
    if first.endswith(SUFFIX):
        dock.open_project(Path(first))
    else:
        page: Any = dock.show_page("Classify field")
        page.set_model(first)
    return [(None,)]
