"""The viewer that a file is opened in, where several are open."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.viewer import Viewer


def opening_viewer() -> Viewer | None:
    """Return the viewer that is opening a file now, else the one that was used last; None where there is none.

    napari gives a reader nothing but the path, so the viewer is found among the callers of the reader:
    ``ViewerModel.open`` is always one of them.
    """
    import napari
    from napari.components import ViewerModel

    frame = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, ViewerModel) and frame.f_code.co_name in ("open", "_open_or_raise_error"):
            return caller
        frame = frame.f_back  # type: ignore[assignment]
    return napari.current_viewer()
