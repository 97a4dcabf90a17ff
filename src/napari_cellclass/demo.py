"""``napari-cellclass demo``: train on one half of a real field, map the other half, show it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from napari_cellclass.core.bundle import ModelBundle
from napari_cellclass.core.contracts import EngineError, Progress, ProgressCallback
from napari_cellclass.core.files import write_json, writing
from napari_cellclass.core.grid import TileGrid
from napari_cellclass.core.params import DemoParams
from napari_cellclass.core.readers import read_image
from napari_cellclass.core.realfield import IHC_TILE_PX, ihc_field, ihc_halves, write_ihc_dataset

# A column of tiles is a group: neighbours in a column share cells.
_GROUP_BY = r"_(c\d+)"


def run_demo(params: DemoParams, progress: ProgressCallback, say: Callable[[str], None]) -> int:
    """Do the program's main job on the immunohistochemistry field of scikit-image.

    Writes ``overlay.png``, ``tiles.csv``, ``tiles.geojson``, ``evaluation.json`` and ``demo.cellclass``
    to ``params.out``; opens napari afterwards where there is a display.

    Raises
    ------
    CellClassError
        In one line, what went wrong.
    """
    from napari_cellclass.report.figures import save_overlay
    from napari_cellclass.runs.evaluation import evaluate_folder
    from napari_cellclass.runs.field import classify_field
    from napari_cellclass.runs.models import load_model, open_engine

    out = params.out
    field = ihc_field()
    grid = TileGrid.regular(field.shape, IHC_TILE_PX)
    train, test = ihc_halves(grid)
    say("A real field: colonic glands, FHL2 stained brown with DAB (scikit-image's immunohistochemistry image).")
    write_ihc_dataset(out / "train", grid, train)
    write_ihc_dataset(out / "test", grid, test)
    with writing(out / "ihc.png") as temporary:
        Image.fromarray(field.data).save(temporary)
    say(f"Training on the {int(train.sum())} tiles of its left half ...")
    train_in_child(out / "train", out / "demo.cellclass", progress)
    model = load_model(out / "demo.cellclass")
    with open_engine(model) as engine:
        evaluation = evaluate_folder(out / "test", model, engine, _GROUP_BY)
        result = classify_field(read_image(out / "ihc.png"), model, engine, grid.take(test), progress)
    save_overlay(field, result.table, out / "overlay.png")
    result.table.to_csv(out / "tiles.csv")
    result.table.to_geojson(out / "tiles.geojson")
    write_json(out / "evaluation.json", evaluation.to_json())
    report = evaluation.report
    say(f"Right half, never seen in training: {report.n} tiles, balanced accuracy {report.balanced_accuracy}.")
    say("(One field from one slide: that says how the program works, not how well it would do on another slide.)")
    names = ("overlay.png", "tiles.csv", "tiles.geojson", "evaluation.json", "demo.cellclass")
    say("\n".join([f"Written to {out.resolve()}:", *(f"  {name}" for name in names)]))
    if params.window if params.window is not None else has_display():
        say("Opening napari; close its window to end.")
        show(out, model, grid.take(test))
    return 0


def train_in_child(data: Path, model: Path, progress: ProgressCallback) -> None:
    """Train in a process of its own, as the button does, so that TensorFlow stays out of this one.

    Raises
    ------
    EngineError
        The child said what went wrong, or died.
    """
    words = ["train", str(data), "--out", str(model), "--group-by", _GROUP_BY, "--epochs", "30", "--progress", "jsonl"]
    command = [sys.executable, "-m", "napari_cellclass", *words]
    last = ""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        for line in child.stdout:
            event = json.loads(line)
            if event["event"] == "progress":
                progress(Progress(event["phase"], event["done"], event["total"], event["metrics"]))
            last = event.get("message", "")
        noise = child.stderr.read().strip().splitlines()
    if child.returncode:
        reason = last or (noise[-1] if noise else f"it ended with code {child.returncode}")
        raise EngineError(f"the training process failed: {reason}")


def has_display() -> bool:
    """Tell whether a window can be opened."""
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
    except ImportError as error:
        raise EngineError('napari is not installed; install it with pip install "napari-cellclass[all]"') from error
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
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Classify field")
    widget.region.choose(region)
    viewer.reset_view()
    widget.run_when_ready(model.path)
    napari.run()
