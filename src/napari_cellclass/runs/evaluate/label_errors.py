"""Labels of a data set that are probably wrong, ranked from predictions of groups that were left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.datasets.split import train_on_all, unrotated_tile_ids
from napari_cellclass.core.models.linear_head import HeldOutBy, Standardisation, fit_heads
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.selection.label_errors import LabelErrors, nearest_rows, rank_label_errors
from napari_cellclass.engine.features.extractor import FeatureExtractor, new_feature_spec
from napari_cellclass.engine.features.weights import find_weights
from napari_cellclass.engine.inference.openvino_graph import TileFormat, identity_preprocessing
from napari_cellclass.engine.training.tile_pixels import has_colour, load_pixels

NEIGHBOURS = 5
"""Number of similar tiles whose labels are in the table."""
_BATCH = 256


@dataclass(frozen=True, eq=False)
class LabelErrorReport:
    """The labels of a data set, ranked by how likely they are wrong.

    Parameters
    ----------
    data
        The n tiles, without rotated copies and tiles with NaN or infinite pixels.
    errors
        See :class:`~napari_cellclass.core.selection.label_errors.LabelErrors`.
    prob
        float64, shape (n, K): probabilities of each tile, the mean of those by linear models that were fitted without
        its group, and without it alone.
    nearest
        int64, shape (n, m): the most similar tiles, m at most 5.
    held_out_by
        ``"group"``; ``"tile"`` where a class has tiles of one group only.
    """

    data: TileDataset
    errors: LabelErrors
    prob: NDArray[np.float64]
    nearest: NDArray[np.int64]
    held_out_by: HeldOutBy

    def frame(self) -> pd.DataFrame:
        """Make a table with a row per tile, the label that is most likely wrong first.

        Columns: number, path, y0, x0, y1, x1, class_name, group; suggested, the most probable other class; likely, yes
        or no, whether confident learning counts the label as an error; quality, 0 to 1, low where the label is likely
        wrong; p_label and p_suggested, probabilities; similar, the labels of the most similar tiles.
        """
        order, names = self.errors.order, np.array(self.data.scheme.names, object)
        frame = self.data.frame().drop(columns="split")
        rows = np.arange(len(frame))
        frame["suggested"] = names[self.errors.suggested]
        frame["likely"] = np.where(self.errors.likely, "yes", "no")
        frame["quality"] = self.errors.quality
        frame["p_label"] = self.prob[rows, self.data.labels]
        frame["p_suggested"] = self.prob[rows, self.errors.suggested]
        frame["similar"] = ["; ".join(names[self.data.labels[near]]) for near in self.nearest]
        frame = frame.iloc[order].reset_index(drop=True)
        frame.insert(0, "number", np.arange(1, len(frame) + 1))
        return frame

    def write(self, path: Path) -> None:
        """Write the table as CSV.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        with atomic_write(path) as temporary:
            escape_formulas(self.frame()).to_csv(temporary, index=False, lineterminator="\n", float_format="%.4g")


def find_label_errors(data: TileDataset, task: Task = NO_TASK) -> LabelErrorReport:
    """Rank the labels of a data set by how likely they are wrong.

    Features of the pretrained backbone and of texture are computed of every tile, and linear models are fitted as
    training does, so that every tile is predicted without its group and without itself, see
    :func:`~napari_cellclass.core.models.linear_head.fit_head` and
    :func:`~napari_cellclass.core.selection.label_errors.rank_label_errors`.

    Raises
    ------
    ModelError
        The weights of the backbone are not installed.
    DatasetError
        Fewer than two classes are labelled, or two tiles.
    ImageError
        A file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    find_weights()
    data = train_on_all(data.without_rotated_copies())
    if len(np.unique(data.labels)) < 2:
        raise DatasetError("labels of one class alone cannot be compared; label tiles of at least two classes")
    parts, kept = _features(data, task)
    data = data.take(kept)
    task.progress("fitting")
    z = [Standardisation.fit(part).apply(part) for part in parts]
    labels = data.labels.astype(np.int64)
    classes_of_one_group = any(len(set(data.groups[labels == k].astype(str))) == 1 for k in np.unique(labels))
    groups = unrotated_tile_ids(data) if classes_of_one_group else data.groups.astype(str)
    by_group, by_tile = fit_heads(z, labels, [groups, np.arange(len(labels))], len(data.scheme))
    task.check("cancelled while labels were compared")
    errors = rank_label_errors(labels, by_group.held_out, by_tile.held_out)
    prob = (by_group.held_out.astype(np.float64) + by_tile.held_out) / 2
    joined = np.hstack([part / np.float32(np.sqrt(part.shape[1])) for part in z])
    near = nearest_rows(joined, np.arange(len(data)), NEIGHBOURS)
    return LabelErrorReport(data, errors, prob, near, "tile" if classes_of_one_group else by_group.held_out_by)


def _features(data: TileDataset, task: Task) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
    """Return the features of the tiles by feature set, (n, D_i), and the indices of the tiles that have any."""
    params = TrainParams.checked(data=Path("labels"), out=Path("m.cellclass"), network="pretrained", standardise="none")
    pixels = load_pixels(data, params, task)
    spec = new_feature_spec(pixels.spec, data.channels == 3 and has_colour(data, params))
    columns = spec.columns[0]
    if pixels.preprocessed:  # tiles of several sizes are network input already
        spec = spec.model_copy(update={"preprocess": identity_preprocessing(pixels.tiles.shape[1:])})
    extract = FeatureExtractor(spec, TileFormat.of(pixels.tiles[:1]))
    found = []
    for start in range(0, len(pixels.tiles), _BATCH):
        task.check("cancelled while features were computed")
        task.progress("computing features", start, len(pixels.tiles))
        found.append(extract(pixels.tiles[start : start + _BATCH]))
    return np.split(np.concatenate(found), [columns], axis=1), pixels.tile_indices
