"""The Python interface for notebooks and scripts: what the verbs of the command line do, with arrays and tables.

``import napari_cellclass as cc`` gives all of it. Every function takes an image as a path, an array or what
:func:`open_image` returned, and a model as a path or what :func:`open_model` returned; settings have the names and
meanings of the flags of the command line. Errors are :class:`~napari_cellclass.core.common.errors.CellClassError`, with
one line that says what was wrong and what to do.
"""

from napari_cellclass.api.exports import to_anndata, write_labels
from napari_cellclass.api.images import label, open_image, open_model, tiles
from napari_cellclass.api.predictions import classify, classify_plate, features, live
from napari_cellclass.api.training import evaluate, train
from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Progress, Task
from napari_cellclass.core.evaluation.results import EvaluatedSet
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.runs.classify.batch import RunReport
from napari_cellclass.runs.features.files import FeatureTable
from napari_cellclass.runs.train.annotated_fields import AnnotatedField

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
