"""Trains the networks that the tests look at, in a process of its own: ``training_job.py FOLDER``."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Progress, Task
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.params.train import TrainParams

CONTACTS: list[str] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note whom this process, or one that it forks, would talk to, and prevent it."""
    if event in {"socket.connect", "socket.getaddrinfo", "urllib.Request", "os.fork"}:
        CONTACTS.append(f"{event} {arguments!r:.100}")
        if event != "os.fork":
            raise OSError("the network is out of bounds here")


def field(seed: int, spots: bool, shape: tuple[int, int, int], dtype: str) -> NDArray[Any]:
    """A field of 12-bit noise, with or without bright spots."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(600, 80, shape)
    if spots:
        n = shape[0] * shape[1] // 60
        y, x = rng.integers(1, shape[0] - 1, n), rng.integers(1, shape[1] - 1, n)
        for dy, dx in itertools.product((-1, 0, 1), repeat=2):
            pixels[y + dy, x + dx] += 1500
    return pixels.clip(0, 4095).astype(dtype)


def dataset(
    fields: dict[str, NDArray[Any]], tile: tuple[int, int], names: tuple[str, ...], small_last: bool = False
) -> TileDataset:
    """Tiles of fields named ``CLASS_GROUP``; the last group of a class is for validation."""
    paths = tuple(Path(name) for name in fields)
    boxes, image = [], []
    for number, pixels in enumerate(fields.values()):
        for y0 in range(0, pixels.shape[0] - tile[0] + 1, tile[0]):
            for x0 in range(0, pixels.shape[1] - tile[1] + 1, tile[1]):
                boxes.append((y0, x0, y0 + tile[0], x0 + tile[1]))
                image.append(number)
        if small_last:
            boxes[-1] = (*boxes[-1][:2], boxes[-1][2] - 5, boxes[-1][3] - 3)
    label = [names.index(str(paths[i]).split("_")[0]) for i in image]
    split = ["validation" if str(paths[i]).endswith("_2") else "train" for i in image]
    first = next(iter(fields.values()))
    return TileDataset(
        paths,
        tuple(hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in fields.values()),
        np.array(image, np.int32),
        np.array(boxes, np.int32),
        np.array(label, np.int16),
        np.array([str(paths[i]) for i in image], object),
        np.array(split, object),
        ClassScheme(names),
        first.shape[2],
        first.dtype,
        skipped=((Path("broken.tif"), "it is empty"),),
        split_rule="the last group",
        read=lambda path: SourceImage(fields[path.name], name=path.name),
    )


def spots_data() -> TileDataset:
    fields = {
        f"{name}_{group}": field(10 * group + spots, spots, (128, 128, 1), "uint16")
        for spots, name in enumerate(("plain", "spots"))
        for group in range(3)
    }
    return dataset(fields, (32, 32), ("plain", "spots"))


def mixed_data() -> TileDataset:
    """Three classes, float, 2 channels, oblong tiles, one of another shape, two with bad pixels."""
    fields = {
        f"{name}_{group}": field(100 + 10 * group + k, k == 1, (60, 96, 2), "float32") * (3 if k == 2 else 1)
        for k, name in enumerate(("a", "b", "c"))
        for group in range(3)
    }
    fields["a_0"][3, 3, 0] = np.nan
    fields["b_2"][3, 3, 1] = np.inf
    return dataset(fields, (20, 24), ("a", "b", "c"), small_last=True)


def large_data() -> TileDataset:
    fields = {f"{n}_{g}": field(g, n == "b", (67, 134, 3), "uint8") for n in "ab" for g in range(3)}
    return dataset(fields, (67, 67), ("a", "b"))


class Trainer:
    """Trains, and writes down what happened under a name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: dict[str, Any] = {}

    def train(self, name: str, data: TileDataset, stop: Callable[[], bool] = lambda: False, **settings: Any) -> None:
        from napari_cellclass.engine.training.train import train

        reports: list[Progress] = []
        out = self.folder / name / "model.cellclass"
        params = TrainParams(data=Path("data"), out=out, **settings)
        result: dict[str, Any] = {}
        try:
            train(data, params, out, task=Task(reports.append, stop))
        except CellClassError as error:
            result |= {"kind": type(error).__name__, "error": str(error)}
        result["reports"] = [(p.phase, p.done, p.total, dict(p.metrics)) for p in reports]
        result["left"] = [str(p) for p in self.folder.glob(f"{name}/**/*")]
        self.results[name] = result


def main() -> None:
    sys.addaudithook(watch)
    folder = Path(sys.argv[1])
    trainer = Trainer(folder)
    spots = spots_data()
    trainer.train("good", spots, epochs=12, seed=3)
    asked = itertools.count()
    reading = len(spots)
    trainer.train("cancelled", spots, lambda: next(asked) > reading + 5, epochs=3)
    trainer.train("mixed", mixed_data(), epochs=2, batch_size=7, range="100:3000")
    trainer.train(
        "diverged", large_data(), network="alexnet", as_published=True, input_px=67, epochs=5, learning_rate=10.0
    )
    trainer.train(
        "percentiles", spots, epochs=2, normalisation="percentiles", range="1:99", rotate="-5:5", views=8,
        standardise="none",
    )  # fmt: skip
    results = {"runs": trainer.results, "contacts": CONTACTS}
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
