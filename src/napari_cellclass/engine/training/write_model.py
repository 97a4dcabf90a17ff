"""Write the network of a training as a bundle."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import napari_cellclass
from napari_cellclass.core.models.bundle import TRAINING_TILES_MEMBER, Manifest, ModelBundle, write_bundle
from napari_cellclass.core.models.drift import STATISTICS, training_statistics
from napari_cellclass.core.models.feature_spec import EFFICIENTNET_LITE0_ORIGIN
from napari_cellclass.core.models.network_choice import REASON
from napari_cellclass.core.models.stored_head import MEMBER as HEAD_MEMBER
from napari_cellclass.core.quality.alarms import LEARNED_NOTHING, training_alarms
from napari_cellclass.core.stats.calibration import Calibration, calibrate
from napari_cellclass.core.stats.metrics import EvalReport, evaluate
from napari_cellclass.engine.common.parent_process import writing_lock
from napari_cellclass.engine.features.classifier import classifier_layers
from napari_cellclass.engine.features.texture_network import texture_layers
from napari_cellclass.engine.networks.architectures import layer_table, peak_learning_rate
from napari_cellclass.engine.networks.transfer import weights_record
from napari_cellclass.engine.training.export import CHECKED_TILES, check_export, export_network, package_versions
from napari_cellclass.engine.training.known_tiles import known_tiles
from napari_cellclass.engine.training.quantise import Int8Network, quantise
from napari_cellclass.engine.training.training_run import HISTORY, TrainingRun

# Settings that change nothing in a model; of a user's backbone its hash is recorded.
_NOT_RECORDED = {
    "out", "progress", "quiet", "runs", "workers", "ensemble", "logdir", "backbone", "backbone_values", "backbone_px",
}  # fmt: skip


def write_model(
    run: TrainingRun, epoch: int, val_prob: NDArray[np.float32], path: Path, unfinished: bool = False
) -> ModelBundle:
    """Write the network of a run as a bundle.

    Parameters
    ----------
    run
        The training, whose network holds the weights to write.
    epoch, val_prob
        The epoch of these weights, and its probabilities for the validation tiles.
    path
        The ``.cellclass`` file.
    unfinished
        Whether training goes on: then only the float32 network is written, whatever the requested precision.

    Raises
    ------
    EngineError
        The exported network predicts differently from Keras.
    OutputError
        The bundle cannot be written.
    """
    data, indices = run.data, run.pixels.tile_indices[run.val]
    report = evaluate(val_prob, data.labels[indices], data.groups[indices].tolist(), data.scheme.names)
    members = export_network(run.full_model, run.openvino_model)
    export = check_export(members, *_checked_tiles(run))
    # The linear models have a temperature of their own, which few tiles cannot make extreme.
    scale = run.head is None
    calibration = calibrate(val_prob, data.labels[indices], data.groups[indices].tolist(), scale)
    int8 = None
    if run.params.precision == "int8" and not unfinished:
        # A prediction by a fit without a tile is another network's, which the int8 one is not to be compared with.
        int8 = quantise(run, members, run.predict(run.val) if run.cross_validated else val_prob, calibration)
        members |= int8.members
    scores = _scores(run, report, epoch, int8)
    members |= {} if run.stored_head is None else {HEAD_MEMBER: run.stored_head.to_bytes()}
    members |= _tables(run, report, scores, int8, val_prob)
    known = None if unfinished else known_tiles(run, members)
    members |= {} if known is None else {TRAINING_TILES_MEMBER: known.to_bytes()}
    manifest = _manifest(run, scores, calibration, export, epoch)
    if int8 is not None:
        manifest = manifest.model_copy(update={"quantised": int8.report})
    with writing_lock:
        return write_bundle(path, manifest, members)


def _checked_tiles(run: TrainingRun) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return evenly sampled tiles of both splits, and the probabilities that the exported network has to give."""
    # Of linear models OpenVINO's network is built from the same weights, and Keras runs it slowly.
    count = min(CHECKED_TILES if run.head is None else CHECKED_TILES // 4, len(run.pixels.tile_indices))
    rows = np.unique(np.linspace(0, len(run.pixels.tile_indices) - 1, count).astype(np.int64))
    x = run.pixels.batch(rows)
    if run.stored_head is not None and run.known_features is not None:  # computed without the graph that is checked
        return x, run.stored_head.predict(run.known_features[rows])
    return x, run.predict_batch(x)


def _scores(run: TrainingRun, report: EvalReport, epoch: int, int8: Int8Network | None) -> dict[str, Any]:
    """Return the manifest's scores, with warnings for the user."""
    chosen = run.history[epoch - 1]
    texture_joined = run.texture is not None and run.texture.joined
    # A linear model on hundreds of features describes its own tiles without an error, which says nothing.
    alarms = training_alarms(run.history[:epoch] if run.head is None else (), report, run.data, texture_joined)
    warnings = [alarm.text for alarm in alarms if alarm.severity == "warning"]
    warnings += [] if run.duplicate_warning is None else [run.duplicate_warning.text]
    warnings += [] if int8 is None or int8.report.kept else [int8.report.warning]
    plain = report.to_json()
    return {
        "accuracy": plain["accuracy"],
        "balanced_accuracy": plain["balanced_accuracy"],
        "ece": report.ece,
        "loss": chosen["loss"],
        "train_accuracy": chosen["accuracy"],
        "val_loss": chosen["val_loss"],
        "interval": report.interval,
        "collapsed": any(alarm.code in LEARNED_NOTHING for alarm in alarms),
        "warnings": warnings,
    }


def _backbone(run: TrainingRun) -> str:
    """Say where the weights of a backbone are from."""
    features = run.features
    if features is None or features.backbone_scaling is None:
        return EFFICIENTNET_LITE0_ORIGIN
    return f"the user's file {features.backbone}, SHA-256 {features.backbone_sha256}"


def _optimisation(run: TrainingRun) -> dict[str, Any]:
    """Describe how weights were trained; empty where none were."""
    params = run.params
    if params.network == "pretrained" and not params.with_compact:
        return {}
    network = "compact" if params.network == "pretrained" else params.network
    return {
        "learning_rate": peak_learning_rate(network, params.learning_rate, params.as_published),
        "optimizer": "AdamW" if params.network == "pretrained" else type(run.optimizer).__name__,
        "loss": "categorical_crossentropy",
    }


def _split_frame(run: TrainingRun, split: NDArray[np.object_], val_prob: NDArray[np.float32]) -> pd.DataFrame:
    """Return a row per tile, with the probabilities of those that the fit of a part of the tiles predicted.

    In leave-one-group-out cross-validation they are of training tiles, so that no one can predict them again.
    """
    frame = replace(run.data, split=split).frame()
    if run.cross_validated and run.head is not None:
        rows = run.pixels.tile_indices[run.val]
        held_out = np.full(len(frame), "", object)
        held_out[rows] = run.head.cross_validation
        frame["held_out"] = held_out
        for k, name in enumerate(run.data.scheme.names):
            column = np.full(len(frame), np.nan, np.float32)
            column[rows] = val_prob[:, k]
            frame[f"p_{name}"] = column
    return frame


def _tables(
    run: TrainingRun,
    report: EvalReport,
    scores: dict[str, Any],
    int8: Int8Network | None,
    val_prob: NDArray[np.float32],
) -> dict[str, bytes]:
    """Return the members that hold tables and golden tiles, as bytes by name."""
    history = pd.DataFrame(run.history, columns=HISTORY).astype({"epoch": int})
    split = run.data.split.copy()
    split[run.pixels.nonfinite] = ""
    evaluation = {"validation": report.to_json(), "collapsed": scores["collapsed"], "warnings": scores["warnings"]}
    if run.cross_validated and run.head is not None:
        evaluation["held_out"] = run.head.cross_validation
    golden = io.BytesIO()
    prob = run.predict_batch(run.pixels.spec.apply(run.pixels.golden))
    known: dict[str, Any] = {"tiles": run.pixels.golden, "prob": prob}
    known |= {} if int8 is None or int8.golden is None else {"prob_int8": int8.golden}
    np.savez_compressed(golden, **known)
    return {
        "history.csv": _csv(history),
        "split.csv": _csv(_split_frame(run, split, val_prob)),
        "evaluation.json": json.dumps(evaluation, indent=2, allow_nan=False, ensure_ascii=False).encode(),
        "golden.npz": golden.getvalue(),
    }


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _manifest(
    run: TrainingRun, scores: dict[str, Any], calibration: Calibration | None, export: dict[str, float], epoch: int
) -> Manifest:
    data, params = run.data, run.params
    settings = params.model_dump(mode="json", exclude=_NOT_RECORDED)
    return Manifest(
        program=f"napari-cellclass {napari_cellclass.__version__}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=data.scheme.to_json(),
        preprocess=run.pixels.spec,
        tile_px=data.tile_px,
        overlap=params.overlap,
        edge=params.edge,
        pixel_size_um=data.pixel_size_um,
        network=params.network,
        parameters=int(run.full_model.count_params()),
        layers=classifier_layers(run.full_model)
        if run.head is not None
        else layer_table(run.model) + texture_layers(run.full_model),
        training=settings
        | {
            "epochs": run.epochs,
            "epochs_trained": len(run.history),
            "epoch_kept": epoch,
            "seconds": round(time.perf_counter() - run.started, 3),
        }
        | ({} if params.network_reason is None else {REASON: params.network_reason})
        | _optimisation(run)
        | ({} if run.head is None else {"head": run.head.model_dump(), "backbone": _backbone(run)})
        | ({} if run.texture is None else {"texture_head": run.texture.model_dump()})
        | ({} if run.features is None else {"features": run.features.model_dump(mode="json")})
        | ({} if run.taught is None else {"taught": run.taught.model_dump()})
        | ({"members": run.members} if run.members else {})
        | ({"pretrained": weights_record(max(run.pixels.spec.input_px))} if params.network == "mobilenet" else {}),
        data={
            "n_train": len(run.train),
            "n_validation": 0 if run.cross_validated else len(run.val),
            **({"n_held_out_in_turn": len(run.val)} if run.cross_validated else {}),
            "nonfinite_tiles": len(run.pixels.nonfinite),
            "counts": data.counts().to_dict("records"),
            "dtype": str(data.dtype.newbyteorder("=")),
            "split_rule": data.split_rule,
            STATISTICS: None if run.pixels.spec.percentiles else training_statistics(run.pixels.stats[run.train]),
            "hash": data.data_hash,
            "images": [
                {"path": str(path), "id": image_id} for path, image_id in zip(data.paths, data.image_ids, strict=True)
            ],
            "skipped": [{"path": str(path), "reason": reason} for path, reason in data.skipped],
        },
        scores=scores,
        calibration=calibration,
        export=export,
        versions=package_versions(),
    )
