"""A model dropped onto napari goes to the page *Map*."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.viewer.common.opening_viewer import opening_viewer
from napari_cellclass.widgets.common.docks import open_cell_class


def get_reader(path: str | list[str]) -> Callable[[Any], list[tuple[None]]] | None:
    """Give napari's reader for a ``.cellclass`` or ``.keras`` file; it makes no layer."""
    first = path if isinstance(path, str) else path[0]
    return use_model if first.endswith((".cellclass", ".keras")) else None


def use_model(path: str | list[str]) -> list[tuple[None]]:
    """Open the widget and choose the model in it.

    Raises
    ------
    ModelError
        There is no napari window.
    """
    first = path if isinstance(path, str) else path[0]
    viewer = opening_viewer()
    if viewer is None:
        raise ModelError(f"{first} is a model, not an image; open it in a napari window")
    page: Any = open_cell_class(viewer).show_page("Classify field")
    page.set_model(first)
    return [(None,)]
