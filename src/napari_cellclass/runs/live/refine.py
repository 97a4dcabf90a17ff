"""Whether a trained network does better than the live map, on tiles that neither has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.head_record import HeadRecord
from napari_cellclass.core.stats.paired_accuracy import FEWEST_GROUPS, PairedAccuracy, compare_balanced

ENOUGH_GROUPS = 2 * FEWEST_GROUPS
"""Groups with tiles drawn at random: half of them are held out at most."""
_BOX = ("y0", "x0", "y1", "x1")
_KEPT = "The live map stays."


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What the live map says of labelled tiles, with their group left out.

    Parameters
    ----------
    keys
        Of the fields.
    field, tile
        Int64, shape (n,): index of each tile's field among ``keys``, and of the tile in its field.
    predicted
        Int64, shape (n,): class index by the fit without the tile's group.
    group
        Int64, shape (n,): what was left out together.
    drawn
        Bool, shape (n,): whether the tile was drawn at random.
    by
        ``"group"``, ``"region"`` or ``"tile"``.
    """

    keys: tuple[str, ...]
    field: NDArray[np.int64]
    tile: NDArray[np.int64]
    predicted: NDArray[np.int64]
    group: NDArray[np.int64]
    drawn: NDArray[np.bool_]
    by: str

    def of_field(self, key: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the labelled tiles of a field, their predicted classes, and which of them were drawn."""
        here = self.field == self.keys.index(key) if key in self.keys else np.zeros(len(self.field), bool)
        return self.tile[here], self.predicted[here], self.drawn[here]

    def why_not(self) -> str:
        """Say why a trained network could not be compared with the live map; '' where it can."""
        what = "wells or fields" if self.by == "group" else "regions of the field, which are 4 x 4 tiles"
        if self.by == "tile":
            return "Refine compares on parts that are left out: label tiles of each class in several of them first."
        groups = len(np.unique(self.group[self.drawn]))
        if groups < ENOUGH_GROUPS:
            return (
                f"Refine compares on tiles that were drawn at random, of {ENOUGH_GROUPS} {what} at least; "
                f"there are {groups}: draw more with the button beside."
            )
        return ""

    @property
    def val_fraction(self) -> float:
        """Fraction of the groups to hold out, so that there are three of them at least."""
        return max(0.25, min(0.5, FEWEST_GROUPS / max(1, len(np.unique(self.group)))))


@dataclass(frozen=True)
class Refinement:
    """The comparison of a trained network with the live map.

    Parameters
    ----------
    compared
        None where nothing could be compared.
    wins
        Whether the network is offered.
    text
        What is said of it.
    """

    compared: PairedAccuracy | None
    wins: bool
    text: str


def compare_with_live(model: ModelBundle, rows: pd.DataFrame, by: Literal["group", "region"] | str) -> Refinement:
    """Compare a model that has a trained network beside the linear models with the live map.

    Both are asked for tiles drawn at random, of groups that the network was not trained on, and that were left out of
    the linear models. Tiles that were labelled because the live map was unsure of them would favour any other model.

    Parameters
    ----------
    model
        Trained with ``with_compact``; its ``split.csv`` holds what it says of held-out tiles.
    rows
        The labelled tiles, with columns path, y0, x0, y1, x1, class_name; ``live``, the class that the live map
        predicts without the tile's group, '' where it is not known; and ``drawn``.
    by
        What a group is.

    Raises
    ------
    ModelError
        The model is damaged.
    """
    head = HeadRecord.of(model.manifest.training)
    network = None if head is None else head.network
    if network is None or not network.joined:
        seen = "" if network is None else f" {counted(network.tiles, 'tile')} that it did not see"
        return Refinement(None, False, f"Not better: the network adds nothing to the live map on{seen}. {_KEPT}")
    prob, table = model.left_out(), model.table("split.csv")
    assert prob is not None
    table = table.assign(network=np.array(model.scheme.names, object)[np.nan_to_num(prob).argmax(axis=1)])
    table = table[np.isfinite(prob).all(axis=1)]
    keys = ["path", *_BOX]
    asked = rows[rows["drawn"] & (rows["live"] != "")][[*keys, "class_name", "live"]]
    both = asked.merge(table[[*keys, "group", "network"]], on=keys)
    truth = np.unique(both["class_name"].to_numpy(str), return_inverse=True)[1]
    right = [(both[name] == both["class_name"]).to_numpy(bool) for name in ("network", "live")]
    found = compare_balanced(truth, right[0], right[1], both["group"].to_numpy(str))
    if found is None:
        text = f"Too few: {counted(len(both), 'random tile')} of {counted(both['group'].nunique(), 'group')} held out"
        return Refinement(None, False, f"{text}, so the network is not compared. {_KEPT}")
    groups = "groups" if by == "group" else "regions; on other fields not known"
    change = found.difference
    interval = "" if change.lo is None else f" ({change.lo:+.2f} to {change.hi:+.2f})"
    figures = (
        f"network {found.one:.2f} against live {found.other:.2f}: difference {change.value:+.2f}{interval}, "
        f"n = {found.n} random tiles of {found.groups} {groups}."
    )
    text = figures[0].upper() + figures[1:] if found.one_wins else f"Not better: {figures} {_KEPT}"
    return Refinement(found, found.one_wins, text)
