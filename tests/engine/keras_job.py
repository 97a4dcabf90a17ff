"""Writes Keras files of all kinds, and converts some, in a process of its own: ``keras_job.py FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.engine.child.convert import convert
from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.networks.config_check import inspect_keras_file


def write_all(folder: Path) -> None:
    keras = import_keras()
    keras.utils.set_random_seed(0)
    L = keras.layers

    def body(*last: Any, shape: tuple[int | None, int | None, int] = (24, 32, 2), first: Any = ()) -> Any:
        pooled = [L.Conv2D(4, 3, activation="relu", name="conv"), L.GlobalAveragePooling2D()]
        return keras.Sequential([keras.Input(shape), *first, *pooled, *last])

    softmax = L.Dense(3, activation="softmax", name="classes", kernel_initializer="he_normal")
    scaled = body(softmax, first=[L.Rescaling(1 / 255)])
    scaled.compile("adam", "categorical_crossentropy")
    scaled.save(folder / "rescaling.keras")
    body(L.Dense(3, activation="softmax")).save(folder / "plain.keras")
    body(L.Dense(3)).save(folder / "logits.keras")
    body(L.Dense(1, activation="sigmoid")).save(folder / "sigmoid.keras")
    body(L.Dense(3, activation="sigmoid")).save(folder / "independent.keras")
    body(L.Dense(2), L.Activation("softmax"), shape=(None, None, 1)).save(folder / "anysize.keras")
    body(L.Dense(2), L.Lambda(lambda x: x)).save(folder / "lambda.keras")
    body(L.Dense(2, activation="softmax")).save(folder / "old.h5")
    nested = keras.Input((24, 32, 2))
    keras.Model(nested, L.Dense(2, activation="softmax")(body(L.Dense(5))(nested / 255.0))).save(
        folder / "nested.keras"
    )

    @keras.saving.register_keras_serializable()
    class Mine(L.Layer):
        def call(self, x: Any) -> Any:
            return x

    body(Mine(), L.Dense(2)).save(folder / "custom.keras")


def main() -> None:
    folder = Path(sys.argv[1])
    write_all(folder)
    results: dict[str, Any] = {}
    cases = {"logits": "xyz", "sigmoid": "no", "independent": "xyz", "anysize": "ab", "nested": "ab", "plain": "ab"}
    for name, classes in cases.items():
        path = folder / f"{name}.keras"
        info = inspect_keras_file(path)
        out = folder / f"{name}.cellclass"
        job = {"path": str(path), "sha256": "0", "classes": list(classes), "rescale": 255.0, "tile_px": [24, 32]}
        job |= {"activation": info.activation, "scales_itself": info.has_rescaling, "out": str(out)}
        try:
            convert(job)
        except CellClassError as error:
            results[name] = str(error)
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
