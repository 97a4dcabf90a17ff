"""What needs Keras, in a process of its own: untrained networks as files, and the article's way of classifying tiles.

python benchmarks/_speed_child.py networks FOLDER
python benchmarks/_speed_child.py predict MODEL.keras TILES
python benchmarks/_speed_child.py article MODEL.keras FIELD.png FOLDER
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.networks.architectures import build_network

_PX = 256


def networks(folder: Path) -> None:
    """Write the article's ``deep-50`` and a network that does next to nothing, both for RGB tiles of 256 px."""
    keras = import_keras()
    build_network("deep-50", (_PX, _PX), 3, 2, seed=1, standardise="none").save(folder / "deep-50.keras")
    tiles = keras.Input((_PX, _PX, 3))
    means = keras.layers.GlobalAveragePooling2D()(keras.layers.AveragePooling2D(16)(tiles))
    keras.Model(tiles, keras.layers.Dense(2, activation="softmax")(means)).save(folder / "next-to-nothing.keras")


def predict(model: Path, folder: Path) -> None:
    """Classify a folder of PNG tiles as tutorials do, again and again: a line with the seconds for each line read."""
    keras = import_keras()
    network = keras.models.load_model(model, compile=False)
    for _ in sys.stdin:
        start = time.perf_counter()
        data = keras.utils.image_dataset_from_directory(
            folder, labels=None, image_size=(_PX, _PX), shuffle=False, verbose=False
        )
        network.predict(data.map(lambda x: x / 255.0), verbose=0)
        print(time.perf_counter() - start, flush=True)


def article(model: Path, field: Path, folder: Path) -> None:
    """Classify a field as the article does: cut it into PNG files, ``flow_from_directory``, ``predict``.

    TensorFlow is left as it is installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    answers, sys.stdout = sys.stdout, sys.stderr  # Keras prints too
    network = tf.keras.models.load_model(model, compile=False)
    for _ in sys.stdin:
        shutil.rmtree(folder, ignore_errors=True)
        start = time.perf_counter()
        (folder / "tiles").mkdir(parents=True)
        image = Image.open(field)
        for y in range(0, image.height, _PX):
            for x in range(0, image.width, _PX):
                image.crop((x, y, x + _PX, y + _PX)).save(folder / "tiles" / f"{y:06d}_{x:06d}.png")
        flow = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255).flow_from_directory(
            folder, target_size=(_PX, _PX), batch_size=20, class_mode=None, shuffle=False
        )
        network.predict(flow, verbose=0)
        print(time.perf_counter() - start, file=answers, flush=True)


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    {"networks": networks, "predict": predict, "article": article}[verb](*map(Path, words))
