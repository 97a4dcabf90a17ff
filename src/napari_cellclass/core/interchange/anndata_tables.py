"""Classified tiles as AnnData, for scanpy and squidpy: features, table and places of the tiles of one field or many."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.labels.classes import UNSURE_NAME
from napari_cellclass.core.predictions.table import NO_CLASS, TileTable

UNS_KEY = "napari_cellclass"
SUFFIX = ".h5ad"
SPATIAL, SPATIAL_UM = "spatial", "spatial_um"
"""Keys of ``obsm``: centres of the tiles as (x, y), in px, where squidpy looks, and in µm."""


@dataclass(frozen=True, eq=False)
class FieldTiles:
    """The tiles of one field.

    Parameters
    ----------
    name
        Of the field; no two have the same.
    table
        Its N tiles.
    about
        What else is known of it, such as well and condition, as text.
    features
        float32, shape (N, F), or None.
    """

    name: str
    table: TileTable
    about: Mapping[str, str] = field(default_factory=dict)
    features: NDArray[np.float32] | None = None


def check_anndata_installed(what: str) -> None:
    """Refuse where AnnData cannot be written.

    Raises
    ------
    ParamsError
        It is not installed.
    """
    if importlib.util.find_spec("anndata") is None:
        raise ParamsError(f'{what} needs anndata; install it with pip install "napari-cellclass[anndata]"')


def tiles_as_anndata(fields: Sequence[FieldTiles], feature_names: Sequence[str] = (), kinds: Sequence[str] = ()) -> Any:
    """Join the tiles of fields.

    Parameters
    ----------
    fields
        At least one, of one model.
    feature_names, kinds
        Of the F features: their names, and what they are features of. Empty where fields have none.

    Returns
    -------
    anndata.AnnData
        ``X``: float32 (N, F), or None. ``obs``: image, what else is known of it, and the columns of the table.
        ``obsm``: see :data:`SPATIAL`; µm only where the pixel size of every field is known. ``uns``:
        ``class_name_colors``, as scanpy names it, and under :data:`UNS_KEY` the record of each run as JSON.

    Raises
    ------
    ParamsError
        AnnData is not installed.
    """
    check_anndata_installed("AnnData")
    import anndata

    obs = pd.concat([_obs(one) for one in fields], ignore_index=True)
    scheme = fields[0].table.scheme
    order = [*scheme.names, UNSURE_NAME]
    for name in obs.columns:
        if name == "class_name":
            obs[name] = _categories(obs[name], order)
        elif not pd.api.types.is_numeric_dtype(obs[name]):
            obs[name] = _categories(obs[name], sorted(set(obs[name]) - {NO_CLASS}))
    index = [f"{one.name}:{tile}" for one in fields for tile in one.table.grid.tile_id.tolist()]
    obs.index = _texts(index)
    found = None if not feature_names else np.concatenate([_features(one) for one in fields])
    var = pd.DataFrame({"kind": _categories(pd.Series(list(kinds), dtype=object), sorted(set(kinds)))})
    var.index = _texts(feature_names)
    made = anndata.AnnData(found, obs=obs, var=var if feature_names else None)
    if not feature_names:
        made.var.index = _texts([])
    centres = [one.table.grid.boxes.astype(float) for one in fields]
    places = [np.column_stack([boxes[:, [1, 3]].mean(axis=1), boxes[:, [0, 2]].mean(axis=1)]) for boxes in centres]
    made.obsm[SPATIAL] = np.concatenate(places)
    sizes = [one.table.pixel_size_um for one in fields]
    if all(size is not None for size in sizes):
        made.obsm[SPATIAL_UM] = np.concatenate(
            [place * np.array(size)[::-1] for place, size in zip(places, sizes, strict=True) if size is not None]
        )
    made.uns["class_name_colors"] = np.array([_hex(scheme.rgb(k)) for k in range(len(order))], object)
    made.uns[UNS_KEY] = {
        "classes": np.array(scheme.names, object),
        "records": json.dumps({one.name: one.table.record for one in fields}, ensure_ascii=False),
    }
    return made


def write_h5ad(made: Any, path: Path) -> None:
    """Write AnnData as a file that appears when it is complete.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    with atomic_write(path) as temporary:
        made.write_h5ad(temporary, compression="gzip")


def _obs(one: FieldTiles) -> pd.DataFrame:
    columns: dict[str, Any] = {"image": np.full(len(one.table), one.name, object)}
    columns |= {name: np.full(len(one.table), text, object) for name, text in one.about.items()}
    for name, values in one.table.columns().items():
        plain = name.replace("/", "_")  # which HDF5 and Zarr take for a path
        while plain in columns:
            plain += "_"
        columns[plain] = values
    return pd.DataFrame(columns)


def _features(one: FieldTiles) -> NDArray[np.float32]:
    assert one.features is not None
    return np.asarray(one.features, np.float32)


def _texts(values: Sequence[str]) -> pd.Index:
    """Make an index of plain Python text, which every version of AnnData reads."""
    return pd.Index(np.array(list(values), object), dtype=object)


def _categories(values: pd.Series, order: Sequence[str]) -> pd.Categorical:
    """Make categories; what is none of them has none."""
    codes = _texts(order).get_indexer(values.astype(object)) if len(order) else np.full(len(values), -1)
    return pd.Categorical.from_codes(codes, categories=_texts(order))


def _hex(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
