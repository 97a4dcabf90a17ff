"""What the layers that give a network's classes take: the features of its tiles, given beside the probabilities."""

from __future__ import annotations

from typing import Any

from napari_cellclass.engine.common.environment import import_openvino

_WEIGHTED = {"MatMul", "Convolution", "GroupConvolution"}


def with_features(model: Any) -> Any:
    """Let a network give its features beside the probabilities, which it computes anyway.

    Parameters
    ----------
    model
        An OpenVINO model from tiles to probabilities (n, K); it is not changed.

    Returns
    -------
    openvino.Model
        Its output (n, K + F) has the probabilities first, then what the last weighted layers take, one after the other:
        of linear models the standardised features, of other networks what comes before the dense layer of the classes.

    Raises
    ------
    ValueError
        There is no dense layer before the probabilities.
    """
    ov = import_openvino()
    import openvino.opset13 as op

    model = model.clone()
    prob = model.outputs[0].get_node().input_value(0)
    inputs = class_layer_inputs(prob)
    if not inputs or any(len(one.get_partial_shape()) != 2 for one in inputs):
        raise ValueError("the network has no dense layer of classes")
    return ov.Model([op.concat([prob, *inputs], 1)], model.get_parameters(), "features")


def class_layer_inputs(prob: Any) -> list[Any]:
    """Give what the last weighted layers before an output take, each once, in an order that follows from the graph."""
    found: dict[tuple[str, int], Any] = {}
    seen, waiting = set[str](), [prob]
    while waiting:
        node = waiting.pop(0).get_node()
        name = str(node.get_friendly_name())
        if name in seen:
            continue
        seen.add(name)
        if node.get_type_name() in _WEIGHTED:
            value = node.input_value(0)
            found[str(value.get_node().get_friendly_name()), value.get_index()] = value
            continue
        waiting += [node.input_value(i) for i in range(node.get_input_size())]
    return list(found.values())
