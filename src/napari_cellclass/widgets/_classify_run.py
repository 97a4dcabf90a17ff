"""What the Classify widget does away from the window: load a model, lay the grid, run the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_cellclass.core.bundle import ModelBundle
from napari_cellclass.core.coco import SUFFIX as COCO_SUFFIX
from napari_cellclass.core.coco import write_table_coco
from napari_cellclass.core.contracts import CancelCheck, CancelledError, OutputError, Progress, ProgressCallback
from napari_cellclass.core.grid import EdgeRule, TileGrid
from napari_cellclass.core.image import SourceImage
from napari_cellclass.core.known_models import KnownModels
from napari_cellclass.core.params import EngineName
from napari_cellclass.core.rescale import rescaled_tile
from napari_cellclass.core.table import TileTable
from napari_cellclass.core.table_files import write_wsinfer_csv
from napari_cellclass.runs.field import FieldResult, classify_field
from napari_cellclass.runs.models import Engine, KerasAnswers, load_model, open_engine
from napari_cellclass.viewer.overlay import OverlayStyle
from napari_cellclass.viewer.session import FieldLayer, NewMap, build_map, warm_up


@dataclass(frozen=True, eq=False)
class ClassifyRequest:
    """All that a run needs, read from the window before it starts.

    Parameters
    ----------
    source
        The field.
    model
        Its tile size is used.
    region
        Outlines in px of the field; empty for the whole field.
    over, style, shown
        The image layer, how the map will be shown, and the map that is shown now; see :func:`build_map`.
    overlap, edge
        Of the tiles.
    engine
        What runs the network.
    rescale
        Whether the tiles are to cover what those of the model did, where the field has another pixel size.
    """

    source: SourceImage
    model: ModelBundle
    region: tuple[NDArray[Any], ...]
    over: FieldLayer
    style: OverlayStyle
    shown: NewMap | None
    overlap: float
    edge: EdgeRule
    engine: EngineName = "auto"
    rescale: bool = False


class EngineKeeper:
    """Keeps the engine of the last model, so that a second run starts at once."""

    def __init__(self) -> None:
        self._key: tuple[str, str] | None = None
        self._engine: Engine | None = None

    def get(self, model: ModelBundle, name: EngineName) -> Engine:
        """Open the model's engine, or give the one that is open."""
        key = (model.model_id, name)
        if self._engine is None or self._key != key:
            self.close()
            self._engine, self._key = open_engine(model, name), key
        return self._engine

    def close(self) -> None:
        """End the engine that is open."""
        if self._engine is not None:
            self._engine.close()
        self._engine = self._key = None


def load(path: Path, answers: KerasAnswers | None, progress: ProgressCallback, cancelled: CancelCheck) -> ModelBundle:
    """Open a model away from the window; a ``.keras`` file may be converted, which takes seconds."""
    progress(Progress("opening the model", 0, 0))
    model = load_model(path, answers)
    _ = model.sha256  # here, where it may take a while
    warm_up()
    return model


def run(
    request: ClassifyRequest, keeper: EngineKeeper, progress: ProgressCallback, cancelled: CancelCheck
) -> tuple[FieldResult, NewMap]:
    """Classify a field as requested, and make the layers of its map.

    Raises
    ------
    CellClassError
        In one line, what the user can mend.
    CancelledError
        Cancelled before the first tile was finished.
    """
    progress(Progress("starting the network", 0, 0))
    source, manifest = request.source, request.model.manifest
    tile_px = manifest.tile_px
    if request.rescale:
        tile_px = rescaled_tile(tile_px, manifest.pixel_size_um, source.pixel_size_um, source.name)
    grid = TileGrid.regular(source.shape, tile_px, request.overlap, request.edge)
    if request.region:
        grid = grid.within(request.region)
    engine = keeper.get(request.model, request.engine)
    KnownModels().remember(request.model)
    result = classify_field(request.source, request.model, engine, grid, progress, cancelled)
    if len(result.table) == 0:
        raise CancelledError("cancelled before the first tile was finished")
    new = build_map(result.table, request.source, request.over, request.style, request.shown, len(grid))
    return result, new


def export(
    table: TileTable,
    source: SourceImage,
    path: Path,
    visible: tuple[bool, ...],
    min_confidence: float,
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> Path:
    """Write a map; the suffix chooses CSV, GeoJSON, COCO (``.coco.json``), WSInfer's CSV, or a picture.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    progress(Progress(f"writing {path.name}", 0, 0))
    kind = path.suffix.lower()
    if path.name.lower().endswith(COCO_SUFFIX):
        write_table_coco(table, path, source.name)
    elif path.name.lower().endswith(".wsinfer.csv"):
        write_wsinfer_csv(table, path)
    elif kind == ".csv":
        table.to_csv(path)
    elif kind in (".geojson", ".json"):
        table.to_geojson(path)
    elif kind not in (".png", ".svg", ".pdf"):
        raise OutputError(
            f"cannot write {path}: what a name ending in {kind!r} should be is not known; use .csv, .geojson or .png"
        )
    else:
        import numpy as np

        from napari_cellclass.report.figures import save_overlay

        save_overlay(source, table, path, np.array(visible) if visible else None, min_confidence)
    return path
