"""Engines that run a network: OpenVINO in this process, or TensorFlow in a child process."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import EngineError, ModelError, ParamsError
from napari_cellclass.core.models.bundle import INT8_MEMBERS, ModelBundle
from napari_cellclass.core.params.shared import EngineName, PrecisionName
from napari_cellclass.engine.common.tile_input import TOLERANCE, check_tiles, largest_difference
from napari_cellclass.engine.inference.class_layer import with_features
from napari_cellclass.engine.inference.openvino_graph import OpenVinoNetwork, TileFormat, read_network
from napari_cellclass.engine.inference.streams import fastest_network

_MAX_COMPILED = 4  # tile formats for which the network stays compiled
INT8_TOLERANCE = 0.02
"""The same for an int8 network. Integer sums are exact on every processor, but a float32 value between two integers may
be rounded up by one processor and down by another: tiles that differed by 1e-5 of their range changed probabilities by
up to 0.018; other processors by 1e-7."""


class Engine(Protocol):
    """A network that is ready to classify."""

    @property
    def name(self) -> str:
        """``"openvino"`` or ``"tensorflow"``."""

    @property
    def precision(self) -> PrecisionName:
        """``"f32"`` or ``"int8"``."""

    def predict(self, tiles: NDArray[Any], levels: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Classify raw tiles.

        A tile's prediction does not depend, to the last bit, on the other tiles of the call. Threads may share
        an engine.

        Parameters
        ----------
        tiles
            Shape (n, h, w, C) in the images' own dtype; n may be 0.
        levels
            Result of :func:`napari_cellclass.core.tiles.preprocess.field_levels` for their field.

        Returns
        -------
        ndarray of float32, shape (n, K)
            Probabilities; a row of NaN where a tile holds NaN or infinite pixels.

        Raises
        ------
        ModelError
            The tiles do not fit the model.
        EngineError
            The engine has failed or is closed.
        """

    def close(self) -> None:
        """Release the engine's resources; it may be called more than once."""

    def __enter__(self) -> Self:
        """Return the engine itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the engine."""


def open_engine(
    bundle: ModelBundle, engine: EngineName = "auto", threads: int | None = None, precision: PrecisionName = "f32"
) -> Engine:
    """Load a model and check that its predictions are still those made when it was trained.

    Parameters
    ----------
    bundle
        The model.
    engine
        ``"openvino"`` runs in this process, ``"tensorflow"`` in a child; ``"auto"`` is OpenVINO.
    threads
        CPU threads; None for the number of cores.
    precision
        Result of :func:`~napari_cellclass.engine.inference.precision.choose_precision`.

    Raises
    ------
    ModelError
        The model is damaged, or its predictions for its golden tiles have changed.
    EngineError
        The child process could not be started.
    """
    opened: Engine
    if engine == "tensorflow" and precision == "int8":
        raise ParamsError("TensorFlow cannot run an int8 network; use --engine openvino, or --precision f32")
    if engine == "tensorflow":
        from napari_cellclass.engine.inference.tensorflow_client import TensorFlowEngine

        opened = TensorFlowEngine(bundle, threads)
    else:
        opened = OpenVinoEngine(bundle, threads, precision)
    try:
        check_golden(bundle, opened)
    except BaseException:
        opened.close()
        raise
    return opened


def check_golden(bundle: ModelBundle, engine: Engine) -> float:
    """Classify a model's golden tiles, and return the largest difference of a probability from training.

    Raises
    ------
    ModelError
        A probability differs by more than ``TOLERANCE``, or in int8 ``INT8_TOLERANCE``, from the one stored at
        training.
    """
    tiles, expected = bundle.golden
    int8 = engine.precision == "int8"
    expected = bundle.golden_int8 if int8 else expected
    if tiles.ndim != 4 or len(tiles) == 0 or expected.shape != (len(tiles), len(bundle.scheme)):
        raise ModelError(
            f"{bundle.path} is damaged: its {len(tiles)} golden tiles do not fit its {len(bundle.scheme)} classes; "
            "get a fresh copy or train again"
        )
    difference = largest_difference(engine.predict(tiles, bundle.preprocess.identity_levels), expected)
    if not difference <= (INT8_TOLERANCE if int8 else TOLERANCE):
        raise ModelError(
            f"{bundle.path} does not predict what it predicted when it was trained (largest difference "
            f"{difference:.2g}); get a fresh copy, train again, or try "
            f"{'--precision f32' if int8 else 'another --engine'}"
        )
    return difference


class OpenVinoEngine:
    """A model that runs in this process on OpenVINO; the GIL is released while it computes."""

    name = "openvino"

    def __init__(self, bundle: ModelBundle, threads: int | None = None, precision: PrecisionName = "f32") -> None:
        self.precision = precision
        self._spec, self._path, self._threads = bundle.preprocess, bundle.path, threads
        self._classes = self._outputs = len(bundle.scheme)
        # An int8 network rounds features, so that they are not those that the training tiles have.
        self._known_tiles = None if precision == "int8" else bundle.training_tiles
        names = INT8_MEMBERS if precision == "int8" else ("model.xml", "model.bin")
        members = [bundle.member(name) for name in names]
        try:
            self._model = read_network(*members)
            if self._known_tiles is not None:
                self._model = with_features(self._model)
                self._outputs += len(self._known_tiles.mean)
        except (RuntimeError, ValueError) as error:
            raise self._unloadable(error) from error
        self._compiled: dict[TileFormat, OpenVinoNetwork] | None = {}
        self._lock = threading.Lock()

    def predict(self, tiles: NDArray[Any], levels: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Classify raw tiles, see :meth:`Engine.predict`."""
        return np.ascontiguousarray(self._run(tiles, levels)[:, : self._classes])

    @property
    def has_distances(self) -> bool:
        """Whether :meth:`predict_with_distances` can be called: the model carries features of its training tiles."""
        return self._known_tiles is not None

    def predict_with_distances(
        self, tiles: NDArray[Any], levels: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Classify raw tiles as :meth:`Engine.predict` does, and measure how far they are from the training tiles.

        Returns
        -------
        prob, distances
            float32, shapes (n, K) and (n,).
        """
        found = self._run(tiles, levels)
        assert self._known_tiles is not None
        distances = self._known_tiles.distances(found[:, self._classes :])
        return np.ascontiguousarray(found[:, : self._classes]), distances

    def features(self, tiles: NDArray[Any], levels: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Return what the layers of the classes take, float32 (n, F), for raw tiles; see :meth:`has_distances`."""
        return self._run(tiles, levels)[:, self._classes :]

    def _run(self, tiles: NDArray[Any], levels: NDArray[np.float64] | None) -> NDArray[np.float32]:
        tiles = np.asarray(tiles)
        check_tiles(tiles, self._spec)
        if len(tiles) == 0:
            return np.zeros((0, self._outputs), np.float32)
        return self._network(TileFormat.of(tiles))(tiles, levels)

    def _network(self, tile_format: TileFormat) -> OpenVinoNetwork:
        with self._lock:
            if self._compiled is None:
                raise EngineError(f"the engine of {self._path} is closed; open the model again")
            if tile_format not in self._compiled:
                if len(self._compiled) == _MAX_COMPILED:
                    self._compiled.pop(next(iter(self._compiled)))
                self._compiled[tile_format] = self._compile(tile_format)
            return self._compiled[tile_format]

    def _compile(self, tile_format: TileFormat) -> OpenVinoNetwork:
        try:
            network = fastest_network(self._model, self._spec, tile_format, self._threads)
        except RuntimeError as error:
            raise self._unloadable(error) from error
        if network.outputs != self._outputs:
            raise ModelError(
                f"{self._path} is damaged: its network has {network.outputs} outputs, but {self._outputs} belong to "
                f"its {self._classes} classes; get a fresh copy or train again"
            )
        return network

    def _unloadable(self, error: Exception) -> ModelError:
        reason = (str(error).strip() or "no reason given").splitlines()[-1]
        return ModelError(f"{self._path} cannot be loaded by OpenVINO ({reason}); get a fresh copy or train again")

    def close(self) -> None:
        """Release the network."""
        with self._lock:
            self._compiled = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
