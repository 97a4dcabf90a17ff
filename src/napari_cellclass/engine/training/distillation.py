"""Knowledge distillation: a network learns the probabilities of another one, its teacher, also on unlabelled tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.dataset import TRAIN, TileDataset
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle
from napari_cellclass.core.models.teacher_record import SeenName, TeacherRecord, compare_with_teacher
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.tiles.preprocess import resize_tiles
from napari_cellclass.engine.inference.openvino_graph import (
    OpenVinoNetwork,
    TileFormat,
    identity_preprocessing,
    read_network,
)
from napari_cellclass.engine.training.augment import augmented_batch
from napari_cellclass.engine.training.tile_pixels import TilePixels
from napari_cellclass.engine.training.training_run import TrainingRun
from napari_cellclass.engine.training.unlabelled import read_unlabelled

_VIEWS, _EPOCHS = 48_000, (8, 200)
_OTHERWISE = "or train without --teacher"


@dataclass(frozen=True, eq=False)
class Teacher:
    """A model that a network learns from.

    Parameters
    ----------
    bundle
        The model.
    network
        The same in OpenVINO, from network input.
    pixels
        The labelled tiles, then the unlabelled ones.
    images
        How many images the unlabelled tiles are of.
    """

    bundle: ModelBundle
    network: OpenVinoNetwork
    pixels: TilePixels
    images: int

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (n, K) for network input (n, H, W, C) of the student, which has the same range."""
        return self.network(resize_tiles(x, self.bundle.preprocess.input_px))


def open_teacher(params: TrainParams, data: TileDataset) -> ModelBundle | None:
    """Open the teacher of a training, and check that it fits the tiles.

    Raises
    ------
    ModelError
        It cannot be opened, or has other classes, channels or tiles of another size.
    """
    if params.teacher is None:
        return None
    bundle = open_bundle(params.teacher)
    name, classes = bundle.path.name, bundle.scheme.names
    if classes != data.scheme.names:
        raise ModelError(
            f"{name} has the classes {', '.join(classes)}, but the tiles have {', '.join(data.scheme.names)}; choose a "
            f"teacher of the same classes, {_OTHERWISE}"
        )
    if bundle.preprocess.channels != data.channels:
        raise ModelError(
            f"{name} takes {counted(bundle.preprocess.channels, 'channel')}, but the tiles have {data.channels}; "
            f"choose another teacher, {_OTHERWISE}"
        )
    if bundle.manifest.tile_px != data.tile_px:
        theirs, ours = (f"{width} x {height} px" for height, width in (bundle.manifest.tile_px, data.tile_px))
        raise ModelError(
            f"{name} was trained on tiles of {theirs}, but these have {ours}; choose another teacher, {_OTHERWISE}"
        )
    return bundle


def make_teacher(
    bundle: ModelBundle, pixels: TilePixels, data: TileDataset, params: TrainParams, task: Task
) -> tuple[Teacher, TilePixels]:
    """Make the teacher ready, with unlabelled tiles, and preprocess the labelled tiles as it does.

    Raises
    ------
    ModelError
        Tiles are of several sizes, or the teacher is damaged.
    ParamsError, ImageError, DatasetError, CancelledError
        See :func:`~napari_cellclass.engine.training.unlabelled.read_unlabelled`.
    """
    if pixels.preprocessed:
        raise ModelError(f"the tiles are of several sizes; a teacher needs tiles of one size, {_OTHERWISE}")
    old, new = bundle.preprocess, pixels.spec
    if (old.normalisation, old.percentiles) != (new.normalisation, new.percentiles):
        raise ModelError(
            f"{bundle.path.name} takes {old.describe()}, but {new.describe()} is requested; choose the same, "
            f"{_OTHERWISE}"
        )
    pixels = replace(pixels, spec=old.model_copy(update={"input_px": new.input_px}))
    shape = (*old.input_px, old.channels)
    try:
        model = read_network(bundle.member("model.xml"), bundle.member("model.bin"))
        network = OpenVinoNetwork(model, identity_preprocessing(shape), TileFormat(shape, "float32"))
    except RuntimeError as error:
        raise ModelError(f"{bundle.path} is damaged: OpenVINO cannot read its network; train it again") from error
    found = read_unlabelled(data, params, pixels.spec, task)
    both = replace(pixels, tiles=np.concatenate([pixels.tiles, found.tiles]))
    return Teacher(bundle, network, both, found.images), pixels


@dataclass(eq=False)
class TaughtRun(TrainingRun):
    """A training whose network learns the teacher's probabilities for tiles, whichever view of them it is shown.

    The teacher is asked about each tile as it is, once: of blurred or noisy views, which the images are not like, it
    says other classes, and says them surely. Labels are not used, but for the held-out tiles, by which both are
    compared.
    """

    teacher: Teacher = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._teacher_prob = self._predict_by_teacher()
        self._balance = self._class_weights()

    @property
    def learned(self) -> NDArray[np.int64]:
        """Rows of the teacher's pixels that are learned from: training tiles and unlabelled ones."""
        labelled = len(self.pixels.tile_indices)
        return np.concatenate([self.train, np.arange(labelled, len(self.teacher.pixels.tiles))])

    def _default_epochs(self) -> int:
        """Return how often all tiles are shown: about 48 000 views in all, and each tile in eight of them at least."""
        return int(np.clip(round(_VIEWS / len(self.learned)), *_EPOCHS))

    def _predict_by_teacher(self) -> NDArray[np.float32]:
        """Return the teacher's probabilities (N, K) for its tiles, zeros for those that are not learned from."""
        prob = np.zeros((len(self.teacher.pixels.tiles), len(self.data.scheme)), np.float32)
        for start in range(0, len(self.learned), 256):
            self.task.check("cancelled while the teacher was asked; nothing was written")
            rows = self.learned[start : start + 256]
            prob[rows] = self.teacher.predict(self.teacher.pixels.batch(rows))
            self.task.progress("asking the teacher", min(start + 256, len(self.learned)), len(self.learned))
        return prob

    def _class_weights(self) -> NDArray[np.float32]:
        """Return the weights (K,) by which classes count equally, however rare the teacher finds them."""
        k = len(self.data.scheme)
        if not self.params.class_weights:
            return np.ones(k, np.float32)
        share = self._teacher_prob.sum(axis=0, dtype=np.float64)
        # A class that the teacher hardly finds must not count a hundredfold.
        share = np.maximum(share / share.sum(), 0.1 / k)
        return np.asarray(1 / (k * share), np.float32)

    def _batches(
        self, rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]:
        params, pixels = self.params, self.teacher.pixels
        order = rng.permutation(self.learned)
        for start in range(0, len(order), params.batch_size):
            rows = order[start : start + params.batch_size]
            x = augmented_batch(pixels, rows, params.augment, rng, params.degrees, params.standardise == "none")
            prob = self._teacher_prob[rows]
            yield x, prob, prob @ self._balance

    def record(self) -> TeacherRecord:
        """Compare the student's probabilities for the held-out tiles with the teacher's."""
        rows, bundle = self.pixels.tile_indices[self.val], self.teacher.bundle
        theirs, seen = self._teacher_on_held_out()
        groups = self.data.groups[rows].astype(str).tolist()
        found = compare_with_teacher(self.val_prob, theirs, self.data.labels[rows], groups, self.data.scheme.names)
        return TeacherRecord(
            name=bundle.path.name, model_id=bundle.model_id, network=bundle.manifest.network,
            images=self.teacher.images, unlabelled=len(self.teacher.pixels.tiles) - len(self.pixels.tile_indices),
            seen=seen, **found,
        )  # fmt: skip

    def _teacher_on_held_out(self) -> tuple[NDArray[np.float32], SeenName]:
        """Return the teacher's probabilities for the held-out tiles, and what it knew of them."""
        prob = np.concatenate(
            [self.teacher.predict(self.pixels.batch(self.val[i : i + 256])) for i in range(0, len(self.val), 256)]
        )
        data, rows = self.data, self.pixels.tile_indices[self.val]
        table, left_out = self.teacher.bundle.table("split.csv"), self.teacher.bundle.left_out()
        ids = {image["path"]: image["id"] for image in self.teacher.bundle.manifest.data.get("images", [])}
        places = zip(table["path"].map(ids), *(table[name] for name in ("y0", "x0", "y1", "x1")), strict=True)
        of_place = {place: i for i, place in enumerate(places)}
        seen: SeenName = "held out"
        for row, tile in enumerate(rows.tolist()):
            theirs = of_place.get((data.image_ids[data.image[tile]], *data.boxes[tile].tolist()))
            if theirs is None or table["split"][theirs] != TRAIN:
                continue
            if left_out is None or not np.isfinite(left_out[theirs]).all():
                return prob, "trained on"
            prob[row], seen = left_out[theirs], "left out"
        return prob, seen
