"""What a journal holds of annotation sessions, read without an annotation."""

from __future__ import annotations

import numpy as np

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.labels.history import History
from napari_cellclass.core.labels.session_store import entries_by_session, replay_session
from napari_cellclass.core.tiles.grid_layout import grid_from_layout


def sessions(journal: Journal, image_id: str) -> dict[str, History]:
    """Replay every session of an image on its own grid, the one changed last at the end."""
    return {
        session: replay_session(entries, grid_from_layout(entries[0]["grid"]).tile_id)
        for session, entries in entries_by_session(journal.entries(image_id)).items()
    }


def labelled(journal: Journal, image_id: str) -> list[int]:
    """Count the tiles with a class in each session."""
    return [int((history.store.labelled()[1] >= 0).sum()) for history in sessions(journal, image_id).values()]


def misfits(journal: Journal, image_id: str, session: str) -> int:
    """Count the entries of a session that do not fit: 0 unless the file was damaged."""
    start, *entries = entries_by_session(journal.entries(image_id))[session]
    history = replay_session([start], np.zeros(0, np.int64))
    found = 0
    for entry in entries:
        try:
            history.commit(*history.plan(entry))
        except ParamsError:
            found += 1
    return found
