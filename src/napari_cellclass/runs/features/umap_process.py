"""The process of :mod:`napari_cellclass.runs.features.umap`; nothing imports it."""

from __future__ import annotations

import sys
import warnings

import numpy as np

from napari_cellclass.engine.common.parent_process import listen_to_parent

_NEIGHBOURS = 15  # as by default in umap-learn


def main(given: str, found: str, seed: int) -> None:
    """Read features, and write coordinates."""
    listen_to_parent()
    import umap

    features = np.load(given, allow_pickle=False)
    warnings.filterwarnings("ignore", category=UserWarning)  # that a seed takes one thread
    fit = umap.UMAP(n_components=2, n_neighbors=min(_NEIGHBOURS, len(features) - 1), random_state=seed)
    np.save(found, np.asarray(fit.fit_transform(features), np.float32))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
