"""Convert a ``.keras`` file to a bundle; run in a child process only, as it imports TensorFlow."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import napari_cellclass
from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.files import atomic_folder
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import Manifest, write_bundle
from napari_cellclass.core.tiles.preprocess import PreprocessSpec
from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.networks.architectures import layer_table
from napari_cellclass.engine.networks.config_check import class_count_mismatch, read_checked_config
from napari_cellclass.engine.networks.loading import predictor
from napari_cellclass.engine.networks.weights_check import check_weights
from napari_cellclass.engine.training.export import CHECKED_TILES, check_export, export_network, package_versions


def convert(job: dict[str, Any]) -> None:
    """Load, check, complete and export one ``.keras`` file.

    Parameters
    ----------
    job
        ``path`` and its ``sha256``, ``classes``, ``rescale``, ``tile_px`` (height, width), ``activation``
        and ``scales_itself`` as :func:`inspect_keras_file` found them, and ``out``, the bundle to write.

    Raises
    ------
    ModelError
        Keras cannot load it, or it is not a classifier of such tiles into so many classes.
    EngineError
        The exported network predicts differently from Keras.
    OutputError
        The bundle cannot be written.
    """
    path, names = Path(job["path"]), tuple(job["classes"])
    tile = int(job["tile_px"][0]), int(job["tile_px"][1])
    model = _load(path)
    channels = int(model.input_shape[3])
    sides = [fixed or given for fixed, given in zip(model.input_shape[1:3], tile, strict=True)]
    spec = PreprocessSpec(channels=channels, input_px=(sides[0], sides[1]), high=job["rescale"])
    raw = _random_tiles((*tile, channels), job["rescale"], job["scales_itself"])
    x = spec.apply(raw)
    model, added = _with_softmax(path, model, x, names, job["activation"])
    prob = predictor(model)(x)
    members = export_network(model)
    export = check_export(members, x, prob)
    golden = io.BytesIO()
    np.savez_compressed(golden, tiles=raw[:8], prob=prob[:8])
    manifest = Manifest(
        program=f"napari-cellclass {napari_cellclass.__version__}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=ClassScheme(names).to_json(),
        preprocess=spec,
        tile_px=tile,
        network=f"keras:{model.name}",
        parameters=int(model.count_params()),
        layers=layer_table(model),
        training={"source": path.name, "sha256": job["sha256"], "rescale": job["rescale"], "added": added},
        export=export,
        versions=package_versions(),
    )
    write_bundle(Path(job["out"]), manifest, members | {"golden.npz": golden.getvalue()})


def convert_backbone(job: dict[str, Any]) -> None:
    """Load, check and export a ``.keras`` file from an image to maps, tokens or a vector.

    Parameters
    ----------
    job
        ``path`` and its ``sha256``; ``shape`` (height, width, channels) of its input; and ``out``, the folder to write.

    Raises
    ------
    ModelError
        Keras cannot load it, it has changed, or it is not such a network.
    OutputError
        The folder cannot be written.
    """
    path, shape = Path(job["path"]), tuple(map(int, job["shape"]))
    if hashlib.sha256(path.read_bytes()).hexdigest() != job["sha256"]:
        raise ModelError(f"{path} has been replaced since it was opened; try again")
    keras = import_keras()
    network = _load(path)
    inputs = keras.Input(shape, name="tiles")
    try:
        outputs = network(inputs, training=False)
    except Exception as error:  # layers raise errors of any type where a shape does not fit
        raise ModelError(f"{path} cannot take images of shape {shape}; give another --backbone-px") from error
    if isinstance(outputs, list | tuple | dict) or outputs.dtype != "float32":
        raise ModelError(f"{path} has several outputs, or other than float32; a backbone has one, of float32")
    members = export_network(keras.Model(inputs, outputs))
    with atomic_folder(Path(job["out"])) as folder:
        for name in ("model.xml", "model.bin"):
            (folder / name).write_bytes(members[name])


def _load(path: Path) -> Any:
    read_checked_config(path)  # again: the file may have been replaced since the parent process checked it
    check_weights(path)
    keras = import_keras()
    try:
        return keras.models.load_model(path, safe_mode=True, compile=False)
    except Exception as error:  # layers raise errors of any type
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(f"{path} cannot be loaded by Keras {keras.__version__}: {reason}; save it again") from error


def _random_tiles(shape: tuple[int, int, int], rescale: float, scales_itself: bool) -> NDArray[Any]:
    """Return seeded tiles of noise of various brightness, in the grey-value range of the model."""
    rng = np.random.default_rng(0)
    count = max(8, min(CHECKED_TILES, (128 << 20) // (4 * shape[0] * shape[1] * shape[2])))
    high = 255.0 if scales_itself and rescale == 1 else rescale
    level = rng.uniform(0.05, 0.9, (count, 1, 1, 1))
    tiles = np.clip(level + rng.normal(0, 0.15, (count, *shape)), 0, 1) * high
    return tiles.round().astype(np.uint8) if high == 255 else tiles.astype(np.float32)


def _with_softmax(
    path: Path, model: Any, x: NDArray[np.float32], names: tuple[str, ...], activation: str | None
) -> tuple[Any, list[str]]:
    """Complete a network so that it takes ``x`` and predicts one probability per class.

    Returns
    -------
    keras.Model
        The model, or one around it.
    list of str
        Descriptions of what was added.
    """
    keras = import_keras()
    prob = _predict(path, model, x)
    outputs = prob.shape[1]
    needed = 2 if outputs == 1 else outputs
    if needed != len(names):
        raise ModelError(class_count_mismatch(path, needed, names))
    bounded = bool(((prob >= 0) & (prob <= 1)).all())
    added, layers = [], []
    if outputs == 1:
        if not bounded or activation not in {"sigmoid", None}:
            raise ModelError(f"{path} has one output that is not a probability; end it with a softmax over its classes")
        layers, added = [_two_classes_layer(keras)], ["two classes of one sigmoid"]
    elif not bounded or not np.allclose(prob.sum(axis=1), 1, atol=1e-3):
        if activation == "sigmoid" or (activation is None and bounded):
            raise ModelError(
                f"{path} predicts an independent probability per class (sigmoid, multi-label); "
                "end it with a softmax over its classes"
            )
        layers, added = [keras.layers.Softmax(name="added_softmax")], ["softmax"]
    if model.input_shape[1:] != x.shape[1:]:
        added.append(f"fixed input of {x.shape[2]} x {x.shape[1]} px")
    if not added:
        return model, added
    inputs = keras.Input(x.shape[1:], name="tiles")
    out = model(inputs, training=False)
    for layer in layers:
        out = layer(out)
    completed = keras.Model(inputs, out, name=model.name + "_completed")
    if outputs == 1:
        # p becomes (1 - p, p): the network's output is the probability of the second class.
        layers[0].set_weights([np.array([[-1.0, 1.0]], np.float32), np.array([1.0, 0.0], np.float32)])
    return completed, added


def _two_classes_layer(keras: Any) -> Any:
    return keras.layers.Dense(2, name="added_two_classes", trainable=False, dtype="float32")


def _predict(path: Path, model: Any, x: NDArray[np.float32]) -> NDArray[np.float32]:
    try:
        outputs = predictor(model)(x[:16])
    except Exception as error:  # layers raise errors of any type where a shape does not fit
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"{path} cannot take tiles of {x.shape[2]} x {x.shape[1]} px and {counted(x.shape[3], 'channel')}: {reason}"
        ) from error
    if outputs.ndim != 2:
        raise ModelError(f"{path} outputs {outputs.shape[1:]} per tile; a classifier outputs one value per class")
    if not np.isfinite(outputs).all():
        raise ModelError(f"{path} predicts NaN or infinity for ordinary tiles; check its weights and --rescale")
    return outputs
