"""Compare exported models with those that they were made from, on real tiles, in ONNX Runtime and OpenCV.

    python benchmarks/onnx_export.py --opencv PYTHON ...

Each PYTHON is an interpreter of an environment with numpy and another version of OpenCV; that of this program is
compared in any case. Networks are trained for a few epochs only, so that few probabilities are 0 or 1. Tiles are cut
anywhere in the fields, a fifth of them with another gain. The table goes to ``RESULTS.md`` beside this file, or where
``--out`` says.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _labelled_sets import SETS
from _results import markdown, write_section
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle
from napari_cellclass.engine.inference.engines import open_engine
from napari_cellclass.engine.onnx_export.model import build_onnx
from napari_cellclass.engine.onnx_export.replay import OnnxRuntimeModel, replay_golden, tile_blob

HERE = Path(__file__).parent
TITLE = "Models exported as ONNX"
ABOUT = """\
`python benchmarks/onnx_export.py`: probabilities of real tiles by the exported file beside those in napari (float32,
calibrated): the largest difference, and how many tiles get another class. Tiles are cut anywhere in the fields,
a fifth of them with another gain; networks were trained for a few epochs only, so that few probabilities are 0 or 1.

Most of the difference of two-channel tiles is OpenVINO's: of the four that differ most, its texture features are up to
4e-4 away from those computed in float64, ONNX Runtime's of the exported graph 2e-6.

"""


@dataclass(frozen=True)
class Case:
    """A model to be trained and exported: of which set, with which flags, and how many tiles are compared."""

    name: str
    data: str
    flags: tuple[str, ...]
    tiles: int


_FEW = ("--epochs", "4")
CASES = (
    Case("pretrained", "transfluor", (), 1500),
    Case("pretrained", "bbbc013_cells", (), 1000),
    Case("pretrained", "chula_disease", (), 1000),
    Case("pretrained", "neubias bacteria_cords", (), 1000),
    Case("pretrained, one brightness", "chula_disease", ("--network", "pretrained", "--standardise", "tile"), 500),
    Case("compact", "transfluor", ("--network", "compact", *_FEW), 1000),
    Case("compact", "bbbc013_cells", ("--network", "compact", *_FEW), 1000),
    Case("compact, 8 views", "chula_rbc12", ("--network", "compact", "--views", "8", *_FEW), 1000),
    Case("compact", "neubias bacteria_cords", ("--network", "compact", *_FEW), 1000),
    Case("article", "transfluor", ("--as-published", "--epochs", "2"), 500),
    Case("article", "chula_rbc12", ("--as-published", "--epochs", "2"), 500),
)


def trained(case: Case, data: Path, work: Path) -> tuple[ModelBundle, pd.DataFrame]:
    """Train the model of a case on the first fold of its set, unless that has been done; list the tiles held out."""
    fold = next(iter(SETS[case.data](data, work / "lists")))
    path = work / f"{case.name}_{case.data}.cellclass".replace(" ", "_").replace(",", "")
    if not path.exists():
        words = [sys.executable, "-m", "napari_cellclass", "train", str(fold.train), "--out", str(path), "--quiet"]
        subprocess.run([*words, *case.flags], check=True)
    return open_bundle(path), pd.read_csv(fold.tests[""])


def cut(bundle: ModelBundle, listed: pd.DataFrame, count: int) -> NDArray[Any]:
    """Cut tiles of the model's size anywhere in the held-out fields, a fifth of them with another gain."""
    rng = np.random.default_rng(0)
    height, width = bundle.manifest.tile_px
    fields = [np.asarray(read_image(Path(path)).data) for path in sorted(listed["path"].unique())]
    found = []
    for i in range(count):
        pixels = fields[rng.integers(len(fields))]
        y, x = (int(rng.integers(0, n - m + 1)) for n, m in zip(pixels.shape[:2], (height, width), strict=True))
        tile = pixels[y : y + height, x : x + width]
        if i % 5 == 0:
            top = np.iinfo(tile.dtype).max
            tile = np.clip(np.round(tile * rng.uniform(0.3, 2.5)), 0, top).astype(tile.dtype)
        found.append(tile)
    return np.stack(found)


def differences(prob: NDArray[np.float32], expected: NDArray[np.float32]) -> str:
    """Describe the largest difference of a probability, and how many tiles get another class."""
    other = int((prob.argmax(axis=1) != expected.argmax(axis=1)).sum())
    return f"{np.abs(prob - expected).max():.1e}, {other}"


def compare(case: Case, data: Path, work: Path, opencv: list[str]) -> dict[str, str]:
    """Export a model and compare it in all libraries, unless that has been done: a row of the table."""
    import onnxruntime

    done_before = work / f"{case.name}_{case.data}.json"
    if done_before.exists():
        return dict(json.loads(done_before.read_text()))
    bundle, listed = trained(case, data, work)
    content = build_onnx(bundle)
    replay_golden(bundle, content)
    tiles = cut(bundle, listed, case.tiles)
    with open_engine(bundle) as engine:
        expected = bundle.calibrated(engine.predict(tiles))
    blob = tile_blob(tiles)
    row = {
        "model": case.name, "set": case.data, "tiles": str(len(tiles)),
        "pixels": f"{tiles.dtype}, {tiles.shape[-1]} x {tiles.shape[1]} px",
        "below 0.99 sure": f"{((expected.max(axis=1) < 0.99).mean()):.0%}",
    }  # fmt: skip
    session = OnnxRuntimeModel(content)
    prob = np.concatenate([session(blob[i : i + 64]) for i in range(0, len(blob), 64)])
    row[f"ONNX Runtime {onnxruntime.__version__}"] = differences(prob, expected)
    model, raw, out = work / "model.onnx", work / "tiles.npy", work / "prob.npy"
    model.write_bytes(content)
    np.save(raw, tiles)
    for python in [sys.executable, *opencv]:
        words = [python, str(HERE / "_opencv_child.py"), str(model), str(raw), str(out)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        row[f"OpenCV {done.stdout.split()[-1]}"] = differences(np.load(out), expected)
    print(row, flush=True)
    done_before.write_text(json.dumps(row))
    return row


def main() -> None:
    """Compare all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--opencv", nargs="*", default=[], metavar="PYTHON")
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "napari-cellclass-onnx")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame([compare(case, given.data, given.work, given.opencv) for case in CASES])
    total = table["tiles"].astype(int).sum()
    text = f"{markdown(table)}\n\n{total:,} tiles in all. Each cell: largest difference, tiles of another class."
    write_section(given.out, TITLE, ABOUT + text)
    print(text)


if __name__ == "__main__":
    main()
