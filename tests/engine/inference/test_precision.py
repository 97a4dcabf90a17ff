from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from napari_cellclass.core.common.errors import ModelError, ParamsError
from napari_cellclass.core.models.int8_report import Int8Report
from napari_cellclass.engine.inference import precision
from napari_cellclass.engine.inference.precision import choose_precision, has_fast_int8


def model(has_int8: bool, quantised: Int8Report | None = None) -> Any:
    return SimpleNamespace(path=Path("m.cellclass"), has_int8=has_int8, manifest=SimpleNamespace(quantised=quantised))


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_int8", lambda: True)


@pytest.mark.usefixtures("fast")
def test_the_requested_precision_is_used_where_possible() -> None:
    assert choose_precision(model(True), "int8") == ("int8", "")
    assert choose_precision(model(True), "f32", "tensorflow") == ("f32", "")
    assert choose_precision(model(False), "f32") == ("f32", "")


def test_a_processor_without_fast_instructions_stays_in_f32_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_int8", lambda: False)
    used, why = choose_precision(model(True), "int8")
    assert used == "f32"
    assert why.startswith("this processor has no fast int8 instructions")
    assert why.endswith("so the network is run in f32")


@pytest.mark.usefixtures("fast")
def test_an_impossible_precision_is_refused_with_advice() -> None:
    with pytest.raises(ParamsError, match="--engine tensorflow was given; drop one"):
        choose_precision(model(True), "int8", "tensorflow")
    with pytest.raises(ModelError, match=r"m\.cellclass has no int8 network; train it with --precision int8"):
        choose_precision(model(False), "int8")
    with pytest.raises(ModelError, match=r"none was stored when it was trained \(it lost\); use --precision f32"):
        choose_precision(model(False, Int8Report.not_stored("it lost")), "int8")


@pytest.mark.parametrize(("flags", "fast"), [("avx2 avx512_vnni", True), ("asimddp", True), ("avx2 avx512f", False)])
def test_instructions_are_detected_on_linux(
    flags: str, fast: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(precision.FAST_INT8_VARIABLE, raising=False)
    monkeypatch.setattr(precision, "sys", SimpleNamespace(platform="linux"))
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : fpu {flags}\n")
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "cpuinfo")
    precision._has_instructions.cache_clear()
    try:
        assert has_fast_int8() is fast
    finally:
        precision._has_instructions.cache_clear()


def test_a_variable_overrides_the_detection_and_an_invalid_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("0", "1"):
        monkeypatch.setenv(precision.FAST_INT8_VARIABLE, word)
        assert has_fast_int8() is (word == "1")
    monkeypatch.setenv(precision.FAST_INT8_VARIABLE, "yes")
    with pytest.raises(ParamsError, match="'yes'; set it to 1 or 0"):
        has_fast_int8()
