"""Classify the tiles of wide microscope fields with models of your own, inside napari.

For notebooks and scripts ``import napari_cellclass as cc`` gives the functions of :mod:`napari_cellclass.api`.

Importing this package is cheap: neither Qt, TensorFlow, OpenVINO, matplotlib nor Dask is imported.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from napari_cellclass._former_names import find_former_names

try:
    __version__ = version("napari-cellclass")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

find_former_names()

__all__ = [
    "AnnotatedField",
    "CellClassError",
    "EvaluatedSet",
    "FeatureTable",
    "ModelBundle",
    "Progress",
    "RunReport",
    "SourceImage",
    "Task",
    "TileGrid",
    "TileTable",
    "__version__",
    "classify",
    "classify_plate",
    "evaluate",
    "features",
    "label",
    "live",
    "open_image",
    "open_model",
    "tiles",
    "to_anndata",
    "train",
    "write_labels",
]


def __getattr__(name: str) -> Any:
    """Import the interface when one of its names is used (PEP 562); ``__init__.pyi`` tells type checkers of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # By name: every module imports this one for its version, and none of them the interface with it.
    return getattr(import_module("napari_cellclass.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
