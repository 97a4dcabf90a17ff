"""Import of the heavy libraries, in this module only: without their messages and telemetry."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

from napari_cellclass.core.common.errors import EngineError

_TELEMETRY = "openvino_telemetry"
NNCF_MISSING = '--precision int8 needs NNCF; install it with pip install "napari-cellclass[int8]"'
ONNX_MISSING = 'the export as ONNX needs the package {}; install it with pip install "napari-cellclass[onnx]"'
# Keras imports these, where installed, for features that are not used here: a fifth of its import time.
_NOT_NEEDED = ("sklearn", "matplotlib.pyplot")


def configure_tensorflow() -> None:
    """Set the environment variables of TensorFlow and Keras; call it before either is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # The viewer and other processes need GPU memory, too.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # By default TensorFlow uses oneDNN on some processors only; training is two to four times as fast with it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ["KERAS_BACKEND"] = "tensorflow"


@contextlib.contextmanager
def suppress_stderr() -> Iterator[None]:
    """Discard what C++ libraries write to file descriptor 2; Python exceptions are unaffected."""
    sys.stderr and sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # a windowed program on Windows has no standard error
        yield
        return
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        yield
    finally:
        sys.stderr and sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)


@contextlib.contextmanager
def _hide_modules(names: tuple[str, ...]) -> Iterator[None]:
    """Make modules that are not imported yet appear to be missing."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Exempt what is imported from garbage collection, now and later: all of it stays to the end of the process."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def import_keras() -> Any:
    """Import Keras on TensorFlow, without their messages.

    Raises
    ------
    EngineError
        Keras runs on another backend in this process already.
    """
    configure_tensorflow()
    first = "keras" not in sys.modules
    # TensorFlow logs its CPU features before it has read its log level.
    with suppress_stderr(), _hide_modules(_NOT_NEEDED), _no_garbage_collection() if first else contextlib.nullcontext():
        import keras
        import tensorflow as tf
    tf.get_logger().setLevel("ERROR")
    if keras.backend.backend() != "tensorflow":
        raise EngineError(
            f"Keras runs on {keras.backend.backend()!r} in this process; set KERAS_BACKEND=tensorflow and start again"
        )
    # The user's ~/.keras/keras.json may have other defaults.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")
    # GPUs would otherwise multiply with 10-bit mantissas, and their predictions would differ from those of CPUs.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return keras


def set_tensorflow_threads(count: int) -> None:
    """Set the number of threads that TensorFlow uses in this process; call it before anything is computed."""
    import_keras()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    OpenVINO reports every import and every conversion to a web analytics service, from a process that it
    forks, unless the user has opted out or the optional package ``openvino-telemetry`` is missing. So that
    package is made to appear missing: OpenVINO then uses its own stub in this process. If OpenVINO has been
    imported before, nothing is changed.
    """
    if "openvino" not in sys.modules and sys.modules.get(_TELEMETRY) is None:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    # Its scheduler would otherwise warn on standard error in a container that hides the processor's topology.
    os.environ.setdefault("HWLOC_HIDE_ERRORS", "2")
    import openvino

    return openvino


def import_nncf() -> Any:
    """Import NNCF without its telemetry and its messages on standard output.

    It reports every quantised network to the same service as OpenVINO, unless that package is missing.

    Raises
    ------
    EngineError
        It is not installed.
    """
    import_openvino()
    others = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import nncf
    except ImportError as error:
        raise EngineError(NNCF_MISSING) from error
    finally:
        if others is not None:
            sys.modules[_TELEMETRY] = others
    nncf.set_log_level(logging.ERROR)
    return nncf


def import_onnx() -> Any:
    """Import the package onnx, which writes ONNX files.

    Raises
    ------
    EngineError
        It is not installed.
    """
    return _of_onnx_extra("onnx")


def import_onnxruntime() -> Any:
    """Import ONNX Runtime; see :func:`import_onnx`."""
    return _of_onnx_extra("onnxruntime")


def import_opencv() -> Any:
    """Import OpenCV; see :func:`import_onnx`."""
    return _of_onnx_extra("cv2")


def _of_onnx_extra(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EngineError(ONNX_MISSING.format({"cv2": "opencv-python-headless"}.get(name, name))) from error
