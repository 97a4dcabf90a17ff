"""Builds and exports the networks that the tests look at, in a process of its own: ``networks_job.py FOLDER``."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellclass.core.common.errors import CellClassError


def networks() -> dict[str, Any]:
    """Build the networks in many sizes; export the one with batch normalisation."""
    from napari_cellclass.engine.networks.architectures import build_network, layer_table
    from napari_cellclass.engine.networks.loading import predictor
    from napari_cellclass.engine.training.export import check_export, export_network

    names = ("compact", "deep-50", "deep")
    found: dict[str, Any] = {name: build_network(name, (256, 256), 3, 2).count_params() for name in names}
    found["compact of one channel"] = build_network("compact", (128, 128), 1, 2).count_params()
    sizes = [(1, 1), (16, 16), (37, 53), (128, 128), (300, 20)]
    found["unusual"] = [
        [list(build_network(name, size, channels, classes).output_shape), size, channels, classes]
        for name in names
        for size, channels, classes in zip(sizes, (1, 2, 3, 7, 4), (2, 3, 13, 2, 5), strict=True)
    ]
    found["alexnet"] = [list(build_network("alexnet", size, 2, 4).output_shape) for size in ((67, 67), (101, 80))]
    try:
        build_network("alexnet", (66, 128), 1, 2)
    except CellClassError as error:
        found["too_small"] = [type(error).__name__, str(error)]
    model = build_network("alexnet", (67, 67), 1, 3, seed=1)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.startswith("norm"):  # as if trained: no statistic is 0 or 1
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    x = rng.random((11, 67, 67, 1), np.float32)
    found["exported"] = check_export(export_network(model), x, predictor(model)(x))
    found["layers"] = layer_table(build_network("deep-50", (256, 256), 3, 2))
    alexnets = [build_network("alexnet", (67, 67), 1, 2, as_published=published) for published in (False, True)]
    found["dropout"] = [sum("dropout" in layer.name for layer in model.layers) for model in alexnets]
    return found | standardising() | backbones()


def backbones() -> dict[str, Any]:
    """Run the pretrained backbone in Keras, also beyond the grey-value range; its features are saved."""
    from napari_cellclass.engine.common.environment import import_keras
    from napari_cellclass.engine.features.backbone import build_keras

    keras = import_keras()
    rng = np.random.default_rng(0)
    found = {}
    for name, size, channels in (("one channel", 128, 1), ("two channels", 50, 2), ("colour", 64, 3)):
        tiles = rng.uniform(-0.2, 1.4, (3, size, size, channels)).astype(np.float32)
        entrance = keras.Input(tiles.shape[1:])
        model = keras.Model(entrance, build_keras(entrance, name == "colour"))
        np.savez(Path(sys.argv[1]) / f"backbone {name}.npz", tiles=tiles, features=model.predict(tiles, verbose=0))
        found[name] = {"trainable": len(model.trainable_weights)}
    entrance = keras.Input((None, None, 3))
    own = keras.Model(entrance, keras.layers.Conv2D(4, 3, use_bias=False)(keras.layers.Rescaling(1 / 255)(entrance)))
    own.save(Path(sys.argv[1]) / "backbone.keras")
    np.savez(Path(sys.argv[1]) / "backbone keras.npz", kernel=own.layers[-1].get_weights()[0].transpose(3, 0, 1, 2))
    return {"backbone": found}


def standardising() -> dict[str, Any]:
    """Export a network that standardises tiles, of one view, of eight and as an ensemble; run it on unusual tiles."""
    from napari_cellclass.engine.networks.architectures import average_models, average_views, build_network
    from napari_cellclass.engine.networks.loading import predictor
    from napari_cellclass.engine.training.export import check_export, export_network

    rng = np.random.default_rng(0)
    # Bright and nearly flat: rounding is magnified by up to 1 / 0.002.
    level, strength = rng.uniform(0, 1, (16, 1, 1, 2)), 10.0 ** rng.uniform(-4, 0, (16, 1, 1, 2))
    x = (level + strength * rng.standard_normal((16, 96, 96, 2))).astype(np.float32)
    one, two = (build_network("compact", (96, 96), 2, 3, seed=seed) for seed in (1, 2))
    eight = average_views(one, 8)
    found: dict[str, Any] = {"difference": {}}
    plain, views = predictor(one)(x), predictor(eight)(x)
    for name, model in (("one", one), ("eight", eight)):
        found["difference"][name] = check_export(export_network(model), x, predictor(model)(x))["max_abs_difference"]
    seen = (level + 0.3 * rng.standard_normal(x.shape)).astype(np.float32)
    for name, model in (
        ("exposure", one),
        ("exposure, not standardised", build_network("compact", (96, 96), 2, 3, 1, "none")),
    ):
        found[name] = float(np.abs(predictor(model)(2 * seen + 0.1) - predictor(model)(seen)).max())
    found["turned"] = float(np.abs(predictor(eight)(x.swapaxes(1, 2)[:, ::-1].copy()) - views).max())
    found["turned, one view"] = float(np.abs(predictor(one)(x.swapaxes(1, 2)[:, ::-1].copy()) - plain).max())
    mean = (plain + predictor(two)(x)) / 2
    both = average_models([one, two])
    found["mean"] = float(np.abs(predictor(both)(x) - mean).max())
    found["difference"]["ensemble"] = check_export(export_network(both), x, mean)["max_abs_difference"]
    return found


def write_article(folder: Path) -> None:
    """Write the article's networks, untrained, as models of 16-bit tiles that are resized."""
    from napari_cellclass.core.labels.classes import ClassScheme
    from napari_cellclass.core.models.bundle import Manifest, write_bundle
    from napari_cellclass.core.tiles.preprocess import PreprocessSpec
    from napari_cellclass.engine.networks.architectures import build_network
    from napari_cellclass.engine.networks.loading import predictor
    from napari_cellclass.engine.training.export import export_network

    golden = np.random.default_rng(0).normal(900, 300, (3, 64, 100, 2)).clip(0, 4095).astype(np.uint16)
    golden[0, ::2] += 300
    for name, input_px in (("deep-50", (44, 64)), ("alexnet", (67, 105))):
        preprocess = PreprocessSpec(channels=2, input_px=input_px, low=250.5, high=3000.0)
        model = build_network(name, input_px, 2, 3, seed=1, standardise="none")
        scale = 2 / np.log(predictor(model)(preprocess.apply(golden))).std()  # so that probabilities differ
        last = model.get_layer("classes")
        last.set_weights([scale * weights for weights in last.get_weights()])
        manifest = Manifest.model_validate({
            "program": "test", "created": "now", "classes": ClassScheme(("a", "b", "c")).to_json(),
            "preprocess": preprocess, "tile_px": (64, 100),
            "network": name, "parameters": int(model.count_params()),
        })  # fmt: skip
        stream = io.BytesIO()
        np.savez(stream, tiles=golden, prob=predictor(model)(preprocess.apply(golden)))
        write_bundle(folder / f"{name}.cellclass", manifest, export_network(model) | {"golden.npz": stream.getvalue()})


def main() -> None:
    write_article(Path(sys.argv[1]))
    (Path(sys.argv[1]) / "results.json").write_text(json.dumps(networks()))


if __name__ == "__main__":
    main()
