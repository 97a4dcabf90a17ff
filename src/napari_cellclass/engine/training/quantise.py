"""Int8 quantisation of a trained network: by NNCF with training tiles, and stored if held-out tiles allow it."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CancelledError, EngineError
from napari_cellclass.core.models.bundle import INT8_MEMBERS
from napari_cellclass.core.models.int8_report import Int8Report, compare_int8
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.stats.calibration import Calibration
from napari_cellclass.engine.common.environment import NNCF_MISSING, import_nncf, import_openvino, suppress_stderr
from napari_cellclass.engine.inference.openvino_graph import (
    OpenVinoNetwork,
    TileFormat,
    identity_preprocessing,
    read_network,
)
from napari_cellclass.engine.inference.precision import FAST_INT8_VARIABLE, slow_int8_reason
from napari_cellclass.engine.training.training_run import TrainingRun

# More tiles hardly change the ranges; also the default of NNCF.
_MAX_TILES = 300
_BATCH = 32
_SLOW_INT8 = (
    "it was trained on a processor without fast int8 instructions (VNNI, AMX or dot product); set "
    f"{FAST_INT8_VARIABLE}=1 there to quantise it for other machines"
)
_WEIGHTED = {"Convolution", "GroupConvolution", "MatMul"}


@dataclass(frozen=True, eq=False)
class Int8Network:
    """Result of the quantisation: the report, and, where the network is stored, its files and golden probabilities.

    Attributes
    ----------
    report
        Comparison with the float32 network.
    members
        Files for the bundle by name; empty where the network is not stored.
    golden
        Probabilities (n, K) for the golden tiles; None where the network is not stored.
    """

    report: Int8Report
    members: dict[str, bytes] = field(default_factory=dict)
    golden: NDArray[np.float32] | None = None


def check_nncf_installed(params: TrainParams) -> None:
    """Raise :class:`EngineError` if an int8 network is requested but NNCF is missing; call it before training."""
    if params.precision == "int8" and find_spec("nncf") is None:
        raise EngineError(NNCF_MISSING)


def quantise(
    run: TrainingRun, members: dict[str, bytes], val_prob: NDArray[np.float32], calibration: Calibration | None
) -> Int8Network:
    """Quantise the network of a finished training to int8, and measure what that costs.

    A failure is reported in the result rather than raised, as it must not cost a training of hours.

    Parameters
    ----------
    run
        The training: its training tiles give the quantisation ranges, its held-out tiles the comparison.
    members
        Files of the float32 network, see :func:`~napari_cellclass.engine.training.export.export_network`.
    val_prob, calibration
        Its probabilities for the held-out tiles, and the calibration made from them.

    Raises
    ------
    CancelledError
        The run was cancelled.
    """
    if slow_int8_reason():
        return Int8Network(Int8Report.not_stored(_SLOW_INT8))
    indices, data = run.pixels.tile_indices[run.val], run.data
    try:
        run.task.progress("making the int8 network")
        rows = run.train[np.unique(np.linspace(0, len(run.train) - 1, _MAX_TILES).astype(np.int64))]
        quantised = int8_members(members, partial(_network_input, run, rows), len(rows))
        model = read_network(*(quantised[name] for name in INT8_MEMBERS))
        spec, golden = run.pixels.spec, run.pixels.golden
        shape = (*spec.input_px, spec.channels)
        network = OpenVinoNetwork(model, identity_preprocessing(shape), TileFormat(shape, "float32"))
        parts = [network(run.pixels.batch(run.val[i : i + _BATCH])) for i in range(0, len(run.val), _BATCH)]
        groups = data.groups[indices].tolist()
        report = compare_int8(
            val_prob, np.concatenate(parts), data.labels[indices], groups, data.scheme.names, calibration
        )
        report = report.model_copy(update={"nncf": import_nncf().__version__, "tiles": len(rows)})
        if not report.kept:
            return Int8Network(report)
        prob = OpenVinoNetwork(model, spec, TileFormat.of(golden))(golden, spec.identity_levels)
        return Int8Network(report, quantised, prob)
    except CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - of NNCF or OpenVINO, while the float32 network is valid
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return Int8Network(
            Int8Report.not_stored(f"it could not be made ({lines[0] if lines else type(error).__name__})")
        )


def _network_input(run: TrainingRun, rows: NDArray[np.int64], index: int) -> NDArray[np.float32]:
    run.task.check("cancelled while the int8 network was made; nothing was written")
    return run.pixels.batch(rows[index : index + 1])


def int8_members(members: dict[str, bytes], tile: Callable[[int], NDArray[np.float32]], count: int) -> dict[str, bytes]:
    """Quantise the network of a bundle to int8.

    All steps before the first convolution, and the last layer with the pooling before it, stay in float32: they take
    next to no time, and standardised tiles and probabilities would lose precision. Ranges cover all values of the
    training tiles, as rare ones, such as those of a spot, may distinguish the classes. Weights have seven bits, so that
    sums are the same on processors whose instructions would otherwise overflow.

    Parameters
    ----------
    members
        Files of the float32 network.
    tile
        Function from an index below ``count`` to network input (1, H, W, C): typical tiles.
    count
        Number of these tiles.

    Returns
    -------
    dict
        ``model.int8.xml`` and ``model.int8.bin``.
    """
    nncf, ov = import_nncf(), import_openvino()
    model = read_network(members["model.xml"], members["model.bin"])
    # OpenVINO pools int8 four times more slowly; rounding after maximum pooling gives the same values as before it.
    ignored = nncf.IgnoredScope(names=_float32_operations(model), types=["MaxPool"], validate=False)
    advanced = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX,
        overflow_fix=nncf.OverflowFix.ENABLE,
    )
    # It prints its progress to standard output, which may be read by a program.
    with contextlib.redirect_stdout(io.StringIO()), suppress_stderr():
        model = nncf.quantize(
            model, nncf.Dataset(range(count), tile), preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU, subset_size=count, ignored_scope=ignored, advanced_parameters=advanced,
        )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="cellclass-") as folder:
        path = Path(folder)
        ov.save_model(model, path / INT8_MEMBERS[0], compress_to_fp16=False)
        return {name: (path / name).read_bytes() for name in INT8_MEMBERS}


def _float32_operations(model: Any) -> list[str]:
    """Return the names of the operations on tiles before the first weighted layers, and of the last weighted layers.

    Operations between the last two weighted layers are not included where others follow.
    """
    ops = model.get_ordered_ops()
    for number, op in enumerate(ops):
        op.set_friendly_name(f"{op.get_friendly_name()}/{number}")  # so that names are unique
    # Operations that depend on tiles; after a weighted layer; before one; and before one that is not the last.
    of_tiles, after, followed, inner = set[str](), set[str](), set[str](), set[str]()
    for op in ops:
        sources = [op.input_value(i).get_node() for i in range(op.get_input_size())]
        if op.get_type_name() == "Parameter" or any(_name(source) in of_tiles for source in sources):
            of_tiles.add(_name(op))
        if any(_is_weighted(source) or _name(source) in after for source in sources):
            after.add(_name(op))
    for op in reversed(ops):
        users = [target.get_node() for output in op.outputs() for target in output.get_target_inputs()]
        if any(_is_weighted(user) or _name(user) in followed for user in users):
            followed.add(_name(op))
        if any(_name(user) in inner or (_is_weighted(user) and _name(user) in followed) for user in users):
            inner.add(_name(op))
    candidates = [op for op in ops if _name(op) in of_tiles and op.get_type_name() not in ("Parameter", "Result")]
    return [_name(op) for op in candidates if _name(op) not in (followed if _is_weighted(op) else after & inner)]


def _name(op: Any) -> str:
    return str(op.get_friendly_name())


def _is_weighted(op: Any) -> bool:
    return op.get_type_name() in _WEIGHTED
