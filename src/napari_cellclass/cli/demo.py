"""``napari-cellclass demo``: train on one half of a real field, classify the other half, and show the map."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from napari_cellclass.core.common.errors import EngineError
from napari_cellclass.core.common.files import atomic_write, write_json
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.demo import DemoParams
from napari_cellclass.core.params.settings_file import SETTINGS_FILE, save_settings
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.samples.realfield import IHC_TILE_PX, ihc_field, ihc_halves, write_ihc_dataset
from napari_cellclass.core.tiles.grid import TileGrid

# A column of tiles is a group, as neighbours in a column share cells.
_GROUP_BY = r"_(c\d+)"


def run_demo(params: DemoParams, task: Task, say: Callable[[str], None]) -> int:
    """Train, evaluate and classify on the immunohistochemistry field of scikit-image.

    Writes ``overlay.png``, ``tiles.csv``, ``tiles.geojson``, ``evaluation.json`` and ``demo.cellclass``
    to ``params.out``; opens napari afterwards where there is a display.

    Raises
    ------
    CellClassError
        In one line, what went wrong.
    """
    from napari_cellclass.report.figures import save_overlay
    from napari_cellclass.runs.classify.field import classify_field
    from napari_cellclass.runs.common.engine_access import load_model, open_engine
    from napari_cellclass.runs.evaluate.test_sets import evaluate_folder
    from napari_cellclass.runs.train.child import train_in_child

    out = params.out
    field = ihc_field()
    grid = TileGrid.regular(field.shape, IHC_TILE_PX)
    train, test = ihc_halves(grid)
    say("A real field: colonic glands, FHL2 stained brown with DAB (scikit-image's immunohistochemistry image).")
    write_ihc_dataset(out / "train", grid, train)
    write_ihc_dataset(out / "test", grid, test)
    with atomic_write(out / "ihc.png") as temporary:
        Image.fromarray(field.data).save(temporary)
    say(f"Training on the {counted(int(train.sum()), 'tile')} of its left half ...")
    # The classes differ in stain colour, so tiles are not standardised.
    settings = {"standardise": "none", "group_by": _GROUP_BY, "epochs": 30}
    training = TrainParams.checked(data=out / "train", out=out / "demo.cellclass", **settings)
    train_in_child(training, task)
    model = load_model(out / "demo.cellclass")
    with open_engine(model) as engine:
        evaluation = evaluate_folder(out / "test", model, engine, _GROUP_BY)
        result = classify_field(read_image(out / "ihc.png"), model, engine, grid.take(test), task)
    save_overlay(field, result.table, out / "overlay.png")
    result.table.to_csv(out / "tiles.csv")
    result.table.to_geojson(out / "tiles.geojson")
    write_json(out / "evaluation.json", evaluation.to_json())
    save_settings(params, out / SETTINGS_FILE)
    report = evaluation.report
    say(f"Right half, held out: {counted(report.n, 'tile')}, balanced accuracy {report.balanced_accuracy}.")
    say("(One field of one slide: this shows how the program works, not how well it would do on another slide.)")
    names = ("overlay.png", "tiles.csv", "tiles.geojson", "evaluation.json", "demo.cellclass")
    say("\n".join([f"Written to {out.resolve()}:", *(f"  {name}" for name in names)]))
    if params.window if params.window is not None else has_display():
        say("Opening napari; close its window to end.")
        show(out, model, grid.take(test))
    return 0


def has_display() -> bool:
    """Return whether a window can be opened."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show(out: Path, model: ModelBundle, grid: TileGrid) -> None:
    """Open napari with the field, the right half as region, and the widget with the model; press Run.

    Raises
    ------
    EngineError
        napari is not installed.
    """
    try:
        import napari

        from napari_cellclass.viewer.common.tour_state import TOUR_VARIABLE
    except ImportError as error:
        raise EngineError('napari is not installed; install it with pip install "napari-cellclass[all]"') from error
    os.environ.setdefault(TOUR_VARIABLE, "off")  # this window shows something else
    viewer = napari.Viewer(title="napari-cellclass demo")
    viewer.add_image(np.asarray(Image.open(out / "ihc.png")), name="ihc", rgb=True)
    y0, x0 = grid.boxes[:, :2].min(axis=0) - 0.5
    y1, x1 = grid.boxes[:, 2:].max(axis=0) - 0.5
    region = viewer.add_shapes(
        [[[y0, x0], [y0, x1], [y1, x1], [y1, x0]]],
        name="right half",
        face_color="transparent",
        edge_color="white",
        edge_width=2,
    )
    _, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    widget = dock.show_page("Classify field")
    widget.region.choose(region)
    viewer.reset_view()
    widget.run_when_ready(model.path)
    napari.run()
