"""Annotation sessions in a journal: what their entries mean, and how the last one is found and replayed.

:meth:`~napari_cellclass.core.labels.annotation.Annotation.restore` goes on with one after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import platformdirs
from numpy.typing import ArrayLike

from napari_cellclass.core.common.errors import MALFORMED_JSON, CellClassError
from napari_cellclass.core.common.journal import Entry, Journal
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.history import History
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.labels.label_store import parse_tiles_by_label, tiles_by_label
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_key, grid_layout

VERSION = 1


def user_journal() -> Journal:
    """Give the journal of all annotations of this user, in the user's data folder."""
    return Journal(Path(platformdirs.user_data_path("napari-cellclass", appauthor=False)) / "journal")


def start_entry(session: str, image: ImageKey, grid: TileGrid, history: History) -> Entry:
    """Give the first entry of a session: image, grid, classes and all labels so far."""
    return {
        "do": "start",
        "v": VERSION,
        "s": session,
        "t": round(time.time(), 3),
        "name": image.name,
        "key": grid_key(grid),
        "grid": grid_layout(grid),
        "classes": history.scheme.to_json(),
        "set": tiles_by_label(*history.store.labelled()),
    }


def entries_by_session(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Sort entries into sessions, each with its start first, the session changed last at the end."""
    sessions: dict[str, list[Entry]] = {}
    last_entry: dict[str, int] = {}
    for number, entry in enumerate(entries):
        session = entry.get("s")
        if not isinstance(session, str):
            continue
        if entry.get("do") == "start" and entry.get("v") == VERSION:
            sessions.setdefault(session, [entry])
        elif session in sessions:
            sessions[session].append(entry)
        last_entry[session] = number
    return {session: sessions[session] for session in sorted(sessions, key=lambda name: last_entry[name])}


def replay_session(entries: Sequence[Entry], ids: ArrayLike) -> History:
    """Replay a session.

    Parameters
    ----------
    entries
        Of one session, its start first.
    ids
        int64, shape (N,): tile ids of the grid whose labels are wanted densely.

    Raises
    ------
    KeyError, TypeError, ValueError, OverflowError, AttributeError, ParamsError
        The start is damaged.
    """
    start = entries[0]
    history = History(ids, ClassScheme.from_json(start["classes"]))
    history.store.set(*parse_tiles_by_label(start["set"]))
    history.replay(entries[1:])
    return history


def last_session(entries: Sequence[Entry], grid: TileGrid) -> tuple[str, History] | None:
    """Give the id of the grid's session that was changed last, and its history; None where there is none."""
    key = grid_key(grid)
    for session, session_entries in reversed(entries_by_session(entries).items()):
        if session_entries[0].get("key") == key:
            try:
                return session, replay_session(session_entries, grid.tile_id)
            except (*MALFORMED_JSON, CellClassError):
                continue  # a damaged start; an earlier session may be intact
    return None


def labels_of_other_grids(entries: Sequence[Entry], grid: TileGrid) -> dict[tuple[int, int], int]:
    """Count the labels of an image's sessions with other tiles than a grid's, which are not shown with it.

    Returns
    -------
    dict
        Number of labelled tiles by the side of a tile, (height, width) in px; of the last session of each grid.
    """
    found: dict[str, tuple[tuple[int, int], int]] = {}
    for session_entries in entries_by_session(entries).values():
        start = session_entries[0]
        try:
            ids, _ = replay_session(session_entries, ()).store.labelled()
            height, width = (int(n) for n in start["grid"]["tile_px"])
            found[str(start["key"])] = (height, width), len(ids)
        except (*MALFORMED_JSON, CellClassError):
            continue  # damaged
    found.pop(grid_key(grid), None)
    counts: dict[tuple[int, int], int] = {}
    for side, n in found.values():
        if n:
            counts[side] = counts.get(side, 0) + n
    return counts


def last_tile_px(entries: Sequence[Entry]) -> tuple[int, int] | None:
    """Give the side of the tiles, (height, width) in px, of the regular grid that was labelled last; None for none."""
    for session_entries in reversed(entries_by_session(entries).values()):
        try:
            layout = session_entries[0]["grid"]
            height, width = (int(n) for n in layout["tile_px"])
            if tuple(layout["step_px"]) != (1, 1):  # else the tiles are centred on points
                return height, width
        except MALFORMED_JSON:
            continue  # damaged
    return None
