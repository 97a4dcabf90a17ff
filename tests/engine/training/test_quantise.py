"""Quantising, without a training: the network and the tiles of a model that is there."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CancelledError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.models.bundle import INT8_MEMBERS, ModelBundle
from napari_cellclass.core.models.int8_report import Int8Report
from napari_cellclass.engine.inference import precision
from napari_cellclass.engine.inference.engines import Engine
from napari_cellclass.engine.inference.openvino_graph import read_network
from napari_cellclass.engine.training import quantise as module
from napari_cellclass.engine.training.quantise import int8_members, quantise

pytestmark = pytest.mark.training

Case = tuple[Any, dict[str, bytes], NDArray[np.float32]]


@pytest.fixture
def case(good: ModelBundle, openvino: Engine, tiles: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch) -> Case:
    """The parts of a finished training that quantisation reads; its network, and the probabilities of that."""
    monkeypatch.setattr(precision, "has_fast_int8", lambda: True)
    spec, prob = good.preprocess, openvino.predict(tiles)
    labels = prob.argmax(axis=1)
    groups = np.array([f"g{i % 10}" for i in range(len(tiles))], object)
    data = SimpleNamespace(labels=labels, groups=groups, scheme=good.scheme)
    pixels = SimpleNamespace(
        tile_indices=np.arange(len(tiles)), spec=spec, golden=tiles[:4], batch=lambda rows: spec.apply(tiles[rows])
    )
    run = SimpleNamespace(
        train=np.arange(0, 40), val=np.arange(40, 300), pixels=pixels, data=data, task=NO_TASK,
    )  # fmt: skip
    return run, {name: good.member(name) for name in ("model.xml", "model.bin")}, prob[40:]


def test_inner_layers_are_int8_and_the_first_steps_and_the_last_layer_are_not(case: Case) -> None:
    run, members, _ = case
    made = int8_members(members, lambda i: run.pixels.batch(np.array([i])), 40)
    quantised, fed = looked_through(made)
    *inner, last = quantised
    assert len(inner) == 5
    assert all(inner)
    assert not last
    assert {"Clamp", "MaxPool", "ReduceMean", "Tile"} <= set(fed), "standardising, and pooling"
    assert {name for name, sources in fed.items() if "FakeQuantize" in sources} <= {
        "Convolution",
        "Multiply",
        "Convert",
    }


def test_texture_beside_a_network_stays_in_float32(case: Case, with_texture: Callable[[str], ModelBundle]) -> None:
    run, joined = case[0], with_texture("joined")
    members = {name: joined.member(name) for name in ("model.xml", "model.bin")}
    made = int8_members(members, lambda i: run.pixels.batch(np.array([i])), 40)
    quantised, fed = looked_through(made)
    assert sorted(quantised) == [False, False, True, True, True, True, True], "five convolutions of the network"
    assert {"Log", "StridedSlice"} <= set(fed)
    assert {name for name, sources in fed.items() if "FakeQuantize" in sources} <= {
        "Convolution",
        "Multiply",
        "Convert",
    }


def looked_through(made: dict[str, bytes]) -> tuple[list[bool], dict[str, set[str]]]:
    """Tell of layers that multiply whether their input is quantised, and what kinds of layers feed each kind."""
    ops = read_network(*(made[name] for name in INT8_MEMBERS)).get_ordered_ops()
    quantised = [
        op.input_value(0).get_node().get_type_name() == "FakeQuantize"
        for op in ops
        if op.get_type_name() in ("Convolution", "MatMul")
    ]
    fed: dict[str, set[str]] = {}
    for op in ops:
        fed.setdefault(op.get_type_name(), set()).update(v.get_node().get_type_name() for v in op.input_values())
    return quantised, fed


def test_a_network_without_a_loss_is_stored_with_its_golden_probabilities(case: Case) -> None:
    made = quantise(*case, None)
    assert made.report.kept, made.report.why
    assert made.report.tiles == 40
    assert set(made.members) == set(INT8_MEMBERS)
    assert made.golden is not None
    assert made.golden.shape == (4, 2)


def test_a_network_with_a_significant_loss_is_not_stored_and_warned_of(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = module.compare_int8
    monkeypatch.setattr(module, "compare_int8", lambda f32, int8, *more: honest(f32, int8[:, ::-1], *more))
    made = quantise(*case, None)
    assert not made.report.kept
    assert made.members == {}
    assert made.golden is None
    assert made.report.warning.startswith("no int8 network was stored, only the one in f32: accuracy 0.")


def test_without_fast_instructions_none_is_made(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_int8", lambda: False)
    made = quantise(*case, None)
    assert made.members == {}
    assert "trained on a processor without fast int8 instructions" in made.report.warning
    assert "NAPARI_CELLCLASS_FAST_INT8=1 there" in made.report.warning


def test_a_failed_quantisation_does_not_lose_the_training(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("Check failed\nat line 3")

    monkeypatch.setattr(module, "int8_members", broken)
    assert quantise(*case, None).report == Int8Report.not_stored("it could not be made (Check failed)")


def test_cancelling_stops_it(case: Case) -> None:
    run, *more = case
    run.task = Task(cancelled=lambda: True)
    with pytest.raises(CancelledError, match="nothing was written"):
        quantise(run, *more, None)
