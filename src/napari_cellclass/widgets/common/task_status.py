"""A long job in napari's list of running tasks, which napari shows before it closes a window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QWidget

from napari_cellclass.core.common.task import Progress
from napari_cellclass.widgets.common.window_parts import main_window, page_name

_PROVIDER = "Cell Class"


class TaskStatus:
    """The entry of one job.

    Parameters
    ----------
    owner
        The widget that started it, in a dock; outside of a window of napari's there is no list.
    cancel
        Called when a user closes the window all the same.
    """

    def __init__(self, owner: QWidget, cancel: Callable[[], None]) -> None:
        self._window: Any = getattr(main_window(owner), "_window", None)
        name = page_name(owner)
        self._name = f"{name}: " if name else ""
        self._text = f"{self._name}starting"
        self._id: Any = None
        if self._window is not None:
            from napari.utils.task_status import Status

            self._id = self._window._register_task_status(_PROVIDER, Status.BUSY, self._text, cancel)

    def show_progress(self, update: Progress) -> None:
        """Say what is being done; napari keeps every text, so a new one comes with each hundredth only."""
        share = f", {100 * update.done // update.total} %" if update.total else ""
        text = f"{self._name}{update.phase}{share}"
        if text != self._text and self._id is not None:
            from napari.utils.task_status import Status

            self._text = text
            self._window._update_task_status(self._id, Status.BUSY, text)

    def end(self, outcome: str) -> None:
        """Take the job off the list: ``"returned"``, ``"failed"`` or ``"cancelled"``; later calls do nothing."""
        if self._id is not None:
            from napari.utils.task_status import Status

            ends = {"returned": Status.COMPLETED, "failed": Status.FAILED, "cancelled": Status.CANCELLED}
            self._window._update_task_status(self._id, ends[outcome], f"{self._name}{outcome}")
            self._id = None
