"""The heavy libraries are imported here only: quietly, and without reporting to anybody."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

from napari_cellclass.core.common.errors import EngineError

_TELEMETRY = "openvino_telemetry"
NNCF_MISSING = '--precision int8 needs NNCF; install it with pip install "napari-cellclass[int8]"'
# What Keras imports for wrappers and pictures that are not ours, where it is there: a fifth of the time it takes.
_NOT_NEEDED = ("sklearn", "matplotlib.pyplot")


def configure_tensorflow() -> None:
    """Set what TensorFlow and Keras read from the environment; call it before either is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A viewer and other processes want a part of the GPU's memory too.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # Left to itself TensorFlow uses oneDNN on some processors only; training is two to four times as fast with it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ["KERAS_BACKEND"] = "tensorflow"


@contextlib.contextmanager
def suppress_stderr() -> Iterator[None]:
    """Drop what C++ libraries write to file descriptor 2; Python's exceptions pass unharmed."""
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
def _hidden(names: tuple[str, ...]) -> Iterator[None]:
    """Let modules that are not imported yet seem to be missing."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def import_keras() -> Any:
    """Import Keras on TensorFlow, as quietly as it can be made.

    Raises
    ------
    EngineError
        Keras runs on another backend in this process already.
    """
    configure_tensorflow()
    # TensorFlow tells of its CPU features before it has read its log level.
    with suppress_stderr(), _hidden(_NOT_NEEDED):
        import keras
        import tensorflow as tf
    tf.get_logger().setLevel("ERROR")
    if keras.backend.backend() != "tensorflow":
        raise EngineError(
            f"Keras runs on {keras.backend.backend()!r} in this process; set KERAS_BACKEND=tensorflow and start again"
        )
    # The user's ~/.keras/keras.json may say otherwise.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")
    # GPUs would otherwise multiply with ten bits, and no longer agree with CPUs.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return keras


def set_tensorflow_threads(count: int) -> None:
    """Let TensorFlow use so many threads in this process; call it before anything is computed."""
    import_keras()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    OpenVINO tells a web analytics service of every import and every conversion, from a process that it
    forks, unless the user has opted out or the optional package ``openvino-telemetry`` is missing. So it
    is made to be missing: OpenVINO then uses its own stub, in this process and for good. Where somebody
    else has imported OpenVINO before, that is left as it is.
    """
    if "openvino" not in sys.modules and sys.modules.get(_TELEMETRY) is None:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    # Its scheduler would tell standard error of a container that hides the processor's layout.
    os.environ.setdefault("HWLOC_HIDE_ERRORS", "2")
    import openvino

    return openvino


def import_nncf() -> Any:
    """Import NNCF without its telemetry, and keep it from telling standard output of its work.

    It tells the same service of every network that is quantised, unless that package is missing; then it uses a
    stub, for good.

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
