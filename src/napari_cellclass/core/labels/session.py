"""The tie between labels in memory and their journal on disk: neither changes without the other."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from napari_cellclass.core.common.errors import CellClassError, ParamsError
from napari_cellclass.core.common.journal import MALFORMED, VERSION, Journal, JournalFile, Mark, by_session, history_of
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.history import Change, Entry, History, Step, grouped
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_key, grid_layout


class LabelLog:
    """A session: the history of one image's grid, and how far its journal was read.

    Parameters
    ----------
    image, grid, scheme, journal
        See :class:`~napari_cellclass.core.labels.annotation.Annotation`.
    """

    def __init__(self, image: ImageKey, grid: TileGrid, scheme: ClassScheme, journal: Journal) -> None:
        self.image = image
        self.grid = grid
        self.journal = journal
        self.session = _new_session()
        self.key = grid_key(grid)
        self.history = History(grid.tile_id, scheme)
        self._mark: Mark | None = None

    @property
    def started(self) -> bool:
        """Whether the journal knows of this session."""
        return self._mark is not None

    @classmethod
    def restored(cls, image: ImageKey, grid: TileGrid, journal: Journal, session: str | None) -> LabelLog | None:
        """Go on with a session, see :meth:`Journal.restore`."""
        entries, mark = journal.read(image.image_id)
        key = grid_key(grid)
        for name, mine in reversed(by_session(entries).items()):
            if mine[0].get("key") != key or session not in (None, name):
                continue
            try:
                history = history_of(mine, grid.tile_id)
            except (*MALFORMED, CellClassError):
                continue  # a damaged start; an earlier session may be whole
            log = cls(image, grid, history.scheme, journal)
            log.session, log.history, log._mark = name, history, mark
            return log
        return None

    def write(self, build: Callable[[], Entry | None], any_classes: bool = False) -> Change | None:
        """Take over what other processes wrote, journal the entry that ``build`` gives, then change memory.

        Parameters
        ----------
        build
            Gives the entry for the state as it is then, or None for nothing; may raise.
        any_classes
            Whether the entry makes sense after another process changed the classes.

        Returns
        -------
        Change or None
            What differs from before the call; None where nothing was done.

        Raises
        ------
        OutputError
            The journal cannot be written; then nothing was changed.
        ParamsError
            Another process changed the classes: they and its labels are there now, nothing else was done.
        """
        history = self.history
        before, scheme = None, history.scheme
        with self.journal.writing(self.image.image_id) as file:
            news = self._news(file)
            if news:
                before = history.store.labels.copy()
                history.replay(news)
                if history.scheme is not scheme and not any_classes:
                    raise ParamsError("another window changed the classes of this image; look at them and try again")
            entry = build()
            if entry is not None:
                if entry["do"] in ("label", "classes"):
                    entry["n"] = history.number + 1
                direction, step = history.plan(entry)
                self._append(file, entry)
        if entry is None and before is None:
            return None
        if entry is not None:
            if before is None and step.schemes is None:
                history.commit(direction, step)
                return self._change(step, back=direction == "undo")
            before = history.store.labels.copy() if before is None else before
            history.commit(direction, step)
        assert before is not None
        return Change.between(before, history.store.labels, history.scheme is not scheme)

    def _append(self, file: JournalFile, entry: Entry) -> None:
        entry |= {"s": self.session, "t": round(time.time(), 3)}
        self._mark = file.append([entry] if self._mark else [self._start(), entry])

    def _change(self, step: Step, back: bool) -> Change:
        """Tell which places of the grid a step of labels alone has changed: quicker than comparing all."""
        places = self.history.store.places(step.ids)
        before, after = (step.after, step.before) if back else (step.before, step.after)
        mine = places >= 0
        return Change(places[mine], before[mine], after[mine])

    def _news(self, file: JournalFile) -> list[Entry]:
        if self._mark is None:
            return []
        news = file.news(self._mark)
        if news is None:
            # Someone removed the journal. A new session begins with all labels; as its steps are gone on
            # disk, they go in memory too.
            self.session, self._mark = _new_session(), None
            self.history.done.clear()
            self.history.undone.clear()
            return []
        entries, self._mark = news
        return [entry for entry in entries if entry.get("s") == self.session]

    def _start(self) -> Entry:
        return {
            "do": "start",
            "v": VERSION,
            "s": self.session,
            "t": round(time.time(), 3),
            "name": self.image.name,
            "key": self.key,
            "grid": grid_layout(self.grid),
            "classes": self.history.scheme.to_json(),
            "set": grouped(*self.history.store.labelled()),
        }


def _new_session() -> str:
    return uuid.uuid4().hex[:12]
