"""The labelled images of the accuracy benchmark as lists of tiles: what to train on, and what is held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.images.reading import list_images, read_image
from napari_cellclass.core.tiles.grid import TileGrid

_GAINS = {"gain x2": 2.0, "gain x0.5": 0.5}
_CELL_TYPES = ("normal", "target", "spherocyte", "hypochromia")
_CELL_PX = 72


@dataclass(frozen=True)
class Fold:
    """Lists of tiles (TILES.csv) of one way to hold out groups.

    Parameters
    ----------
    name
        Of the set, and of the fold.
    train
        What is trained on, with the groups that training itself splits by.
    tests
        What is held out, by condition; its groups are what the intervals are made over.
    """

    name: tuple[str, str]
    train: Path
    tests: dict[str, Path]


def _table(path: Path, class_name: str, tile_px: int) -> pd.DataFrame:
    """All tiles of a field: path, box, class_name, and the place in the grid."""
    grid = TileGrid.regular(read_image(path).shape, tile_px)
    frame = pd.DataFrame(grid.boxes, columns=["y0", "x0", "y1", "x1"])
    frame.insert(0, "path", str(path.resolve()))
    return frame.assign(class_name=class_name, row=grid.row, col=grid.col, field=f"{class_name}/{path.name}")


def _classes(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    for sub in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield sub.name, list_images(sub)


def _write(frame: pd.DataFrame, group: pd.Series, path: Path) -> Path:
    columns = ["path", "y0", "x0", "y1", "x1", "class_name"]
    with atomic_write(path) as temporary:
        frame[columns].assign(group=group.to_numpy()).to_csv(temporary, index=False, lineterminator="\n")
    return path


def _fold(name: tuple[str, str], out: Path, train: tuple[pd.DataFrame, pd.Series], tests: dict) -> Fold:
    folder = out / "_".join(name).replace(" ", "_")
    written = {kind: _write(*test, folder / f"test_{i}.csv") for i, (kind, test) in enumerate(tests.items())}
    return Fold(name, _write(*train, folder / "train.csv"), written)


def transfluor(data: Path, out: Path) -> Iterator[Fold]:
    """Give two folds: each holds out one puncta well and two diffuse wells; 128 px.

    Also with the grey values of the held-out puncta fields doubled (up to 255) and halved.
    """
    fields = [(name, path) for name, paths in _classes(data / "transfluor") for path in paths]
    for held in (("O05", "O12", "O14"), ("O07", "O16", "O18")):
        frame = pd.concat([_table(path, name, 128) for name, path in fields])
        well = frame["field"].str.extract(r"/(...)", expand=False)
        test = well.isin(held)
        tests = {"": (frame[test], well[test])}
        for kind, gain in _GAINS.items():
            changed = frame[test].copy()
            puncta = changed["class_name"] == "puncta"
            changed.loc[puncta, "path"] = [_with_gain(Path(p), gain, out) for p in changed.loc[puncta, "path"]]
            tests[kind] = changed, well[test]
        yield _fold(("transfluor", "+".join(held)), out, (frame[~test], frame["field"][~test]), tests)


def _with_gain(path: Path, gain: float, out: Path) -> str:
    target = out / f"gain{gain:g}" / path.name
    if not target.exists():
        pixels = read_image(path).data[..., 0]
        target.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(target, np.clip(np.round(np.asarray(pixels, float) * gain), 0, 255).astype(np.uint8))
    return str(target.resolve())


def _halves(name: str, frame: pd.DataFrame, along: str, out: Path) -> Iterator[Fold]:
    """Give two folds of sets with one field per class: one half of the rows or columns of tiles, then the other."""
    count = frame.groupby("field")[along].transform("max") + 1
    first = frame[along] < count / 2
    strip = frame["field"] + "/" + along + frame[along].astype(str)
    for fold, test in (("second half", ~first), ("first half", first)):
        yield _fold((name, fold), out, (frame[~test], strip[~test]), {"": (frame[test], strip[test])})


def bbbc013_cells(data: Path, out: Path) -> Iterator[Fold]:
    """Give two folds: the left and the right half of each montage of cells, 64 px, 2 channels."""
    frame = pd.concat([_table(p, name, 64) for name, paths in _classes(data / "bbbc013_cells") for p in paths])
    return _halves("bbbc013_cells", frame, "col", out)


def _pair(name: str, tile_px: int) -> Callable[[Path, Path], Iterator[Fold]]:
    def folds(data: Path, out: Path) -> Iterator[Fold]:
        folder = data / "neubias_pairs" / name
        frame = pd.concat([_table(p, class_name, tile_px) for class_name, paths in _classes(folder) for p in paths])
        return _halves(f"neubias {name}", frame, "row", out)

    return folds


def chula_disease(data: Path, out: Path) -> Iterator[Fold]:
    """Give three folds: one field of each of five diseases is held out, 192 px, RGB.

    Two fields of a disease are left, so training's own validation is by column of tiles.
    """
    tables = [
        _table(path, name, 192).assign(number=number)
        for name, paths in _classes(data / "chula_disease")
        for number, path in enumerate(paths)
    ]
    frame = pd.concat(tables)
    column = frame["field"] + "/col" + frame["col"].astype(str)
    for number in range(3):
        test = frame["number"] == number
        tests = {"": (frame[test], frame["field"][test])}
        yield _fold(("chula_disease", f"field {number + 1}"), out, (frame[~test], column[~test]), tests)


def chula_rbc12(data: Path, out: Path) -> Iterator[Fold]:
    """Give two folds: half of the fields is held out, 72 px around points of the four commonest types.

    The halves are made alike: field by field, the largest first, to where its types are rarer.
    """
    points = pd.read_csv(data / "chula_rbc12" / "labels.csv")
    points = points[points["name"].isin(_CELL_TYPES)]
    counts = pd.crosstab(points["image"], points["name"])
    half: dict[str, int] = {}
    sums = np.zeros((2, len(counts.columns)))
    for image in counts.sum(axis=1).sort_values(ascending=False, kind="stable").index:
        share = counts.loc[image].to_numpy() / counts.sum().to_numpy()
        half[image] = int((sums[0] * share).sum() > (sums[1] * share).sum())
        sums[half[image]] += share
    files = {path.name: path for path in (data / "chula_rbc12").rglob("*.jpg")}
    rows = []
    for point in points.itertuples():
        height, width = read_image(files[point.image]).shape
        y0 = int(np.clip(point.y - _CELL_PX // 2, 0, height - _CELL_PX))
        x0 = int(np.clip(point.x - _CELL_PX // 2, 0, width - _CELL_PX))
        third = x0 * 3 // width
        box = (str(files[point.image].resolve()), y0, x0, y0 + _CELL_PX, x0 + _CELL_PX)
        rows.append((*box, point.name, point.image, f"{point.image}/{third}"))
    frame = pd.DataFrame(rows, columns=["path", "y0", "x0", "y1", "x1", "class_name", "field", "third"])
    for number in (0, 1):
        test = frame["field"].map(half) == number
        tests = {"": (frame[test], frame["field"][test])}
        yield _fold(("chula_rbc12", f"half {number + 1}"), out, (frame[~test], frame["third"][~test]), tests)


SETS: dict[str, Callable[[Path, Path], Iterator[Fold]]] = {
    "transfluor": transfluor,
    "bbbc013_cells": bbbc013_cells,
    "chula_disease": chula_disease,
    "chula_rbc12": chula_rbc12,
    "neubias PLK1": _pair("PLK1", 64),
    "neubias bacteria_cords": _pair("bacteria_cords", 64),
    "neubias mitocheck_incenp": _pair("mitocheck_incenp", 48),
}
