"""A plate map: the fraction of each class in every well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.plates.tables import classes_in_table
from napari_cellclass.core.plates.wells import Well, parse_well, plate_format, row_name
from napari_cellclass.report.figures import PAGE_INCH, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_PANELS, _COLUMNS = 12, 2
_COLOURS = "viridis"
_MISSING, _LINE = "#D9D9D9", "#BFBFBF"


def plate_figure(wells: pd.DataFrame) -> Figure:
    """Draw a panel per class: a plate of 96, 384 or 1536 wells, coloured by the fraction of their tiles in that class.

    Wells without images are left empty, wells of which every field failed are grey. Of more than 12 classes the
    first 12 are drawn.

    Parameters
    ----------
    wells
        A table of wells with one row at least, see :func:`~napari_cellclass.core.plates.tables.well_table`.
    """
    classes = classes_in_table(wells)[:_MAX_PANELS]
    found = [well for well in map(parse_well, wells["well"]) if well is not None]
    plate = plate_format(found)
    columns = min(_COLUMNS, len(classes))
    rows = -(-len(classes) // columns)
    panel = (PAGE_INCH - 0.7) / _COLUMNS
    width = PAGE_INCH if columns == _COLUMNS else panel + 0.9
    figure = new_figure(width, rows * (panel * plate[0] / plate[1] + 0.55) + 0.1)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(classes) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, classes, strict=False):
        fraction = _on_plate(found, wells[f"fraction_{name}"].to_numpy(float), plate)
        _draw(axes, fraction, _on_plate(found, np.ones(len(found)), plate), name)
    bar = figure.colorbar(grid.flat[0].images[-1], ax=grid, shrink=0.8, aspect=30)
    bar.set_label("fraction of tiles", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def save_plate(wells: pd.DataFrame, path: Path) -> bool:
    """Write :func:`plate_figure`; return whether there are wells. Without any, the figure of an earlier run is removed.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    if len(wells) == 0:
        path.unlink(missing_ok=True)
        return False
    save_figure(plate_figure(wells), path, dpi=200)
    return True


def plate_colours() -> NDArray[np.uint8]:
    """Return the figure's colours for fractions of 0 to 1: uint8, shape (256, 3)."""
    from matplotlib import colormaps

    colours: NDArray[np.float64] = colormaps[_COLOURS](np.linspace(0, 1, 256))
    return np.round(255 * colours[:, :3]).astype(np.uint8)


def _on_plate(wells: list[Well], values: NDArray[np.float64], plate: tuple[int, int]) -> NDArray[np.float64]:
    grid = np.full(plate, np.nan)
    for well, value in zip(wells, values, strict=True):
        grid[well.row - 1, well.column - 1] = value
    return grid


def _draw(axes: Axes, fraction: NDArray[np.float64], present: NDArray[np.float64], title: str) -> None:
    from matplotlib.colors import ListedColormap

    rows, columns = fraction.shape
    axes.imshow(present, cmap=ListedColormap([_MISSING]), interpolation="nearest")
    axes.imshow(fraction, cmap=_COLOURS, vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    # Not every row and column is named, so that the names do not touch.
    for axis, names, every in (
        (axes.xaxis, [str(i + 1) for i in range(columns)], max(1, columns // 12)),
        (axes.yaxis, [row_name(i + 1) for i in range(rows)], max(1, rows // 16)),
    ):
        axis.set_ticks(range(0, len(names), every), names[::every], fontsize=6)
        axis.set_ticks(np.arange(-0.5, len(names)), minor=True)
        axis.set_tick_params(which="both", length=0)
    axes.grid(which="minor", color=_LINE, linewidth=0.4)
    for spine in axes.spines.values():
        spine.set(color=_LINE, linewidth=0.6)
