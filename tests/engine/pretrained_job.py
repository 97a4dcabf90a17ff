"""Trains linear models on pretrained features, in a process of its own: ``pretrained_job.py FOLDER``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx_files import write_onnx
from training_job import Trainer, mixed_data, spots_data

from napari_cellclass.core.datasets.dataset import TRAIN
from napari_cellclass.core.datasets.split import train_on_all
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.models.feature_scale import FeatureScale
from napari_cellclass.core.models.feature_spec import FeatureSpec
from napari_cellclass.core.models.linear_head import Standardisation
from napari_cellclass.core.params.train import TrainParams


def keras_difference(folder: Path) -> float:
    """Load a model's Keras network from its file, and compare it with what it predicted for its golden tiles."""
    from napari_cellclass.engine.features.keras_network import keras_network
    from napari_cellclass.engine.networks.loading import eager_predictor

    bundle = open_bundle(folder / "model.cellclass")
    tiles, prob = bundle.golden
    x = bundle.preprocess.apply(bundle.preprocess.apply_levels(tiles, bundle.preprocess.identity_levels))
    return float(np.abs(eager_predictor(keras_network(bundle))(x) - prob).max())


def scale_of(model: Path, folder: Path) -> Path:
    """Write how a model standardises its features, as a labelling session does; read from its OpenVINO network."""
    from napari_cellclass.engine.features.extractor import FeatureExtractor
    from napari_cellclass.engine.inference.openvino_graph import TileFormat

    bundle, spots = open_bundle(model), spots_data()
    spec = FeatureSpec.model_validate(bundle.manifest.training["features"])
    tiles = np.stack([tile for _, tile in spots.tiles(np.arange(len(spots)))])
    features = FeatureExtractor(spec, TileFormat.of(tiles))(tiles)
    return FeatureScale.of(spec, Standardisation.fit(features)).save(folder / "kept.features.json")


def mixture() -> dict[str, Any]:
    """Ask a mixture of two networks, and its parts."""
    from napari_cellclass.core.models.head_record import mix
    from napari_cellclass.engine.features.classifier import classifier_layers, mix_network
    from napari_cellclass.engine.networks.architectures import build_network, layer_table
    from napari_cellclass.engine.networks.loading import predictor
    from napari_cellclass.engine.training.export import check_export, export_network

    one, other = (build_network("compact", (32, 32), 1, 3, seed=seed) for seed in (0, 1))
    one.name = "pretrained"
    x = np.random.default_rng(0).random((4, 32, 32, 1), np.float32)
    whole = mix_network(one, other)
    prob = predictor(whole)(x)
    check_export(export_network(whole), x, prob)
    return {
        "difference": float(np.abs(prob - mix(predictor(one)(x), predictor(other)(x))).max()),
        "layers": len(classifier_layers(whole)) == 2 * len(layer_table(one)),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    trainer = Trainer(folder)
    spots, network = spots_data(), {"network": "pretrained"}
    whole = train_on_all(spots)
    trainer.train("good", whole, **network)
    # A student of the former, with wrong labels.
    wrong = np.where(spots.split == TRAIN, 1 - spots.labels, spots.labels).astype(np.int16)
    teacher = folder / "good" / "model.cellclass"
    trainer.train("taught", replace(spots, labels=wrong), epochs=8, teacher=teacher, standardise="none")
    own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if own:
        os.sched_setaffinity(0, {min(own)})
    trainer.train("again", whole, **network)
    if own:
        os.sched_setaffinity(0, own)
    trainer.train("kept", whole, **network, feature_scale=scale_of(folder / "good" / "model.cellclass", folder))
    trainer.train("split", spots, **network)
    trainer.train("mixed", train_on_all(mixed_data()), **network, standardise="tile", texture="off")
    trainer.train("beside", whole, **network, with_compact=True, epochs=2)
    (folder / "own.onnx").write_bytes(write_onnx(np.random.default_rng(0).normal(size=(8, 3, 5, 5)).astype(np.float32)))
    trainer.train("own", whole, **network, backbone=folder / "own.onnx")
    trainer.train("cancelled", whole, lambda: True, **network)
    alone = np.where(spots.labels == 1, "one field", spots.groups.astype(str)).astype(object)
    trainer.train("one field", train_on_all(replace(spots, groups=alone)), **network, normalisation="percentiles")

    from napari_cellclass.engine.training.ensemble import write_ensemble

    out = folder / "ensemble" / "model.cellclass"
    params = TrainParams(data=Path("data"), out=out, standardise="none", **network)
    write_ensemble([open_bundle(folder / name / "model.cellclass") for name in ("good", "kept")], whole, params, out)
    keras = {name: keras_difference(folder / name) for name in ("good", "mixed", "one field", "beside", "kept")}
    results = {"runs": trainer.results, "keras": keras, "mixture": mixture()}
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
