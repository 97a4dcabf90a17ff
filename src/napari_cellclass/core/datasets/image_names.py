"""The names by which the images of a data set are grouped, found without opening any."""

from __future__ import annotations

from pathlib import Path

from napari_cellclass.core.common.csv_tables import find_column, read_table
from napari_cellclass.core.common.names import listed_path
from napari_cellclass.core.datasets.class_images import image_folders
from napari_cellclass.core.datasets.tile_provenance import TileOrigins, is_tile_list, tile_list_to_boxes


def names_to_group(data: Path) -> list[str]:
    """List the names that ``--group-by`` is matched with.

    Parameters
    ----------
    data
        A folder with one sub-folder of images per class, or a list of tiles.

    Returns
    -------
    list of str
        One per image, of tiles that were cut from a field the field's; empty where there are no images.

    Raises
    ------
    DatasetError
        The folder or list cannot be read.
    """
    if data.suffix.lower() == ".csv":
        frame = read_table(data)
        cut = is_tile_list(frame)
        origins = TileOrigins([data.parent] if cut else [], data.name)
        frame = tile_list_to_boxes(frame, data) if cut else frame
        find_column(frame, ("path",), data, "'path'")
        files = [listed_path(data.parent, text) for text in dict.fromkeys(frame["path"])]
    else:
        folders = image_folders(data)
        origins = TileOrigins([data, *(paths[0].parent for paths in folders.values())])
        files = [path for paths in folders.values() for path in paths]
    found = [origins.find(path) for path in files]
    return [str(origin.name) if origin else path.name for origin, path in zip(found, files, strict=True)]
