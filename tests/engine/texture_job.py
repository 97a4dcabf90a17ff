"""Trains networks that texture joins, in a process of its own: ``texture_job.py FOLDER``."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from training_job import Trainer, spots_data

from napari_cellclass.core.datasets.dataset import VALIDATION
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.params.train import TrainParams

# As good as untrained, so that texture has something to add.
_IDLE: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-9}


def graph() -> dict[str, Any]:
    """Ask the graph of the features, alone and beside a network, of several sizes."""
    from napari_cellclass.core.models.texture_decision import fit_head, head_logits, pool_probabilities
    from napari_cellclass.core.tiles.texture_features import ArrayOps
    from napari_cellclass.core.tiles.texture_formulas import texture
    from napari_cellclass.engine.features.texture_network import texture_model, with_texture, without_texture
    from napari_cellclass.engine.networks.architectures import average_views, build_network
    from napari_cellclass.engine.networks.loading import predictor
    from napari_cellclass.engine.training.export import check_export, export_network

    rng = np.random.default_rng(0)
    found: dict[str, Any] = {"sizes": {}, "arrays": [], "difference": [], "pool": [], "inside": []}
    for shape in ((3, 3, 1), (5, 40, 2), (37, 53, 3), (64, 64, 1)):
        x = rng.random((24, *shape), np.float32)
        x[:8] = 0.5 + 1e-4 * x[:8]  # bright and nearly flat
        x[8] = 0.25
        features = predictor(texture_model(shape))(x)
        expected = texture(ArrayOps(), x)
        found["arrays"].append(float(np.abs(expected - features).max()))
        found["sizes"]["x".join(map(str, shape))] = [features.shape[1], bool(np.isfinite(features).all())]
        head = fit_head(features, np.arange(24) % 3, 3)
        for views in (1, 8) if shape[2] != 2 and shape[0] < 64 else (1,):  # a square, and an oblong of several channels
            network = average_views(build_network("compact", shape[:2], shape[2], 3, seed=1), views)
            whole = with_texture(network, head, 1.0 / views)
            prob = predictor(whole)(x)
            found["difference"].append(check_export(export_network(whole), x, prob)["max_abs_difference"])
            expected = pool_probabilities(predictor(network)(x), head_logits(head, features), 1.0 / views)
            found["pool"].append(float(np.abs(prob - expected).max()))
            found["inside"].append(without_texture(whole) is network and without_texture(network) is network)
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    trainer = Trainer(folder)
    spots = spots_data()
    trainer.train("joined", spots, seed=4, **_IDLE)
    trainer.train("alone", spots, seed=4, texture="off", **_IDLE)
    trainer.train("views", spots, seed=4, views=8, **_IDLE)
    trainer.train("continued", spots, seed=9, texture="off", initial=folder / "joined" / "model.cellclass", **_IDLE)
    # One held-out tile of the other class: whoever was trained on it would have other weights.
    labels = spots.labels.copy()
    labels[np.flatnonzero(spots.split == VALIDATION)[0]] ^= 1
    trainer.train("relabelled", replace(spots, labels=labels), seed=4, **_IDLE)
    prob = held_out_probabilities(folder, spots)
    results = {"runs": trainer.results, "graph": graph(), "probabilities": prob, "ensemble": ensemble(folder, spots)}
    (folder / "results.json").write_text(json.dumps(results))


def held_out_probabilities(folder: Path, spots: Any) -> dict[str, list[Any]]:
    """Give what models say of the held-out tiles, and the classes of these."""
    from napari_cellclass.engine.inference.engines import open_engine

    rows = np.flatnonzero(spots.split == VALIDATION)
    tiles = dict(spots.tiles(rows))
    raw: NDArray[Any] = np.stack([tiles[int(row)] for row in rows])
    found: dict[str, list[Any]] = {"truth": spots.labels[rows].tolist()}
    for name in ("joined", "alone", "continued"):
        with open_engine(open_bundle(folder / name / "model.cellclass")) as engine:
            found[name] = engine.predict(raw).tolist()
    return found


def ensemble(folder: Path, spots: Any) -> dict[str, Any]:
    """Make one model of two, of which one has texture features."""
    from napari_cellclass.engine.training.ensemble import write_ensemble

    members = [open_bundle(folder / name / "model.cellclass") for name in ("joined", "alone")]
    out = folder / "e.cellclass"
    params = TrainParams(data=Path("data"), out=out, network="compact", standardise="tile", **_IDLE)
    made = write_ensemble(members, spots, params, params.out)
    return {
        "golden": [model.golden[1].tolist() for model in (made, *members)],
        "texture": [one["texture"] for one in made.manifest.training["members"]],
    }  # fmt: skip


if __name__ == "__main__":
    main()
