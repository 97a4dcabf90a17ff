"""Open models and engines: the only entry point to the engines for widgets and command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.params.evaluate import EvaluateParams
from napari_cellclass.core.params.explain import ExplainParams
from napari_cellclass.engine.inference.engines import Engine, check_golden, open_engine
from napari_cellclass.engine.inference.keras_import import KerasDetailsError, open_model
from napari_cellclass.engine.inference.precision import choose_precision, slow_int8_reason

__all__ = [
    "Engine",
    "KerasDetails",
    "KerasDetailsError",
    "choose_precision",
    "load_model",
    "open_engine",
    "verify_model",
]  # fmt: skip


@dataclass(frozen=True)
class KerasDetails:
    """What a ``.keras`` file does not contain and a user must say.

    Parameters
    ----------
    classes
        Names in the order of the outputs.
    rescale
        Grey value that the network expects as 1, e.g. 255.
    tile_px
        Side of a tile, where the network takes any.
    """

    classes: tuple[str, ...] | None = None
    rescale: float | None = None
    tile_px: int | None = None

    @classmethod
    def of(cls, params: ClassifyParams | EvaluateParams | ExplainParams) -> KerasDetails:
        """Take the details that were given as flags."""
        return cls(_class_list(params.classes), params.rescale, params.tile_px)


def load_model(path: Path, keras_details: KerasDetails | None = None) -> ModelBundle:
    """Open a ``.cellclass`` model, or convert a ``.keras`` file once and open that.

    Raises
    ------
    ModelError
        Missing, damaged or refused.
    KerasDetailsError
        A ``.keras`` file that does not contain its class names or its grey-value range.
    """
    details = keras_details or KerasDetails()
    return open_model(path, details.classes, details.rescale, details.tile_px)


def verify_model(bundle: ModelBundle) -> str:
    """Check every member's hash, run the network on its golden tiles, and say how well the probabilities agree.

    Raises
    ------
    ModelError
        A member has changed, or a probability differs from the one stored at training.
    EngineError
        The network cannot be run.
    """
    for name in bundle.manifest.files:
        bundle.member(name)
    with open_engine(bundle) as engine:
        difference = check_golden(bundle, engine)
    parts, tiles = len(bundle.manifest.files), len(bundle.golden[0])
    text = (
        f"verified  {parts} parts are as they were written; {tiles} golden tiles replayed: probabilities as "
        f"at training (largest difference {difference:.2g}, {engine.name})"
    )
    if not bundle.has_int8:
        return text
    if why := slow_int8_reason():
        return f"{text}\nint8      not replayed: {why}"
    with open_engine(bundle, precision="int8") as engine:
        difference = check_golden(bundle, engine)
    return f"{text}\nint8      replayed too: probabilities as when it was made (largest difference {difference:.2g})"


def _class_list(text: str | None) -> tuple[str, ...] | None:
    """Read ``"a,b"``; None stands for not given."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ParamsError(f"--classes {text!r} has an empty name; write e.g. diffuse,puncta")
    return names
