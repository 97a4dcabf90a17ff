"""Print the longest time that the window stands still in every flow, from the first use of a session on.

One real window, in which every flow is gone through once with mouse and keys, or the functions behind the buttons:
labelling, maps, training, experiment, evaluation, blinded reading, plate. A timer of 5 ms runs in the event loop; a
stall is the time between two of its ticks beyond that. While a tick is late, a thread looks at what is running, and
with ``--verbose`` that is printed for the longest stalls. Before each flow its dock is open for some seconds, as with
a user who reads it.

    sh scripts/xvfb.sh .venv/bin/python benchmarks/stalls.py [--verbose] [--busy] [--only FLOW ...]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from _stalls import Stalls, wait
from event_loop import train

_TILE_PX, _LOOKS_S = 128, 3.0


class Flows:
    """The window, and the flows by name, in their order.

    Parameters
    ----------
    folder
        Scratch folder.
    model
        A trained model.
    """

    def __init__(self, folder: Path, model: Path, verbose: bool, only: list[str]) -> None:
        import napari

        from napari_cellclass.core.samples.synthetic import separable_plate

        self.folder, self.model, self.verbose, self.only = folder, model, verbose, only
        self.viewer = napari.Viewer()
        self.viewer.window._qt_window.resize(1600, 1100)
        self.viewer.add_image(next(iter(separable_plate(1))).pixels, name="field")
        self.longest: dict[str, float] = {}
        self.work: dict[str, float] = {}
        look(2.0)

    def timed(self, name: str, action: Callable[[], object], done: Callable[[], bool] = lambda: True) -> None:
        """Do something, wait until it is done, and print the longest stall on the way and in the second after."""
        with Stalls(sampled=True) as stalls:
            action()
            wait(done)
            look(1.0)
        self.longest[name], self.work[name] = stalls.longest, max(stalls.work)
        print(f"{name:28s} {stalls.line()}", flush=True)
        if self.verbose:
            print("\n".join(f"      {line}" for line in stalls.what_ran()), flush=True)

    def dock(self, name: str) -> Any:
        """Open a dock, and look at it for some seconds."""
        opened: list[Any] = []
        self.timed(
            f"open {name}",
            lambda: opened.append(self.viewer.window.add_plugin_dock_widget("napari-cellclass", name, tabify=True)[1]),
            lambda: opened[0].filled,
        )
        with Stalls(sampled=True) as stalls:
            look(_LOOKS_S)
        self.longest[f"after opening {name}"] = stalls.longest
        self.work[f"after opening {name}"] = max(stalls.work)
        print(f"{'   and after':28s} {stalls.line()}", flush=True)
        if self.verbose:
            print("\n".join(f"      {line}" for line in stalls.what_ran()), flush=True)
        return opened[0]

    def close(self, widget: Any) -> None:
        """Close a dock."""
        self.viewer.window.remove_dock_widget(widget)
        look(0.3)

    # -- the flows -----------------------------------------------------------------------------

    def labelling(self) -> None:
        """Start, the first label, further labels, zooming."""
        widget = self.dock("Cell Class")
        work, header = widget.workspace, widget.header

        def opened() -> bool:
            grid = None if work.annotation is None else work.annotation.grid
            return not header.opening and grid is not None and grid.tile_px[0] == _TILE_PX

        self.timed("another tile size", lambda: header.tile_px.setValue(_TILE_PX), opened)
        canvas = self.viewer.window._qt_viewer.canvas.native
        self.timed("first label", lambda: key(canvas, "1"), lambda: int(np.max(work.annotation.labels)) >= 0)
        self.timed("further labels", lambda: [key(canvas, k) for k in "12121212"])
        self.timed("zooming", self._zoom)
        self.timed("Gallery", lambda: widget.label.tabs.setCurrentIndex(1))
        self.timed("undo", lambda: [work.undo() for _ in range(3)])
        self.close(widget)

    def _zoom(self) -> None:
        for factor in (1.5, 1.5, 1.5, 0.5, 0.5):
            self.viewer.scene.camera.zoom *= factor
            look(0.1)

    def maps(self) -> None:
        """Time the first map, further ones, other settings of the map, a label from the map."""
        dock = self.dock("Cell Class")
        widget = dock.show_page("Classify field")
        self.timed("choose a model", lambda: widget.set_model(self.model), lambda: widget.model is not None)
        look(_LOOKS_S)
        for name in ("first map", "second map", "third map"):
            self.timed(name, lambda: click(widget.run_button), lambda: not running(widget.job))
        self.timed("zooming on a map", self._zoom)
        large = np.tile(self.viewer.layers["field"].data, (10, 10))
        self.viewer.add_image(large, name="mosaic")
        look(2.0)
        widget.images.choose([self.viewer.layers["mosaic"]])
        for name in ("first map of 1 600 tiles", "second map of 1 600 tiles"):
            self.timed(name, lambda: click(widget.run_button), lambda: not running(widget.job))
        self.timed("zooming on 1 600 tiles", self._zoom)
        self.close(dock)
        self.viewer.layers.remove("mosaic")

    def training(self) -> None:
        """Preview and epochs."""
        dock = self.dock("Cell Class")
        widget = dock.show_page("Train")
        self._choose(widget)
        widget.form.fields["epochs"].value = 12
        widget.out.value = self.folder / "new.cellclass"
        self.timed("preview", lambda: click(widget.preview_button), lambda: not running(widget.job))
        self.timed(
            "training of 12 epochs", lambda: click(widget.train_button),
            lambda: not widget.training and len(widget.outcome.trained) > 0,
        )  # fmt: skip
        self.close(dock)

    def _choose(self, widget: Any) -> None:
        widget.data.from_folders.click()
        widget.data.folder.value = self.folder / "plate"
        widget.data.cutting.fields["tile_px"].value = 64

    def experiment(self) -> None:
        """Time runs by tile and by group, and the verdict."""
        widget = self.dock("Experiment")
        self._choose(widget)
        widget.network.fields["epochs"].value = 3
        widget.compared.fields["runs"].value = 2
        widget.out.value = self.folder / "experiment"
        self.timed("experiment", lambda: click(widget.pair_button), lambda: not widget.panel.running)
        print("     ", widget.panel.message.text())
        self.close(widget)

    def evaluate(self) -> None:
        """Time a test set, and its figures."""
        widget = self.dock("Evaluate")
        widget.set_model(self.model)
        widget.sets.add(self.folder / "plate")
        self.timed("evaluate", lambda: click(widget.run_button), lambda: not widget.panel.running)
        print("     ", widget.panel.message.text().replace("\n", " "))
        self.timed("figures of the evaluation", lambda: look(2.0))
        self.close(widget)

    def blinded(self) -> None:
        """Time a session of 12 tiles, read and revealed."""
        widget = self.dock("Blinded reading")
        widget.setup.reader.setText("Anna")
        widget.setup.data.value = self.folder / "plate"
        widget.setup.cutting.fields["tile_px"].value = _TILE_PX
        widget.setup.draw["tiles"].value, widget.setup.draw["repeats"].value = 8, 4
        self.timed("first blinded tile", lambda: click(widget.start_button), lambda: widget._view is not None)
        self.timed("reading 12 tiles", lambda: [(widget.answer(i % 2), look(0.05)) for i in range(12)])
        self.timed("results of the reading", lambda: click(widget.reveal_button), widget.results.isVisible)
        self.close(widget)

    def plate(self) -> None:
        """Time a plate of some fields, one of which is opened."""
        widget = self.dock("Classify plate")
        widget.sources.add(self.folder / "plate")
        widget.set_model(self.model)
        widget.set_out(self.folder / "results")
        self.timed("plate", lambda: click(widget.run_button), lambda: not widget.panel.running)
        print("     ", widget.panel.message.text().replace("\n", " "))
        self.timed("a field of the plate", widget.results.open_chosen, lambda: not widget.panel.running)
        self.timed("another field", widget.results.open_chosen, lambda: not widget.panel.running)
        self.close(widget)


def running(job: Any) -> bool:
    """Tell whether a job has not been started, or runs."""
    return job is None or job.running


def look(seconds: float) -> None:
    """Let the event loop run for some time."""
    end = time.perf_counter() + seconds
    wait(lambda: time.perf_counter() > end)


def click(button: Any) -> None:
    """Click a button."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    wait(button.isEnabled)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def key(canvas: Any, name: str) -> None:
    """Press a key on the canvas, and let the window draw."""
    from qtpy.QtTest import QTest

    QTest.keyClick(canvas, name)
    look(0.05)


def _burn() -> None:
    while True:
        sum(range(100_000))


_FLOWS = ("labelling", "maps", "training", "experiment", "evaluate", "blinded", "plate")


def main() -> None:
    """Go through the flows and print the longest stall of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verbose", action="store_true", help="print what ran in the longest stalls")
    parser.add_argument("--busy", action="store_true", help="beside a process that keeps one core busy")
    parser.add_argument("--only", nargs="+", choices=_FLOWS, default=list(_FLOWS))
    parser.add_argument("--model", type=Path, help="trained anew where none is given")
    parser.add_argument("--data", type=Path, help="class folders, written anew where none are given")
    given = parser.parse_args()
    other = multiprocessing.Process(target=_burn, daemon=True) if given.busy else None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):  # not caches: those of shaders are kept
            os.environ[name] = str(folder / name.lower())
        model = given.model or train(folder)
        if not (folder / "plate").exists():
            from napari_cellclass.core.samples.synthetic import separable_plate, write_plate

            write_plate(folder / "plate", separable_plate(0, wells_per_class=2, sites_per_well=1))
        if other is not None:
            other.start()
        flows = Flows(folder, model, given.verbose, given.only)
        for name in given.only:
            getattr(flows, name)()
        if other is not None:
            other.terminate()
        slowest = max(flows.longest, key=lambda name: flows.longest[name])
        print(f"longest of all: {flows.longest[slowest]:.0f} ms, {slowest}")
        hardest = max(flows.work, key=lambda name: flows.work[name])
        print(f"most work of the window's thread at once: {flows.work[hardest]:.0f} ms, {hardest}")
        print("tensorflow in this process:", "tensorflow" in sys.modules)
        flows.viewer.close()


if __name__ == "__main__":
    main()
