"""Child processes that run TensorFlow: ``python -m napari_cellclass.engine.child.main VERB``.

``predict`` runs a model, ``convert`` makes a model of a ``.keras`` file, ``convert_backbone`` a backbone.

Messages on standard input and output are an 8-byte length and then either one line of JSON or, for
tiles and probabilities, an ``.npy`` file. The first message is the job. Output of libraries goes to
standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CellClassError, EngineError, ModelError
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle
from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.common.tile_input import predict_in_batches
from napari_cellclass.engine.features.keras_network import keras_network
from napari_cellclass.engine.inference.tensorflow_client import (
    pack_array,
    pack_error,
    read_message,
    unpack_array,
    write_message,
)
from napari_cellclass.engine.networks.loading import predictor

_BATCH_ON_GPU = 32


def main(arguments: list[str] | None = None) -> int:
    """Run one child process; return its exit code."""
    verb = (sys.argv[1:] if arguments is None else arguments)[:1]
    verbs = {"predict": _predict, "convert": _convert, "convert_backbone": _convert_backbone}
    if not verb or verb[0] not in verbs:
        print(f"usage: python -m napari_cellclass.engine.child.main {'|'.join(verbs)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    requests, responses = sys.stdin.buffer, _reserve_stdout()
    try:
        job = read_message(requests)
        if job is not None:
            verbs[verb[0]](json.loads(job), requests, responses)
    except CellClassError as error:
        write_message(responses, pack_error(error))
    except BrokenPipeError:
        return 0  # the parent has ended
    return 0


def _reserve_stdout() -> IO[bytes]:
    """Return a stream to standard output for responses, and redirect all other output to standard error."""
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return responses


def _predict(job: dict[str, Any], requests: IO[bytes], responses: IO[bytes]) -> None:
    bundle = open_bundle(Path(job["model"]))
    if bundle.model_id != job["model_id"]:
        raise ModelError(f"{bundle.path} has been replaced since it was opened; open it again")
    run, batch = _network(bundle, job["threads"])
    write_message(responses, b'{"ready": true}\n')
    while (content := read_message(requests)) is not None:
        try:
            tiles = unpack_array(content)
            # The parent has scaled them to their field's range.
            spec = bundle.preprocess
            prob = predict_in_batches(run, spec, tiles, len(bundle.scheme), batch, spec.identity_levels)
        except CellClassError as error:
            write_message(responses, pack_error(error))
        else:
            write_message(responses, pack_array(prob))


def _network(bundle: ModelBundle, threads: int | None) -> tuple[Any, int]:
    """Return the function that runs a network, and the number of tiles per batch.

    On a CPU that is one: TensorFlow's kernels treat the last rows of a matrix differently, so that the last
    bit of a probability would depend on a tile's position in a larger batch.
    """
    import_keras()
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = keras_network(bundle)
    if model.output_shape != (None, len(bundle.scheme)):
        raise ModelError(
            f"{bundle.path} is damaged: its network outputs {model.output_shape[1:]}, but {len(bundle.scheme)} classes "
            "are named; get a fresh copy or train again"
        )
    predict = predictor(model)

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            return predict(x)
        except tf.errors.OpError as error:
            raise EngineError(f"TensorFlow has failed: {first_line(error)}; try --engine openvino") from error

    return run, _BATCH_ON_GPU if tf.config.list_physical_devices("GPU") else 1


def _convert(job: dict[str, Any], requests: IO[bytes], responses: IO[bytes]) -> None:
    from napari_cellclass.engine.child.convert import convert

    convert(job)
    write_message(responses, b'{"done": true}\n')


def _convert_backbone(job: dict[str, Any], requests: IO[bytes], responses: IO[bytes]) -> None:
    from napari_cellclass.engine.child.convert import convert_backbone

    convert_backbone(job)
    write_message(responses, b'{"done": true}\n')


def first_line(error: BaseException) -> str:
    """Return the first non-empty line of an exception's message, or its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
