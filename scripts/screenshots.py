"""Save a picture of every page of the dock Cell Class, in both themes, two sizes, with one dock and with more.

A real window is driven as a user drives it: a project of eight fields is labelled by keys, a model is trained on them,
and its map is made. Takes some minutes.

    sh scripts/xvfb.sh python scripts/screenshots.py --out screenshots/pages
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

TILE_PX, FIELD_PX = 32, (128, 256)
SIZES = {"1600x1200": (1600, 1200), "1280x720": (1280, 720)}
PAGES = {"label": "Annotate tiles", "train": "Train", "map": "Classify field", "check": "Check"}
OTHERS = ("Evaluate", "Classify plate")


def wait(condition: Callable[[], object], seconds: float = 600) -> None:
    """Let the window run until a condition holds."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not condition():
        QApplication.processEvents()
        if time.monotonic() > end:
            raise SystemExit("the window did not come so far in time")
        time.sleep(0.01)


def look(seconds: float) -> None:
    """Let the window run for some time."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


def write_fields(folder: Path) -> list[Path]:
    """Write the eighths of a stained field as fields of four slides."""
    from napari_cellclass.core.samples.realfield import ihc_field

    pixels = ihc_field().data
    paths = []
    for number in range(8):
        y, x = FIELD_PX[0] * (number // 2), FIELD_PX[1] * (number % 2)
        paths.append(folder / f"slide{number // 2 + 1}_field{number % 2 + 1}.tif")
        tifffile.imwrite(paths[-1], pixels[y : y + FIELD_PX[0], x : x + FIELD_PX[1]], photometric="rgb")
    return paths


def tile_classes(number: int) -> NDArray[np.int64]:
    """Give the classes of the tiles of an eighth by the stain of the whole field: 0 unstained, 1 stained."""
    from napari_cellclass.core.samples.realfield import ihc_field, ihc_tile_labels
    from napari_cellclass.core.tiles.grid import TileGrid

    classes = ihc_tile_labels(grid := TileGrid.regular(ihc_field().shape, TILE_PX)).reshape(grid.grid_shape)
    rows, columns = (side // TILE_PX for side in FIELD_PX)
    y, x = rows * (number // 2), columns * (number % 2)
    return classes[y : y + rows, x : x + columns].ravel()


class Session:
    """The window, and the work in it.

    Parameters
    ----------
    folder
        Scratch folder.
    """

    def __init__(self, folder: Path) -> None:
        import napari

        self.folder = folder
        self.viewer = napari.Viewer()
        self.window = self.viewer.window._qt_window
        self.window.resize(*SIZES["1600x1200"])
        _, self.dock = self.viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")

    def opened(self) -> bool:
        """Whether a field lies under its grid."""
        return self.dock.workspace.annotation is not None and not self.dock.header.opening

    def label(self) -> None:
        """Make a project of all fields, name the classes, and label most of their tiles by keys."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        dock, work = self.dock, self.dock.workspace
        native = self.viewer.window._qt_viewer.canvas.native
        for number, path in enumerate(write_fields(self.folder)):
            self.viewer.layers.clear()
            self.viewer.open(str(path), plugin="napari")
            dock.header.tile_px.setValue(TILE_PX)
            wait(self.opened)
            if number == 0:
                for index, name in enumerate(("unstained", "stained")):
                    work.edit_classes(lambda annotation, i=index, n=name: annotation.change_class(i, name=n))
                dock.header.project.create(self.folder / "slides.cellproject")
                wait(lambda: work.session.shown is not None)
                wait(self.opened)
            truth = tile_classes(number)
            for _ in range(24 if number < 7 else 8):
                QTest.keyClick(native, (Qt.Key.Key_1, Qt.Key.Key_2)[int(truth[work.current_tile])])
                look(0.02)

    def train(self) -> None:
        """Train on the labels; the map of the field that is shown follows."""
        train = self.dock.show_page("Train")
        train.preview_button.click()
        wait(lambda: not train.job.running)
        look(2)
        train.train_button.click()
        wait(lambda: train.outcome.trained)
        wait(lambda: self.dock.workspace.predictions() is not None)
        wait(self.dock.map.run_button.isEnabled)
        look(2)

    def pictures(self, out: Path, docks: int) -> None:
        """Save every page in both themes and all sizes."""
        for theme in ("dark", "light"):
            self.viewer.theme = theme
            for size, (width, height) in SIZES.items():
                self.window.resize(width, height)
                for name, page in PAGES.items():
                    self.dock.show_page(page)
                    self.dock.parent().raise_()
                    self.viewer.reset_view()
                    look(1.5)
                    pixels = self.viewer.screenshot(canvas_only=False, flash=False)
                    path = out / f"{name}-{theme}-{size}-{docks}.png"
                    Image.fromarray(pixels[..., :3]).save(path, optimize=True)
                    print(path, flush=True)

    def scatter_pictures(self, out: Path) -> None:
        """Save the scatter plot of the field, with a third of its tiles selected, in both themes and all sizes."""
        self.dock.label.scatter_button.click()
        docks = self.viewer.window._wrapped_dock_widgets.values()
        plot = next(one.widget() for one in docks if getattr(one.widget(), "display_name", "") == "Scatter")
        wait(lambda: plot.plotter.plot is not None and plot.plotter.plot.complete)
        self.dock.workspace.select(np.arange(len(self.dock.workspace.annotation.grid) // 3))
        for theme in ("dark", "light"):
            self.viewer.theme = theme
            for size, (width, height) in SIZES.items():
                self.window.resize(width, height)
                self.viewer.reset_view()
                look(1.5)
                path = out / f"scatter-{theme}-{size}.png"
                Image.fromarray(self.viewer.screenshot(canvas_only=False, flash=False)[..., :3]).save(path)
                print(path, flush=True)


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("screenshots/pages"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            os.environ[name] = str(Path(scratch) / name.lower())
        os.environ["NAPARI_CELLCLASS_TOUR"] = "off"
        session = Session(Path(scratch))
        session.label()
        session.train()
        session.pictures(given.out, 1)
        session.scatter_pictures(given.out)
        for name in OTHERS:
            session.viewer.window.add_plugin_dock_widget("napari-cellclass", name)
            look(1)
        session.pictures(given.out, 2 + len(OTHERS))
        session.viewer.close()


if __name__ == "__main__":
    main()
