"""What ``import napari_cellclass`` gives, for type checkers: at run time it is imported when it is used."""

from napari_cellclass.api import (
    AnnotatedField as AnnotatedField,
)
from napari_cellclass.api import (
    CellClassError as CellClassError,
)
from napari_cellclass.api import (
    EvaluatedSet as EvaluatedSet,
)
from napari_cellclass.api import (
    FeatureTable as FeatureTable,
)
from napari_cellclass.api import (
    ModelBundle as ModelBundle,
)
from napari_cellclass.api import (
    Progress as Progress,
)
from napari_cellclass.api import (
    RunReport as RunReport,
)
from napari_cellclass.api import (
    SourceImage as SourceImage,
)
from napari_cellclass.api import (
    Task as Task,
)
from napari_cellclass.api import (
    TileGrid as TileGrid,
)
from napari_cellclass.api import (
    TileTable as TileTable,
)
from napari_cellclass.api import (
    classify as classify,
)
from napari_cellclass.api import (
    classify_plate as classify_plate,
)
from napari_cellclass.api import (
    evaluate as evaluate,
)
from napari_cellclass.api import (
    features as features,
)
from napari_cellclass.api import (
    label as label,
)
from napari_cellclass.api import (
    live as live,
)
from napari_cellclass.api import (
    open_image as open_image,
)
from napari_cellclass.api import (
    open_model as open_model,
)
from napari_cellclass.api import (
    tiles as tiles,
)
from napari_cellclass.api import (
    to_anndata as to_anndata,
)
from napari_cellclass.api import (
    train as train,
)
from napari_cellclass.api import (
    write_labels as write_labels,
)

__version__: str

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
