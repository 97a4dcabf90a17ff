"""Time how long napari's event loop stands still while a network is trained from the widget.

A 5 ms timer runs in the window's thread; what it comes late is a stall. The goal is that none is above 100 ms.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from _stalls import Stalls, wait
from napari_cellclass.core.samples.synthetic import separable_plate, write_plate

_EPOCHS = 12
_TILE_PX = 64


def main() -> None:
    """Print the stalls of an idle window, of the preview, and of a training."""
    import napari

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_plate(folder / "plate", separable_plate(0, wells_per_class=3, sites_per_well=1))
        viewer = napari.Viewer()
        viewer.add_image(next(iter(separable_plate(1))).pixels, name="field")
        _, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
        widget = dock.show_page("Train")
        widget.data.folder.value = folder / "plate"
        widget.data.cutting.fields["tile_px"].value = _TILE_PX
        widget.form.fields["epochs"].value = _EPOCHS
        widget.out.value = folder / "model.cellclass"
        with Stalls() as idle:
            start = time.perf_counter()
            wait(lambda: time.perf_counter() - start > 3)
        print("idle      ", idle.line())
        for name in ("preview", "preview, again"):
            with Stalls() as looking:
                widget.preview()
                wait(lambda: widget.train_button.isEnabled() and not widget.tiles.pixmap().isNull())
            print(f"{name:<15}", looking.line())
        with Stalls() as training:
            widget.train()
            wait(lambda: widget.train_button.isEnabled() and not widget.training)
        print(f"{len(widget.progress.history)} epochs      ", training.line())
        print(widget.progress.message.text())
        print("tensorflow in this process:", "tensorflow" in sys.modules)
        viewer.close()


if __name__ == "__main__":
    main()
