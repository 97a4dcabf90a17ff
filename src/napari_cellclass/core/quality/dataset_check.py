"""Check a data set before training: what is used, what is left out, and what would bias the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.findings import Finding, counted, first_few
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.class_images import OpenedImages, ReadImage
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, GridOf, TileDataset
from napari_cellclass.core.datasets.renaming import JOURNAL
from napari_cellclass.core.datasets.split import split_by_group
from napari_cellclass.core.datasets.tile_provenance import TILE_LIST
from napari_cellclass.core.datasets.tiles_csv import is_tiles_csv, read_dataset
from napari_cellclass.core.images.reading import is_image_name, is_system_file_name, is_zarr, read_image
from napari_cellclass.core.images.scenes import SEVERAL_IMAGES
from napari_cellclass.core.quality.confounds import check_groups, find_confounds
from napari_cellclass.core.quality.near_duplicates import find_near_duplicates
from napari_cellclass.core.quality.shortcuts import evaluate_quick_shortcuts, shortcut_alarms
from napari_cellclass.core.quality.tile_measurements import TileStats, measure_tiles

_SATURATED_TILE = 0.01  # fraction of a tile's values at the top of the range
_LARGE_EFFECT = 0.8  # of Cohen's d (Cohen 1988)
_MAX_IMBALANCE = 10


@dataclass(frozen=True, eq=False)
class DataReport:
    """What a check found.

    Parameters
    ----------
    path
        The folder or list of tiles.
    findings
        The worst first.
    data
        The tiles that training would use, split as it would split them; None where it could not train.
    intensity
        A row per class: class_name, tiles, groups, mean, sd, darkest and brightest tile's mean, saturated
        (fraction of the tiles), in grey values over all channels.
    """

    path: Path
    findings: tuple[Finding, ...]
    data: TileDataset | None
    intensity: pd.DataFrame

    @property
    def trainable(self) -> bool:
        """Whether a training would start."""
        return self.data is not None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dict; ``images`` are those that training uses."""
        data = self.data
        return {
            "path": str(self.path),
            "trainable": self.trainable,
            "findings": [finding.to_json() for finding in self.findings],
            "tiles": 0 if data is None else len(data),
            "split_rule": "" if data is None else data.split_rule,
            "images": [] if data is None else [str(path) for path in data.paths],
            "intensity": [
                {name: value if isinstance(value, str) or np.isfinite(value) else None for name, value in row.items()}
                for row in self.intensity.to_dict("records")
            ],
        }


def check_folder(
    path: Path,
    grid: GridOf | None = None,
    group_by: str | None = None,
    read: ReadImage = read_image,
    task: Task = NO_TASK,
    val_fraction: float = 0.25,
    open_data: Callable[..., TileDataset] | None = None,
) -> DataReport:
    """Check class folders or a list of tiles by doing what training does, and measuring every tile.

    Parameters
    ----------
    path, grid, group_by, read
        See :func:`read_dataset`.
    task
        Reports and is checked once per image, then every 64 tiles.
    val_fraction
        Fraction of the groups that training will hold out.
    open_data
        Opens ``path`` where it is neither a folder nor a list, with the parameters of :func:`read_dataset`.

    Raises
    ------
    DatasetError
        ``path`` is neither a folder nor a list, or ``group_by`` does not fit.
    CancelledError
        The task was cancelled.
    """
    listed = is_tiles_csv(path) or open_data is not None
    if not listed and not path.is_dir():
        raise DatasetError(f"{path} is not a folder; give a folder that holds one sub-folder per class, or a TILES.csv")
    seen: list[OpenedImages] = []
    findings = [] if listed else list(_entries(path))
    data: TileDataset | None = None
    try:
        data = (open_data or read_dataset)(path, grid, group_by, read, task=task, on_opened=seen.append)
    except DatasetError as error:
        findings.append(Finding("error", "not-trainable", str(error)))
    findings += [finding for images in seen for finding in _left_out(images, listed)]
    intensity = pd.DataFrame()
    if data is not None:
        try:
            data = split_by_group(data, val_fraction)
        except DatasetError as error:
            findings.append(Finding("error", "not-trainable", str(error)))
        findings += check_dataset(data)
        stats = measure_tiles(data, task)
        intensity = intensity_table(data, stats)
        findings += _pixels(data, stats)
        findings += _near_duplicates(data, stats)
        findings += _brightness(data, stats)
        findings += _shortcuts(data, stats, {finding.code for finding in findings})
    if any(finding.severity == "error" for finding in findings):
        data = None
    order = {"error": 0, "warning": 1, "note": 2}
    return DataReport(path, tuple(sorted(findings, key=lambda one: order[one.severity])), data, intensity)


def check_dataset(data: TileDataset) -> tuple[Finding, ...]:
    """Check what is known without reading pixels: sizes, numbers of tiles and groups, confounding."""
    return (*_sizes(data), *check_groups(data), *_balance(data), *find_confounds(data))


def _entries(folder: Path) -> Iterator[Finding]:
    """Report what lies in a folder of classes and is neither a class nor an image."""
    ours = {JOURNAL, TILE_LIST}
    entries = sorted((one for one in folder.iterdir() if one.name not in ours), key=lambda entry: entry.name)
    classes = [one for one in entries if one.is_dir() and not is_system_file_name(one.name) and not is_zarr(one)]
    inside = [(one, sorted(one.iterdir(), key=lambda entry: entry.name)) for one in classes]
    everything = [*entries, *(entry for _, mine in inside for entry in mine)]
    phantoms = [entry for entry in everything if is_system_file_name(entry.name)]
    if phantoms:
        yield _files("note", "phantom", phantoms, "left behind by the operating system", "no image, and ignored")
    empty = [one for one, mine in inside if not any(is_image_name(entry.name) for entry in mine)]
    if empty:
        names = first_few([one.name for one in empty])
        text = f"{counted(len(empty), 'sub-folder')} without an image ({names}): no class is made of it"
        yield Finding("warning", "empty-folder", text, tuple(empty))
    loose = [entry for entry in entries if entry.is_file() and is_image_name(entry.name)]
    if loose:
        yield _files("warning", "loose-image", loose, "in no class folder", "ignored")
    rest = [entry for _, mine in inside for entry in mine if not is_system_file_name(entry.name)]
    nested = [entry for entry in rest if entry.is_dir() and not is_image_name(entry.name)]
    if nested:
        names = first_few([f"{entry.parent.name}/{entry.name}" for entry in nested])
        text = f"{counted(len(nested), 'folder')} within a class folder ({names}): its images are not used"
        yield Finding("warning", "nested-folder", text, tuple(nested))
    others = [entry for entry in rest if entry.is_file() and not is_image_name(entry.name)]
    if others:
        yield _files("note", "not-an-image", others, "of another kind", "ignored")


def _files(severity: Any, code: str, paths: list[Path], what: str, fate: str) -> Finding:
    names = first_few([path.name for path in paths])
    return Finding(severity, code, f"{counted(len(paths), 'file')} {what} ({names}): {fate}", tuple(paths))


def _left_out(images: OpenedImages, listed: bool) -> Iterator[Finding]:
    for code, left_out in (
        ("unreadable", images.unreadable),
        ("unlike-most", images.inconsistent),
        ("duplicate", images.duplicates),
        ("duplicate-across-classes", images.label_conflicts),
    ):
        for path, reason in left_out:
            yield Finding("warning", code, f"left out: {reason}", (path,))
    several = [one.path for one in images.entries if any(n.startswith(SEVERAL_IMAGES) for n in one.source.notes)]
    if several and not listed:
        names = first_few([path.name for path in several])
        text = f"{counted(len(several), 'file')} with more than one image ({names}): only the first of each is used; "
        yield Finding("warning", "several-images", text + "cut them into tiles, which takes all", tuple(several))
    if images.inconsistent and not listed:
        inconsistent = Counter(path.parent.name for path, _ in images.inconsistent)
        kept = Counter(entry.class_name for entry in images.entries)
        name, count = inconsistent.most_common(1)[0]
        if len(inconsistent) == 1 and count >= 2 and count >= kept[name]:
            text = f"{count} of {count + kept[name]} images of class {name!r} have other channels or another bit depth "
            yield Finding(
                "warning", "confounded-depth", text + "than all other classes: they were acquired differently"
            )


def _sizes(data: TileDataset) -> Iterator[Finding]:
    sizes = Counter(map(tuple, (data.boxes[:, 2:] - data.boxes[:, :2]).tolist()))
    if len(sizes) > 1:
        listed = ", ".join(f"{width} x {height} px ({count:,})" for (height, width), count in sizes.most_common(3))
        more = f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""
        yield Finding("note", "sizes", f"tiles differ in size: {listed}{more}; all are resized to the network's input")


def _balance(data: TileDataset) -> Iterator[Finding]:
    counts = np.bincount(data.labels, minlength=len(data.scheme))
    if counts.min() and counts.max() > _MAX_IMBALANCE * counts.min():
        most, least = data.scheme.names[int(counts.argmax())], data.scheme.names[int(counts.argmin())]
        text = f"class {most!r} has {counted(int(counts.max()), 'tile')}, {least!r} only {counts.min():,}"
        yield Finding("note", "unbalanced", f"{text}; use the balanced accuracy, and see the recall of {least!r}")


def intensity_table(data: TileDataset, stats: TileStats) -> pd.DataFrame:
    """Sum up the tiles' grey values class by class; see :class:`DataReport`."""
    mean, sd = stats.mean.mean(axis=1), stats.sd.mean(axis=1)
    rows = []
    for label, name in enumerate(data.scheme.names):
        mine = (data.labels == label) & np.isfinite(mean)
        if mine.any():
            rows.append(
                {
                    "class_name": name,
                    "tiles": int(mine.sum()),
                    "groups": len(set(data.groups[mine])),
                    "mean": float(mean[mine].mean()),
                    "sd": float(sd[mine].mean()),
                    "darkest": float(mean[mine].min()),
                    "brightest": float(mean[mine].max()),
                    "saturated": float((stats.saturated[mine] > _SATURATED_TILE).mean()),
                }
            )
    return pd.DataFrame(rows)


def _pixels(data: TileDataset, stats: TileStats) -> Iterator[Finding]:
    table = intensity_table(data, stats)
    if len(table):
        listed = "; ".join(
            f"{row.class_name!r} {row.mean:.4g} (tiles {row.darkest:.4g} to {row.brightest:.4g})"
            for row in table.itertuples()
        )
        yield Finding("note", "intensity", f"mean grey values: {listed}")
    clipped = table[table["saturated"] > 0.05] if len(table) else table
    if len(clipped):
        listed = ", ".join(f"{row.saturated:.0%} of the tiles of {row.class_name!r}" for row in clipped.itertuples())
        differ = table["saturated"].max() - table["saturated"].min() > 0.5
        yield Finding(
            "warning" if differ else "note",
            "saturated",
            f"more than 1 % of the pixels are saturated in {listed}; what is brighter than that is lost",
        )
    flat = [data.paths[i] for i in np.unique(data.image[stats.flat])]
    if flat:
        names = first_few([one.name for one in flat])
        text = f"{counted(int(stats.flat.sum()), 'tile')} of one grey value only, in {names}"
        yield Finding("warning", "empty-tiles", text + ": they show nothing; remove them", tuple(flat))
    bad = ~np.isfinite(stats.mean).all(axis=1)
    if bad.any():
        paths = tuple(data.paths[i] for i in np.unique(data.image[bad]))
        names = first_few([one.name for one in paths])
        text = f"{counted(int(bad.sum()), 'tile')} with NaN or infinite pixels, in {names}: left out of training"
        yield Finding("warning", "nonfinite", text, paths)


def _near_duplicates(data: TileDataset, stats: TileStats) -> Iterator[Finding]:
    pairs = find_near_duplicates(stats.hashes, stats.thumbnails, data.groups, ~stats.flat)
    if not len(pairs):
        return
    sides = data.split[pairs]
    torn = ((sides == TRAIN).any(axis=1)) & ((sides == VALIDATION).any(axis=1))
    across = data.labels[pairs[:, 0]] != data.labels[pairs[:, 1]]
    first = pairs[np.argsort(~torn, kind="stable")][0]
    a, b = (data.paths[data.image[i]].name for i in first)
    text = (
        f"{counted(len(pairs), 'pair')} of tiles in different groups look the same, such as one of {a} and one of {b}"
    )
    if torn.any():
        text += f"; {torn.sum():,} of them are trained on and held out, so the accuracy will look better than it is"
    if across.any():
        text += f"; {across.sum():,} have two classes"
    files = tuple(data.paths[i] for i in np.unique(data.image[pairs]))
    yield Finding("warning", "near-duplicate", f"{text}; give copies one group with --group-by, or remove them", files)


def _brightness(data: TileDataset, stats: TileStats) -> Iterator[Finding]:
    """Report classes whose groups are brighter or darker than all others', in the channel where they differ most."""
    frame = pd.DataFrame(stats.mean).assign(label=data.labels, group=data.groups.astype(str)).dropna()
    means = frame.groupby(["label", "group"], as_index=False).mean()
    for label in sorted(means["label"].unique())[: 1 if len(data.scheme) == 2 else None]:
        mine, rest = (means.loc[where, list(range(data.channels))].to_numpy() for where in
                      (means["label"] == label, means["label"] != label))  # fmt: skip
        if min(len(mine), len(rest)) < 2:
            continue
        effects = [cohens_d(mine[:, channel], rest[:, channel]) for channel in range(data.channels)]
        channel = int(np.argmax(np.abs(effects)))
        if abs(effects[channel]) < _LARGE_EFFECT:
            continue
        a, b = mine[:, channel], rest[:, channel]
        apart = a.min() > b.max() or a.max() < b.min()
        where = f" in channel {channel}" if data.channels > 1 else ""
        other = repr(data.scheme.names[1 - label]) if len(data.scheme) == 2 else "the others"
        yield Finding(
            "warning" if apart else "note",
            "brightness",
            f"class {data.scheme.names[label]!r} is {'brighter' if effects[channel] > 0 else 'darker'} than "
            f"{other}{where}: mean grey value {a.mean():.4g} against {b.mean():.4g}, effect size "
            f"d = {effects[channel]:.1f} over {len(a)} and {len(b)} groups"
            + ("; every group of one is brighter than all of the other: check the exposure" if apart else ""),
        )


def _shortcuts(data: TileDataset, stats: TileStats, reported: set[str]) -> Iterator[Finding]:
    """Report what a linear model reaches with brightness, position or the file alone, unless it is reported already."""
    if not np.isfinite(stats.mean).all(axis=1).any():
        return
    position = any(code.startswith("confounded-plate") for code in reported)
    file = not reported.isdisjoint({"confounded-format", "confounded-size"})
    for finding in shortcut_alarms(evaluate_quick_shortcuts(data, stats.mean)):
        if not (position and finding.code == "shortcut-position") and not (file and finding.code == "shortcut-file"):
            yield finding


def cohens_d(a: np.ndarray, b: np.ndarray) -> float:
    """Return the difference of means in units of the pooled standard deviation (Cohen 1988); bounded by 99."""
    variance = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (len(a) + len(b) - 2)
    difference = float(a.mean() - b.mean())
    return float(np.clip(difference / max(np.sqrt(variance), 1e-9 * max(1.0, abs(difference))), -99, 99))
