"""A trained network in 8-bit whole numbers: made by NNCF from training tiles, and kept where held-out tiles agree."""

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
from napari_cellclass.engine.training.run import TrainingRun

# More change hardly any range: NNCF's own number too.
_MOST_TILES = 300
_BATCH = 32
_NOT_FAST = (
    "it was trained on a processor without fast instructions for 8-bit whole numbers (VNNI, AMX or dot product); set "
    f"{FAST_INT8_VARIABLE}=1 there to make one for other machines"
)
_MULTIPLYING = {"Convolution", "GroupConvolution", "MatMul"}


@dataclass(frozen=True, eq=False)
class Int8Network:
    """What came of it, the members of a bundle, and the answers (n, K) to golden tiles; both empty where not kept."""

    report: Int8Report
    members: dict[str, bytes] = field(default_factory=dict)
    golden: NDArray[np.float32] | None = None


def check_nncf_installed(params: TrainParams) -> None:
    """Raise :class:`EngineError` where 8-bit numbers are asked for and NNCF is missing; before anything long."""
    if params.precision == "int8" and find_spec("nncf") is None:
        raise EngineError(NNCF_MISSING)


def quantise(
    run: TrainingRun, members: dict[str, bytes], val_prob: NDArray[np.float32], calibration: Calibration | None
) -> Int8Network:
    """Make the network in 8-bit whole numbers of a training that has ended, and see what that costs.

    A training of hours is never lost to it: whatever goes wrong is said in the result.

    Parameters
    ----------
    run
        The training: its training tiles give the ranges, its held-out tiles judge.
    members
        The network in float32, see :func:`~napari_cellclass.engine.training.export.export_network`.
    val_prob, calibration
        Its answers to the held-out tiles, and the calibration made from them.

    Raises
    ------
    CancelledError
        The run was cancelled.
    """
    if slow_int8_reason():
        return Int8Network(Int8Report.not_stored(_NOT_FAST))
    place, data = run.pixels.tile_indices[run.val], run.data
    try:
        run.task.progress("making the int8 network")
        rows = run.train[np.unique(np.linspace(0, len(run.train) - 1, _MOST_TILES).astype(np.int64))]
        made = int8_members(members, partial(_tile, run, rows), len(rows))
        model = read_network(*(made[name] for name in INT8_MEMBERS))
        spec, golden = run.pixels.spec, run.pixels.golden
        shape = (*spec.input_px, spec.channels)
        network = OpenVinoNetwork(model, identity_preprocessing(shape), TileFormat(shape, "float32"))
        answers = [network(run.pixels.batch(run.val[i : i + _BATCH])) for i in range(0, len(run.val), _BATCH)]
        groups = data.groups[place].tolist()
        report = compare_int8(
            val_prob, np.concatenate(answers), data.labels[place], groups, data.scheme.names, calibration
        )
        report = report.model_copy(update={"nncf": import_nncf().__version__, "tiles": len(rows)})
        if not report.kept:
            return Int8Network(report)
        prob = OpenVinoNetwork(model, spec, TileFormat.of(golden))(golden, spec.identity_levels)
        return Int8Network(report, made, prob)
    except CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - of two libraries that are not ours, on a network that is good
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return Int8Network(
            Int8Report.not_stored(f"it could not be made ({lines[0] if lines else type(error).__name__})")
        )


def _tile(run: TrainingRun, rows: NDArray[np.int64], number: int) -> NDArray[np.float32]:
    run.task.check("cancelled while the int8 network was made; nothing was written")
    return run.pixels.batch(rows[number : number + 1])


def int8_members(members: dict[str, bytes], tile: Callable[[int], NDArray[np.float32]], count: int) -> dict[str, bytes]:
    """Put the network of a bundle into 8-bit whole numbers.

    What is done to a tile before the first convolution, and the last layer with the pooling before it, stay in
    float32: they cost next to nothing, and standardised tiles and probabilities would lose digits. Ranges hold every
    value of the training tiles, as what is rare among these, such as a spot, may be what tells the classes apart.
    Weights have seven bits, so that sums are the same on processors whose instructions would else overflow.

    Parameters
    ----------
    members
        The network in float32.
    tile
        Gives the network's input (1, H, W, C) for a number from 0 to ``count`` - 1: what it usually sees.
    count
        How many there are.

    Returns
    -------
    dict
        ``model.int8.xml`` and ``model.int8.bin``.
    """
    nncf, ov = import_nncf(), import_openvino()
    model = read_network(members["model.xml"], members["model.bin"])
    # OpenVINO pools whole numbers four times more slowly; rounding after pooling gives the same ones as before it.
    kept = nncf.IgnoredScope(names=_in_float32(model), types=["MaxPool"], validate=False)
    how = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX,
        overflow_fix=nncf.OverflowFix.ENABLE,
    )
    # It tells its progress on standard output, where ours may be read by a program.
    with contextlib.redirect_stdout(io.StringIO()), suppress_stderr():
        model = nncf.quantize(
            model, nncf.Dataset(range(count), tile), preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU, subset_size=count, ignored_scope=kept, advanced_parameters=how,
        )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="cellclass-") as folder:
        path = Path(folder)
        ov.save_model(model, path / INT8_MEMBERS[0], compress_to_fp16=False)
        return {name: (path / name).read_bytes() for name in INT8_MEMBERS}


def _in_float32(model: Any) -> list[str]:
    """Name what is done to tiles before the first layers that multiply, and the last such layers with their inputs."""
    ops = model.get_ordered_ops()
    for number, op in enumerate(ops):
        op.set_friendly_name(f"{op.get_friendly_name()}/{number}")  # so that no two have one name
    # What tiles go through; what lies behind a layer that multiplies; before one; and before one that is not the last.
    of_tiles, behind, followed, inner = set[str](), set[str](), set[str](), set[str]()
    for op in ops:
        sources = [op.input_value(i).get_node() for i in range(op.get_input_size())]
        if op.get_type_name() == "Parameter" or any(_name(source) in of_tiles for source in sources):
            of_tiles.add(_name(op))
        if any(_multiplies(source) or _name(source) in behind for source in sources):
            behind.add(_name(op))
    for op in reversed(ops):
        users = [target.get_node() for output in op.outputs() for target in output.get_target_inputs()]
        if any(_multiplies(user) or _name(user) in followed for user in users):
            followed.add(_name(op))
        if any(_name(user) in inner or (_multiplies(user) and _name(user) in followed) for user in users):
            inner.add(_name(op))
    kept = [op for op in ops if _name(op) in of_tiles and op.get_type_name() not in ("Parameter", "Result")]
    return [_name(op) for op in kept if _name(op) not in (followed if _multiplies(op) else behind & inner)]


def _name(op: Any) -> str:
    return str(op.get_friendly_name())


def _multiplies(op: Any) -> bool:
    return op.get_type_name() in _MULTIPLYING
