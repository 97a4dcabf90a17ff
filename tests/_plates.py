"""Small plates for tests, and what is true of every folder of results."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image

from napari_cellclass.core.common.csv_safe import unescape_formulas
from napari_cellclass.core.samples.realfield import ihc_field


def write_plate(folder: Path, fields: int, px: int = 96, sites: int = 2) -> list[Path]:
    """Write crops of the real field under names of wells: A01f0.png, A01f1.png, A02f0.png, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    pixels = ihc_field().data
    paths = []
    for i in range(fields):
        well = i // sites
        y, x = rng.integers(0, pixels.shape[0] - px, 2)
        path = folder / f"{'ABCDEFGH'[well // 12]}{well % 12 + 1:02d}f{i % sites}.png"
        Image.fromarray(pixels[y : y + px, x : x + px]).save(path)
        paths.append(path)
    return paths


def tables(out: Path) -> dict[str, str]:
    """Hashes of everything that must not depend on how a run went: all tables, but for the report and its times."""
    kinds = (".tiles.csv", ".geojson", ".run.json", "fields.csv", "wells.csv")
    files = [path for path in out.iterdir() if path.name.endswith(kinds)]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_plate_table(path: Path) -> pd.DataFrame:
    """Read ``fields.csv`` or ``wells.csv`` again."""
    text = {"image": str, "stem": str, "well": str, "state": str}
    frame = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""], encoding="utf-8")
    frame["well"] = frame["well"].fillna("")
    return unescape_formulas(frame)


def assert_files_are_whole(out: Path) -> int:
    """Check, at any moment of a run, that every file under its name is whole; give how many fields are finished."""
    finished = 0
    # A file whose name begins with a dot is being written, by a cluster's worker even after the run was killed.
    for path in out.glob("[!.]*.run.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        assert record["complete"]
        finished += 1
    for path in out.glob("[!.]*.geojson"):
        json.loads(path.read_text(encoding="utf-8"))
    for path in out.glob("[!.]*.tiles.csv"):
        text = path.read_text(encoding="utf-8")
        assert text.endswith("\n")
        assert len({line.count(",") for line in text.splitlines()}) == 1
    return finished


def pool_workers(pid: int) -> list[psutil.Process]:
    """Find the processes that a run has started for its images."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    return [child for child in children if any("spawn_main" in word for word in _command(child))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
