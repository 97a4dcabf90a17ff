"""The ONNX model of a bundle: preprocessing, network and calibration as one graph, with what is known of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

import napari_cellclass
from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.engine.common.environment import import_onnx, import_openvino
from napari_cellclass.engine.inference.openvino_graph import TileFormat, level_inputs, read_network, with_preprocessing
from napari_cellclass.engine.onnx_export.graph import IR_VERSION, OPSET, GraphWriter, NotConvertibleError, Tensor
from napari_cellclass.engine.onnx_export.operations import WRITERS

INPUT, OUTPUT = "tiles", "probabilities"
"""Names of the input, float32 (N, C, h, w), and of the output, float32 (N, K)."""
_LEVELS = ("low", "rest", "scale")
_MIN_PROBABILITY = 1e-12  # as for arrays, see core/stats/calibration.py


def build_onnx(bundle: ModelBundle) -> bytes:
    """Write a model as the bytes of an ``.onnx`` file.

    Parameters
    ----------
    bundle
        The model; its float32 network is written, also where there is an int8 one.

    Returns
    -------
    bytes
        A graph from tiles, float32 (N, C, h, w), to calibrated probabilities, float32 (N, K). N is free, C, h and w are
        those of the model's tiles. Tiles have the grey values of the image, whatever its dtype; those of a model that
        scales each field by its percentiles are scaled by them to 0 to 1 before.

    Raises
    ------
    EngineError
        The package onnx is not installed.
    ModelError
        The network has an operation that is not known here, or is damaged.
    """
    import_onnx()
    height, width = bundle.manifest.tile_px
    shape = (1, height, width, bundle.preprocess.channels)
    writer = GraphWriter()
    levels = zip(_LEVELS, level_inputs(bundle.preprocess.scaling_levels), strict=True)
    inputs = {"raw": Tensor(INPUT, shape, (0, 3, 1, 2))} | {name: _constant(values) for name, values in levels}
    try:
        result = convert(writer, prepared_model(bundle), inputs)
    except NotConvertibleError as error:
        raise ModelError(f"{bundle.path} cannot be exported: {error}") from error
    name = _calibrated(writer, writer.stored(result), bundle)
    return finished(writer, name, inputs["raw"], len(bundle.scheme), metadata(bundle))


def finished(writer: GraphWriter, name: str, tiles: Tensor, outputs: int, known: dict[str, str]) -> bytes:
    """Return the graph that was written as the bytes of a file.

    Parameters
    ----------
    writer
        Has the nodes.
    name
        The tensor (N, K) that is the output.
    tiles
        The input.
    outputs
        K.
    known
        Texts by name for the file's metadata.

    Raises
    ------
    ModelError
        ONNX does not accept the graph.
    """
    onnx = import_onnx()
    from onnx import TensorProto, helper

    next(node for node in writer.nodes if node.output[0] == name).output[0] = OUTPUT
    graph = helper.make_graph(
        writer.nodes,
        "cellclass",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", *tiles.stored_shape[1:]])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", outputs])],
        writer.weights,
    )
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="napari-cellclass",
        producer_version=napari_cellclass.__version__,
    )
    helper.set_model_props(made, known)
    try:
        onnx.checker.check_model(made, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the network cannot be written as ONNX ({' '.join(str(error).split())[:200]})") from error
    content: bytes = made.SerializeToString()
    return content


def _constant(values: NDArray[Any]) -> Tensor:
    return Tensor.constant(np.asarray(values, np.float32))


def prepared_model(bundle: ModelBundle) -> Any:
    """Return a bundle's network with its preprocessing as an OpenVINO model for one tile, its constants computed.

    Raises
    ------
    ModelError
        OpenVINO cannot read it.
    """
    import_openvino()
    from openvino.passes import ConstantFolding, Manager

    try:
        network = read_network(bundle.member("model.xml"), bundle.member("model.bin"))
        tile_format = TileFormat((*bundle.manifest.tile_px, bundle.preprocess.channels), "float32")
        model = with_preprocessing(network, bundle.preprocess, tile_format, 1)
        passes = Manager()
        passes.register_pass(ConstantFolding())
        passes.run_passes(model)
    except RuntimeError as error:
        reason = (str(error).strip() or "no reason given").splitlines()[-1][:200]
        raise ModelError(f"{bundle.path} cannot be loaded by OpenVINO ({reason}); get a fresh copy") from error
    return model


def convert(writer: GraphWriter, model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Write every operation of an OpenVINO model of fixed shapes, and return its first output.

    Parameters
    ----------
    writer
        Takes the nodes.
    model
        The model.
    inputs
        By the name of each parameter, what it is.

    Raises
    ------
    NotConvertibleError
        An operation is not known, or has inputs that are not.
    """
    known: dict[tuple[str, int], Tensor] = {}
    for op in model.get_ordered_ops():
        kind = op.get_type_name()
        if kind == "Result":
            source = op.input_value(0)
            return known[source.get_node().get_name(), source.get_index()]
        if kind == "Parameter":
            tensor = inputs[op.get_friendly_name()]
        elif kind == "Constant":
            tensor = Tensor.constant(np.array(op.get_data()))
        elif kind in WRITERS:
            sources = [op.input_value(i) for i in range(op.get_input_size())]
            given = [known[one.get_node().get_name(), one.get_index()] for one in sources]
            tensor = WRITERS[kind](writer, op, given)
        else:
            raise NotConvertibleError(f"its network has the operation {kind}, which is not known here")
        known[op.get_name(), 0] = tensor
    raise NotConvertibleError("its network has no output")


def _calibrated(writer: GraphWriter, name: str, bundle: ModelBundle) -> str:
    """Divide the logits of softmax outputs by the temperature of the model's calibration."""
    calibration = bundle.manifest.calibration
    if calibration is None or calibration.temperature == 1.0:
        return name
    low, high = (writer.weight(np.float32(value)) for value in (_MIN_PROBABILITY, 1.0))
    name = writer.add("Log", [writer.add("Clip", [name, low, high])])
    name = writer.add("Mul", [name, writer.weight(np.array([[1 / calibration.temperature]], np.float32))])
    return writer.add("Softmax", [name], axis=1)


def metadata(bundle: ModelBundle) -> dict[str, str]:
    """Return what is known of the model as texts by name, for the file's metadata."""
    manifest, scaling = bundle.manifest, bundle.preprocess
    values = "grey values as they are in the image"
    if scaling.percentiles is not None:
        low, high = scaling.percentiles
        values = f"grey values scaled so that percentiles {low:g} and {high:g} of each channel of the field are 0 and 1"
    known = {
        "program": f"napari-cellclass {napari_cellclass.__version__}",
        "classes": bundle.scheme.names,
        "tile_px": manifest.tile_px,
        "overlap": manifest.overlap,
        "edge": manifest.edge,
        "pixel_size_um": manifest.pixel_size_um,
        "channels": scaling.channels,
        "input": f"float32 (N, channels, height, width): {values}",
        "percentiles": scaling.percentiles,
        "output": "float32 (N, classes): calibrated probabilities",
        "network": manifest.network,
        "model_id": bundle.model_id,
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in known.items()}
