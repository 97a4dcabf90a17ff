"""What a user should read of the tiles of a field that are unlike training."""

from __future__ import annotations

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.stats.novelty import clearly_above


def why_no_novelty(carried: bool, engine: str, precision: str) -> str:
    """Say why a run does not tell what is unlike training, though its model could; '' where it does or cannot.

    Parameters
    ----------
    carried
        Whether the model carries training tiles.
    engine, precision
        What runs the network, and in which numbers.
    """
    if carried and engine == "tensorflow":
        return "novelty is not computed, as TensorFlow gives no features; leave --engine out to have it"
    if carried and precision == "int8":
        return "novelty is not computed, as an int8 network rounds features; use --precision f32 to have it"
    return ""


def novelty_warnings(table: TileTable) -> tuple[str, ...]:
    """Warn where many more tiles are unlike training than the error rate explains; none where it is not known."""
    if table.novelty_rate is None:
        return ()
    count, total = int(table.unlike_training.sum()), int((table.class_index >= 0).sum())
    if not clearly_above(count, total, table.novelty_rate):
        return ()
    return (
        f"{counted(count, 'tile')} of {total:,} ({count / total:.0%}) are unlike all training tiles, where "
        f"{table.novelty_rate:.0%} is expected of known ones; look at these before you trust their classes, and label "
        "some of them",
    )
