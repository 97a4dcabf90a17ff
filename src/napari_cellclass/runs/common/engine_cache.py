"""The engine of the last model, kept open from one field to the next."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.shared import EngineName, PrecisionName
from napari_cellclass.runs.common.engine_access import Engine, open_engine


@dataclass(frozen=True)
class EngineKey:
    """What decides which engine is opened.

    Parameters
    ----------
    model_id
        Hash of the model.
    engine, precision, threads
        See :func:`~napari_cellclass.engine.inference.engines.open_engine`.
    """

    model_id: str
    engine: EngineName = "auto"
    precision: PrecisionName = "f32"
    threads: int | None = None


@dataclass(eq=False)
class _OpenModel:
    """A model and its engine, closed once it was replaced and nobody uses it."""

    key: EngineKey
    model: ModelBundle
    engine: Engine
    users: int = 0
    replaced: bool = False

    def close_if_unused(self) -> None:
        if self.replaced and self.users == 0:
            self.engine.close()


class EngineCache:
    """Keeps one model and its engine open, so that the next field of the same model starts at once.

    Several threads may use it at the same time. Another model takes the place of the one that is open; an engine
    that is in use is closed only when its last user has finished.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: _OpenModel | None = None
        self._closed = False

    @contextlib.contextmanager
    def use(self, key: EngineKey, load: Callable[[], ModelBundle]) -> Iterator[tuple[ModelBundle, Engine]]:
        """Yield a model and its engine, open for as long as the block lasts.

        Parameters
        ----------
        key
            Model and settings.
        load
            Opens the model; called where another one is open, or none.
        """
        with self._lock:
            entry = self._get(key, load)
            entry.users += 1
        try:
            yield entry.model, entry.engine
        finally:
            with self._lock:
                entry.users -= 1
                entry.close_if_unused()
            self._release_if_closed()

    def prepare(self, key: EngineKey, load: Callable[[], ModelBundle]) -> None:
        """Open a model's engine ahead of its first use, unless another one is in use."""
        with self._lock:
            in_use = self._open is not None and self._open.users > 0
            if not (in_use or self._closed):
                self._get(key, load)
        self._release_if_closed()

    def close(self) -> None:
        """Close the engine, now or when nobody uses or opens it any more; never waits."""
        self._closed = True
        self._release_if_closed()

    def _get(self, key: EngineKey, load: Callable[[], ModelBundle]) -> _OpenModel:
        if self._open is None or self._open.key != key:
            self._release()
            model = load()
            self._open = _OpenModel(key, model, open_engine(model, key.engine, key.threads, key.precision))
        return self._open

    def _release(self) -> None:
        entry, self._open = self._open, None
        if entry is not None:
            entry.replaced = True
            entry.close_if_unused()

    def _release_if_closed(self) -> None:
        # Where another thread holds the lock, that one comes here when it has released it.
        while self._closed and self._open is not None and self._lock.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._lock.release()
