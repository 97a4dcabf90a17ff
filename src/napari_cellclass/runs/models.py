"""Open a model and what runs it: the one door of the widgets and the command line to the engines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_cellclass.core.bundle import ModelBundle
from napari_cellclass.core.contracts import ParamsError
from napari_cellclass.engine.inference import Engine, open_engine
from napari_cellclass.engine.keras_file import NeedsAnswersError, open_model

__all__ = ["Engine", "NeedsAnswersError", "class_list", "load_model", "open_engine"]


def load_model(path: Path, classes: Sequence[str] | None = None, rescale: float | None = None) -> ModelBundle:
    """Open a ``.cellclass`` model, or convert a ``.keras`` file once and open that.

    Raises
    ------
    ModelError
        Missing, damaged or refused.
    NeedsAnswersError
        A ``.keras`` file that does not tell its class names or its grey-value range.
    """
    return open_model(path, classes, rescale)


def class_list(text: str | None) -> tuple[str, ...] | None:
    """Read ``"a,b"``; None stands for not given."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ParamsError(f"--classes {text!r} has an empty name; write e.g. diffuse,puncta")
    return names
