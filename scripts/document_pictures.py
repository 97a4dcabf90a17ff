"""Save the pictures of the window that the documents show, from the window as it is now. Takes some minutes.

sh scripts/xvfb.sh python scripts/document_pictures.py --out docs/images [--only plate]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QScrollArea
from screenshots import PAGES, Session, look, wait

from napari_cellclass.widgets.common.figure_view import FigureView

PICTURES = {"label": "annotate-tiles", "train": "train", "map": "classify-field", "check": "check"}
_DOCKED = (1300, 860)
_TILE_PX = 128  # of the synthetic plate
_MOST_BYTES = 400_000
_WELL = "B04"  # one of its wells


class Pictures:
    """A session, and where its pictures go.

    Parameters
    ----------
    session
        The window.
    out
        Folder of the pictures.
    """

    def __init__(self, session: Session, out: Path) -> None:
        self.session, self.out = session, out
        self.viewer, self.folder = session.viewer, session.folder

    def pages(self) -> None:
        """Save the pages of the dock Cell Class: Label as long as the live map is shown, the others once trained."""
        dock = self.session.dock
        self.session.label()
        live = dock.label.live.predictions
        wait(lambda: live.current is not None and dock.workspace.predictions() is not None)
        self._save_page("label")
        self.session.train()
        wait(lambda: not dock.map.running_work() and not dock.map.results.isHidden())
        for name in ("train", "map", "check"):
            self._save_page(name)

    def _save_page(self, name: str) -> None:
        self.session.dock.show_page(PAGES[name])
        self.viewer.reset_view()
        look(4)  # until the map and what is beside it have followed
        self._save_window(PICTURES[name])

    def prepare(self) -> None:
        """Preview the tiles of the stained field in the dock Prepare tiles."""
        from napari_cellclass.core.samples.realfield import ihc_field

        path = self.folder / "ihc.png"
        Image.fromarray(ihc_field().data).save(path)
        page = self._open("Prepare tiles").slice
        self.viewer.open(str(path), plugin="napari")
        page.source.from_layers.click()
        page.cut.fields["tile_px"].value = 32
        page.keep.fields["background"].value = "variance"
        page.preview_button.click()
        wait(lambda: not page.panel.running)
        self.viewer.reset_view()
        look(2)
        self._save_window("prepare-tiles")

    def plate(self) -> None:
        """Classify a plate of two classes, and open a field of one of its wells."""
        plate, model = self._plate(), self.folder / "plate.cellclass"
        _program("train", plate, "--tile-px", _TILE_PX, "--group-by", "^(...)", "--out", model)
        widget = self._open("Classify plate")
        widget.sources.add(plate)
        widget.set_model(model)
        widget.set_out(self.folder / "maps")
        widget.run_button.click()
        wait(lambda: not widget.panel.running and (self.folder / "maps" / "fields.csv").is_file())
        look(1)
        view = widget.results.plate
        row = next(row for row in view._wells.values() if row["well"] == _WELL)
        view.opened.emit(row["well"])
        look(1)
        wait(lambda: not widget.panel.running)
        self.viewer.reset_view()
        area = widget.findChild(QScrollArea)
        area.verticalScrollBar().setValue(widget.run_button.mapTo(area.widget(), QPoint(0, 0)).y())
        look(3)
        self._save_window("classify-plate")

    def evaluate(self) -> None:
        """Evaluate the model of the demo on the half of the field that it has not seen; save the window of results."""
        demo = self.folder / "demo"
        _program("demo", "--out", demo, "--no-window")
        widget = self._open("Evaluate")
        widget.set_model(demo / "demo.cellclass")
        widget.sets.add(demo / "test")
        widget.form.fields["group_by"].value = r"_(c\d+)"
        widget.run_button.click()
        wait(lambda: not widget.panel.running)
        print(widget.panel.message.text(), flush=True)
        self._show_results(widget, 690)
        widget.results.confusion.cell.emit(0, 1)
        panel = widget.results.panel
        wait(lambda: len(panel.tiles) == len(panel.tile_indices))
        self._save_results(widget, "evaluate")

    def experiment(self) -> None:
        """Ask on the plate whether its classes can be learned; save the window of results."""
        widget = self._open("Experiment")
        widget.data.from_folders.click()
        widget.data.folder.value = self._plate()
        widget.data.cutting.fields["tile_px"].value = _TILE_PX
        widget.data.grouping.fields["group_by"].value = "^(...)"
        widget.compared.fields["runs"].value = 2
        widget.compared.fields["curve"].value = False
        widget.out.value = self.folder / "experiment"
        widget.start_button.click()
        wait(lambda: not widget.panel.running, 3000)
        print(widget.panel.message.text(), flush=True)
        self._show_results(widget, 690)
        self._save_results(widget, "experiment-window")

    def _plate(self) -> Path:
        """Write the plate of the tutorials, if it is not there, and give its folder."""
        from napari_cellclass.core.samples.synthetic import separable_plate, write_plate

        folder = self.folder / "plate"
        if not folder.is_dir():
            write_plate(folder, separable_plate(seed=0, wells_per_class=6, sites_per_well=2, field_px=256))
        return folder

    def _open(self, name: str) -> Any:
        """Open a dock in the place of Cell Class."""
        self.viewer.window.remove_dock_widget("all")
        self.session.window.resize(*_DOCKED)
        widget = self.viewer.window.add_plugin_dock_widget("napari-cellclass", name)[1]
        look(1)
        return widget

    def _save_window(self, name: str) -> None:
        self._save(self.viewer.screenshot(canvas_only=False, flash=False)[..., :3], name)

    def _show_results(self, widget: Any, height: int) -> None:
        widget.window_of_results.resize(1280, height)
        look(3)

    def _save_results(self, widget: Any, name: str) -> None:
        look(3)
        wait(lambda: all(map(_is_drawn, widget.window_of_results.findChildren(FigureView))))
        path = self.out / f"{name}.png"
        widget.window_of_results.grab().save(str(path))
        self._save(Image.open(path).convert("RGB"), name)

    def _save(self, pixels: Any, name: str) -> None:
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        path = self.out / f"{name}.png"
        image.save(path, optimize=True)
        if path.stat().st_size > _MOST_BYTES:  # a palette halves it, but few colours do not get far on a map
            image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
        print(path, flush=True)


def _is_drawn(view: FigureView) -> bool:
    """Whether a figure is shown as it has to be at its present size."""
    busy = view._timer.isActive() or (view._job is not None and view._job.running)
    return view._draw is None or (not busy and view._drawn == (view._draw, view._style()))


def _program(*words: object) -> None:
    """Run the program."""
    subprocess.run([sys.executable, "-m", "napari_cellclass", *map(str, words)], check=True)


SCENES = ("pages", "prepare", "plate", "evaluate", "experiment")


def main() -> None:
    """Make the pictures; each scene begins with a window of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", nargs="*", choices=SCENES, default=SCENES)
    given = parser.parse_args()
    for scene in given.only:
        with tempfile.TemporaryDirectory() as scratch:
            for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
                os.environ[name] = str(Path(scratch) / name.lower())
            os.environ["NAPARI_CELLCLASS_TOUR"] = "off"
            session = Session(Path(scratch))
            getattr(Pictures(session, given.out), scene)()
            session.viewer.close()


if __name__ == "__main__":
    main()
