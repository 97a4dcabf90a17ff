"""Entries of napari's command palette: labels, undo, walking, training and the map, each with its key."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from app_model.types import Action
from qtpy.QtWidgets import QApplication

from napari_cellclass.core.labels.label_store import UNLABELLED, UNSURE
from napari_cellclass.viewer.workspace.workspace import Workspace

_docks = itertools.count(1)  # of several windows


class CommandEntries:
    """What a workspace can do, in the command palette for as long as its dock is open.

    Parameters
    ----------
    workspace
        The work in a viewer.
    more
        Further entries: what each does, by its title.
    """

    def __init__(self, workspace: Workspace, more: Mapping[str, Callable[[], object]]) -> None:
        self._workspace, self._more = workspace, dict(more)
        self._titles: list[str] = []
        self._name = f"napari-cellclass.dock-{next(_docks)}"
        self._dispose: Callable[[], None] | None = None
        workspace.classes_changed.connect(self.refresh)
        self.refresh()

    def entries(self) -> dict[str, Callable[[], object]]:
        """Give what each entry does, by its title, which ends with its key."""
        work = self._workspace
        found: dict[str, Callable[[], object]] = {}
        if work.annotation is not None:
            for index, (name, key) in enumerate(zip(work.scheme.names, work.scheme.keys, strict=True)):
                found[_titled(f"label the tile {name}", key.strip())] = partial(work.press_class_key, index)
            found["label the tile unsure (U)"] = partial(work.press_class_key, UNSURE)
            found["remove the tile's label (0)"] = partial(work.press_class_key, UNLABELLED)
            found["undo (Ctrl+Z)"], found["redo (Ctrl+Shift+Z)"] = work.undo, work.redo
            found["next tile of the queue"] = work.go_to_next
            found["tile to the right (Right)"] = partial(work.walk, 0, 1)
            found["previous tile, to the left (Left)"] = partial(work.walk, 0, -1)
            found["tile below (Down)"], found["tile above (Up)"] = partial(work.walk, 1, 0), partial(work.walk, -1, 0)
            found["next field (Page Down)"] = lambda: work.neighbour_wanted.emit(1)
            found["previous field (Page Up)"] = lambda: work.neighbour_wanted.emit(-1)
        return found | self._more

    def refresh(self) -> None:
        """Follow the classes."""
        entries = self.entries()
        if list(entries) == self._titles:
            return
        self._remove()
        self._titles = list(entries)
        app = _app()
        with app.menus.menus_changed.blocked():
            self._dispose = app.register_actions(
                Action(id=f"{self._name}.{number}", title=f"Cell Class: {title}", callback=callback)
                for number, (title, callback) in enumerate(entries.items())
            )
        _tell_palettes()

    def close(self) -> None:
        """Take the entries out of the palette for good: a change of the classes does not bring them back."""
        self._workspace.classes_changed.disconnect(self.refresh, missing_ok=True)
        self._remove()

    def _remove(self) -> None:
        dispose, self._dispose, self._titles = self._dispose, None, []
        if dispose is not None:
            with _app().menus.menus_changed.blocked():
                dispose()
            _tell_palettes()


def _app() -> Any:
    from napari._app_model import get_app_model

    return get_app_model()


def _tell_palettes() -> None:
    """Let the palettes of all windows that are open follow.

    Not by napari's signal: the palette of a window that was closed still listens to it, and raises an error (napari
    0.9.2, ``QCommandPalette._on_app_menus_changed``).
    """
    from napari._qt.widgets.qt_command_palette import QCommandPalette  # imports Dask

    for widget in QApplication.allWidgets():
        if isinstance(widget, QCommandPalette):
            with contextlib.suppress(RuntimeError):  # its window is being closed
                widget._on_app_menus_changed({_app().menus.COMMAND_PALETTE_ID})


def _titled(text: str, key: str) -> str:
    return f"{text} ({key})" if key else text
