"""What is sealed before the first tile is read: tiles and classes in their order, and the network's predictions."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.blind.container import SealedEnvelope
from napari_cellclass.core.datasets.dataset import TileDataset


def seal_tiles(
    data: TileDataset, tile_indices: NDArray[np.int64], pictures: Sequence[bytes], order: Sequence[int], **more: Any
) -> SealedEnvelope:
    """Seal where tiles are from, their classes and the hashes of their pictures.

    Parameters
    ----------
    data, tile_indices
        The data set, and which of its tiles.
    pictures
        One of each, as shown.
    order
        In which they are shown, with repeats.
    **more
        What else is sealed, such as the seed.
    """
    tiles = [
        {
            "path": str(data.paths[data.image[p]]),
            "box": [int(v) for v in data.boxes[p]],
            "class": int(data.labels[p]),
            "group": str(data.groups[p]),
            "picture": hashlib.sha256(picture).hexdigest(),
        }
        for p, picture in zip(tile_indices, pictures, strict=True)
    ]
    return SealedEnvelope.of({"salt": secrets.token_hex(32), **more, "order": list(order), "tiles": tiles})


def seal_predictions(
    prob: NDArray[np.floating[Any]],
    network_name: str,
    data: TileDataset,
    tile_indices: NDArray[np.int64],
    trained_on: Collection[Path],
) -> SealedEnvelope:
    """Seal what a network predicts for the tiles.

    Parameters
    ----------
    prob
        Probabilities (n, K), a row per tile.
    network_name
        What to call it in the results.
    data, tile_indices
        The data set, and which of its tiles.
    trained_on
        The images of ``data`` that the network was trained on.
    """
    rows = [[round(float(v), 6) for v in row] if np.isfinite(row).all() else None for row in prob]
    images = {data.paths[i] for i in np.unique(data.image[tile_indices])}
    seen = {"images": len(images), "images_trained_on": len(images.intersection(trained_on))}
    return SealedEnvelope.of({"salt": secrets.token_hex(32), "name": network_name, "prob": rows} | seen)
