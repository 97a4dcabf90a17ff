"""How many tiles of each class there are over time and depth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.report.figures import PAGE_INCH, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLANES_INCH = 2.4
"""Height of a panel of :func:`planes_figure`."""
_AXES = {"t": "time point", "z": "slice"}


def counts_per_plane(fields: pd.DataFrame, axis: str, scheme: ClassScheme) -> pd.DataFrame:
    """Sum the tiles of each class over all fields, by time point or slice.

    Parameters
    ----------
    fields
        See :func:`~napari_cellclass.core.plates.tables.field_table`.
    axis
        ``"t"`` or ``"z"``.
    scheme
        The classes.

    Returns
    -------
    DataFrame
        A row per plane, by index of the axis, and a column per class.
    """
    done = fields[fields["state"] == "done"]
    columns = [f"n_{name}" for name in scheme.names]
    sums = done.assign(**{axis: done[axis].astype(int)}).groupby(axis)[columns].sum()
    return sums.astype(np.int64).set_axis(list(scheme.names), axis=1)


def planes_figure(fields: pd.DataFrame, scheme: ClassScheme) -> Figure:
    """Draw the counts of :func:`counts_per_plane`, a panel per axis along which several planes were classified."""
    axes_given = [axis for axis in _AXES if axis in fields]
    figure = new_figure(PAGE_INCH, PLANES_INCH * len(axes_given))
    for axes, axis in zip(figure.subplots(len(axes_given), squeeze=False).flat, axes_given, strict=True):
        counts = counts_per_plane(fields, axis, scheme)
        for name, colour in zip(scheme.names, scheme.colours, strict=True):
            axes.plot(counts.index, counts[name], color=colour, marker="o", markersize=3, label=name)
        axes.set_xlabel(_AXES[axis], fontsize=8)
        axes.set_ylabel("tiles", fontsize=8)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=7, frameon=False)
    return figure


def save_planes(fields: pd.DataFrame, scheme: ClassScheme, path: Path) -> bool:
    """Write :func:`planes_figure`; return whether several planes were classified. Else an earlier figure is removed.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    if not {"t", "z"} & set(fields) or not (fields["state"] == "done").any():
        path.unlink(missing_ok=True)
        return False
    save_figure(planes_figure(fields, scheme), path, dpi=200)
    return True
