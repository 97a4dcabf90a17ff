"""Names of the files beside a model: its runs, their tables, its test results, unfinished and recovered models."""

from __future__ import annotations

from pathlib import Path

from napari_cellclass.core.models.bundle import SUFFIX

_PARTIAL = ".partial"


def partial_path(out: Path) -> Path:
    """Return the path of the best model so far while ``out`` is being trained."""
    return out.with_name(f"{out.stem}{_PARTIAL}{SUFFIX}")


def partial_paths(folder: Path) -> list[Path]:
    """List the unfinished models in a folder."""
    return list(folder.glob(f"*{_PARTIAL}{SUFFIX}"))


def recovered_path(out: Path) -> Path:
    """Return the path at which the best model of a training that was killed is kept."""
    return out.with_name(f"{out.stem}.rescued{out.suffix}")


def run_model_path(out: Path, run: int, ensemble: bool) -> Path:
    """Return the path of the model of one of several runs, counted from 0; an ensemble itself is written as ``out``."""
    return out if run == 0 and not ensemble else out.with_name(f"{out.stem}_run{run + 1:02d}{out.suffix}")


def run_table_path(out: Path, name: str) -> Path:
    """Return the path of a table of a model's runs; its figure lies beside it, with another suffix."""
    return out.with_name(f"{out.stem}_{name}.csv")


def evaluations_path(out: Path) -> Path:
    """Return the path of the evaluations of a model on its test sets."""
    return out.with_name(f"{out.stem}_tests.json")


def free_model_path(folder: Path, name: str) -> Path:
    """Return a path for a new model that is not there yet: ``NAME.cellclass``, else with a number."""
    number, path = 2, folder / f"{name}{SUFFIX}"
    while path.exists():
        path, number = folder / f"{name}-{number}{SUFFIX}", number + 1
    return path
