"""Make the article's picture from synthetic plates: one whose classes can be told apart, one where they cannot.

Twelve trainings of ``deep-50`` by the article's recipe on each plate, and three on shuffled labels. On 192 training
tiles the recipe's 9 epochs are 90 steps, after which the inseparable plate's training tiles were still guessed, so 60
epochs are trained.

    python benchmarks/article.py

What has been trained is kept in ``--work`` and taken from there. The picture goes to ``docs/images/experiment.png``.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from _results import markdown, write_section
from napari_cellclass.cli.main import main as napari_cellclass
from napari_cellclass.core.samples.synthetic import inseparable_plate, separable_plate, write_plate

HERE = Path(__file__).parent
PLATES: dict[str, Callable] = {
    "separable": partial(separable_plate, glob_fraction=0.6), "inseparable": inseparable_plate,
}  # fmt: skip
PLATE = {"wells_per_class": 32, "sites_per_well": 1, "field_px": 192, "seed": 1}
HOW = (
    "--as-published --epochs 60 --tile-px 96 --input-px 64 --group-by ^(...) --runs 12 --repeats 3 --no-curve --no-pair"
)
ABOUT = """`python benchmarks/article.py`. Synthetic plates of 32 wells of each class, a quarter of them held out; globs
hold 60 % of a cell's signal on the separable plate and 3 % on the other; 192 training tiles of 96 px, shown to the
network at 64 px; `deep-50` by the article's recipe (`--as-published`), but 60 epochs instead of 9. *training*: balanced
accuracy on the training tiles, mean of the runs; *held out*: with its 95 % confidence interval over wells."""
_SHOWN_PX = 1400


def experiment(name: str, work: Path) -> dict[str, str]:
    """Run the experiment on a plate, or go on with it; give a row of the table."""
    plate, out = work / name, work / f"{name}_experiment"
    if not plate.exists():
        write_plate(plate, PLATES[name](**PLATE))
    words = ["experiment", str(plate), "--out", str(out), *HOW.split()]
    print("napari-cellclass", shlex.join(words), flush=True)
    start = time.perf_counter()
    if napari_cellclass([*words, "--progress", "none"]):
        sys.exit(1)
    print(f"{time.perf_counter() - start:.0f} s", flush=True)
    alone, spread = pd.read_csv(out / "verdicts.csv"), pd.read_csv(out / "spread.csv").iloc[0]
    verdict = (out / "verdict.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# Verdict: ")
    counts = alone["verdict"].value_counts()
    return {
        "plate": name,
        "runs": str(len(alone)),
        "training": f"{alone['training'].mean():.3f}",
        "held out": f"{spread['by_group']:.3f}",
        "95 % confidence interval": f"{spread['by_group_lo']:.3f} to {spread['by_group_hi']:.3f}",
        "verdict": verdict,
        "runs alone": ", ".join(f"{n} {word}" for word, n in counts.items()),
    }


def picture(work: Path, path: Path) -> None:
    """Put the figures of both plates under each other."""
    pages = [Image.open(work / f"{name}_experiment" / "experiment.png").convert("RGB") for name in PLATES]
    whole = Image.fromarray(np.concatenate([np.asarray(page) for page in pages]))
    size = _SHOWN_PX, round(whole.height * _SHOWN_PX / whole.width)
    small = whole.resize(size, Image.Resampling.LANCZOS).quantize(128, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def main() -> None:
    """Make the picture and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "napari-cellclass-article")
    parser.add_argument("--picture", type=Path, default=HERE.parent / "docs" / "images" / "experiment.png")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    table = pd.DataFrame([experiment(name, given.work) for name in PLATES])
    picture(given.work, given.picture)
    write_section(given.out, "The article's picture", f"{ABOUT}\n\n{markdown(table)}")
    print(markdown(table))


if __name__ == "__main__":
    main()
