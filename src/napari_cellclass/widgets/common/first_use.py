"""What napari and its libraries do once in a session, done before it is needed: in a thread, or while nothing waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from npe2 import PluginManager
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_cellclass.core.common.task import Task
from napari_cellclass.viewer.common.first_use import first_use_steps
from napari_cellclass.viewer.common.map_view import warm_up
from napari_cellclass.widgets.common.jobs import is_any_job_running, spare_older_objects, start_job

if TYPE_CHECKING:
    from napari.viewer import Viewer

_PLUGIN = "napari-cellclass"
_PAUSE_MS = 30  # between two steps, for what a user does meanwhile


def _warm_up(task: Task) -> None:
    warm_up()
    commands = PluginManager.instance().get_manifest(_PLUGIN).contributions.commands or []
    for command in task.track(commands, "importing"):  # the other docks, so that they open at once
        if command.python_name is not None:
            import_module(str(command.python_name).partition(":")[0])


class _IdleSteps(QTimer):
    """Does one step at a time while nothing else runs; lives as long as the window, and goes when all is done.

    Parameters
    ----------
    window
        The window.
    steps
        Functions that take less than a tenth of a second each.
    """

    def __init__(self, window: QMainWindow, steps: Iterator[Callable[[], None]]) -> None:
        super().__init__(window)
        self._steps = steps
        self.setInterval(_PAUSE_MS)
        self.timeout.connect(self._next)
        self.start()

    def _next(self) -> None:
        if is_any_job_running():
            return  # the cores are wanted elsewhere
        step = next(self._steps, None)
        if step is None:
            self.stop()
        else:
            step()


def pay_first_uses(widget: QWidget) -> None:
    """Prepare the window that a widget with a ``viewer`` is in for maps and text on them, once for each window."""
    viewer: Viewer | None = getattr(widget, "viewer", None)
    parent: Any = widget.parent()
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parent()
    if viewer is None or parent is None or parent.findChild(_IdleSteps) is not None:
        return
    from pint import get_application_registry  # imports Dask, if that is there

    _IdleSteps(parent, first_use_steps(viewer))
    # pint fills its registry at its first use, and not for several threads: while one fills it, another finds no units.
    get_application_registry().Unit("pixel")
    spare_older_objects(start_job(_warm_up))
