"""See whether the verdict is right on real wells: of two phenotypes, and of two halves of one.

``transfluor`` are wells with and without vesicles: there is something to learn. ``null_pair`` are wells without,
called A and B by the parity of their column: there is nothing. Wells are held out by cross-validation, and every seed
is judged alone. What has been trained is kept in ``--work`` and taken from there.

    python benchmarks/verdicts.py                   25 trainings of about a minute of computing each
    python benchmarks/verdicts.py --seeds 2         a part
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd

from _results import markdown, write_section
from napari_cellclass.cli.main import main as napari_cellclass

HERE = Path(__file__).parent
SETS = {"transfluor": 2, "null_pair": 3}  # folds: as many as the rarer class has wells
RIGHT = {"transfluor": {"learned"}, "null_pair": {"memorised", "nothing to learn"}}
ABOUT = """`python benchmarks/verdicts.py`. The default recipe, tiles of 128 px; whole wells are held out, each once per
seed; every seed is judged alone. *training* and *held out*: balanced accuracy, the latter with its 95 % confidence
interval over wells."""


def judged(name: str, data: Path, seeds: int, work: Path) -> pd.DataFrame:
    """Run the experiment on a set, or go on with it; give a row per seed."""
    out = work / name
    words = ["experiment", str(data / name), "--out", str(out), "--tile-px", "128", "--group-by", "^(...)"]
    words += ["--runs", str(seeds), "--folds", str(SETS[name]), "--no-null", "--no-curve", "--no-pair"]
    if napari_cellclass([*words, "--progress", "none"]):
        sys.exit(1)
    found = pd.read_csv(out / "verdicts.csv")
    return pd.DataFrame(
        {
            "set": name,
            "seed": found["seed"],
            "training": found["training"].map("{:.3f}".format),
            "held out": found["held_out"].map("{:.3f}".format),
            "95 % confidence interval": [f"{row.lo:.3f} to {row.hi:.3f}" for row in found.itertuples()],
            "verdict": found["verdict"],
            "right": found["verdict"].isin(RIGHT[name]).map({True: "yes", False: "no"}),
        }
    )


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "napari-cellclass-verdicts")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    table = pd.concat([judged(name, given.data, given.seeds, given.work) for name in given.sets])
    write_section(given.out, "Learned or memorised", f"{ABOUT}\n\n{markdown(table)}")
    print(markdown(table))


if __name__ == "__main__":
    main()
