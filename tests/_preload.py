"""What a process that trains imports first, for :func:`tests._program.preloaded`."""

from __future__ import annotations

import napari_cellclass.cli.main
import napari_cellclass.engine.training.train  # noqa: F401
from napari_cellclass.engine.common.environment import import_keras

import_keras()
