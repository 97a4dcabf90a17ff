"""Images for napari's File > Open Sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from napari_cellclass.core.common.files import atomic_folder
from napari_cellclass.core.datasets.tile_provenance import TILE_LIST
from napari_cellclass.core.datasets.writing import write_class_folders
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.samples.realfield import IHC_TILE_PX, ihc_field
from napari_cellclass.core.samples.synthetic import (
    PIXEL_SIZE_UM,
    SyntheticField,
    inseparable_plate,
    separable_plate,
)
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.tile_size import TileSizeProposal
from napari_cellclass.viewer.common.layers import PROPOSAL_KEY

LayerData = tuple[Any, dict[str, Any], str]

_WELLS_PER_CLASS = 2
_GAP_PX = 16
_DATASET_WELLS, _DATASET_SITES, _DATASET_PX, _DATASET_TILE_PX = 6, 2, 256, 128


def ihc_sample() -> list[LayerData]:
    """Open a real stained field: RGB, 512 x 512 px, pixel size not known."""
    field = ihc_field()
    proposal = TileSizeProposal(IHC_TILE_PX, f"{IHC_TILE_PX} px tiles, about one gland cell of this sample")
    metadata = {"source": "skimage.data.immunohistochemistry", PROPOSAL_KEY: proposal}
    return [(field.data, {"name": field.name, "rgb": True, "metadata": metadata}, "image")]


def separable_plate_sample() -> list[LayerData]:
    """Open synthetic fields whose classes are easy to tell apart, side by side: a class per row."""
    return _plate_layers(separable_plate)


def inseparable_plate_sample() -> list[LayerData]:
    """Open synthetic fields whose classes hardly differ, side by side: a class per row."""
    return _plate_layers(inseparable_plate)


def dataset_folder_sample() -> list[LayerData]:
    """Open a small data set that can be trained on at once: a notification names its folder, in the user's data folder.

    The 96 tiles of twelve synthetic wells, written once as class folders with the well in each file's name.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    from napari.utils.notifications import show_info

    from napari_cellclass.viewer.io.montage import dataset_layers

    folder = sample_dataset()
    show_info(f"This data set is in {folder}; choose that folder in the widget Train.")
    return list(dataset_layers(folder))


def sample_dataset() -> Path:
    """Write the sample data set, unless it exists, and return its folder."""
    folder = platformdirs.user_data_path("napari-cellclass", appauthor=False) / "samples" / "plate"
    if (folder / TILE_LIST).is_file():
        return folder
    with atomic_folder(folder) as temporary:
        plate = separable_plate(
            seed=0, wells_per_class=_DATASET_WELLS, sites_per_well=_DATASET_SITES, field_px=_DATASET_PX
        )
        for field in plate:
            source = SourceImage(field.pixels[..., None], field.stem, pixel_size_um=(PIXEL_SIZE_UM, PIXEL_SIZE_UM))
            grid = TileGrid.regular(source.shape, _DATASET_TILE_PX)
            write_class_folders(temporary, source, grid, [field.class_name] * len(grid))
    return folder


def _plate_layers(plate: Callable[..., Iterator[SyntheticField]]) -> list[LayerData]:
    fields = plate(seed=0, wells_per_class=_WELLS_PER_CLASS, sites_per_well=1)
    return [_layer(field, *divmod(i, _WELLS_PER_CLASS)) for i, field in enumerate(fields)]


def _layer(field: SyntheticField, row: int, column: int) -> LayerData:
    """Make a layer of a field, at its position among the others."""
    height, width = field.pixels.shape
    # Contrast limits per field: with common ones differences in brightness would dominate, and they mean nothing.
    low, high = np.percentile(field.pixels, (0.5, 99.7))
    keywords = {
        "name": f"{field.class_name} {field.stem}",
        "scale": (PIXEL_SIZE_UM, PIXEL_SIZE_UM),
        "units": ("um", "um"),
        "translate": (
            row * (height + _GAP_PX) * PIXEL_SIZE_UM,
            column * (width + _GAP_PX) * PIXEL_SIZE_UM,
        ),
        "contrast_limits": (float(low), float(high)),
        "metadata": {
            "class_name": field.class_name,
            "well": field.well,
            "site": field.site,
            "centres_px": field.centres,
        },
    }
    return field.pixels, keywords, "image"
