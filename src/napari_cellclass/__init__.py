"""Classify the tiles of wide microscope fields with small CNNs, inside napari.

Importing this package is cheap: neither Qt, TensorFlow, OpenVINO, matplotlib nor Dask is imported.
"""

from importlib.metadata import PackageNotFoundError, version

from napari_cellclass._former_names import find_former_names

try:
    __version__ = version("napari-cellclass")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

find_former_names()

__all__ = ["__version__"]
