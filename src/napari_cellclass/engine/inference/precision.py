"""In which precision a network is run: what was asked for, what the model holds, and what the processor is made for."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from importlib import import_module
from pathlib import Path

from napari_cellclass.core.common.errors import ModelError, ParamsError
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.shared import EngineName, PrecisionName

FAST_INT8_VARIABLE = "NAPARI_CELLCLASS_FAST_INT8"
"""Environment variable, 1 or 0, that says so of a processor that cannot be asked."""
# As Linux and as NumPy call them: VNNI and AMX of x86, the dot products of ARM.
_LINUX = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
_NUMPY = ("AVX512VNNI", "ASIMDDP")


def has_fast_int8() -> bool:
    """Tell whether the processor has instructions that multiply and add 8-bit whole numbers in one go.

    Without them a network in such numbers gives the same answers, but is hardly faster.
    """
    told = os.environ.get(FAST_INT8_VARIABLE, "").strip()
    if told not in ("", "0", "1"):
        raise ParamsError(f"{FAST_INT8_VARIABLE} is {told[:40]!r}; set it to 1 or 0, or not at all")
    return told == "1" if told else _has_instructions()


@functools.cache
def _has_instructions() -> bool:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            words = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
            return not _LINUX.isdisjoint(words)
    with contextlib.suppress(
        ImportError, AttributeError
    ):  # the one library at hand that has asked; it has no public name for it
        features = import_module("numpy._core._multiarray_umath").__cpu_features__
        return any(features.get(name, False) for name in _NUMPY)
    return False


def slow_int8_reason() -> str:
    """Say that the processor has no such instructions; empty where it has."""
    if has_fast_int8():
        return ""
    return "this processor has no fast instructions for 8-bit whole numbers (VNNI, AMX or dot product)"


def choose_precision(
    bundle: ModelBundle, asked: PrecisionName, engine: EngineName = "auto"
) -> tuple[PrecisionName, str]:
    """Settle the precision of a run.

    Parameters
    ----------
    bundle, asked, engine
        The model, and what was asked for.

    Returns
    -------
    str
        ``"f32"`` or ``"int8"``.
    str
        Why it is not what was asked for, a sentence to be told; else empty.

    Raises
    ------
    ParamsError
        TensorFlow was asked for too, which runs no such network.
    ModelError
        The model has no network of 8-bit whole numbers.
    """
    if asked == "f32":
        return "f32", ""
    if engine == "tensorflow":
        raise ParamsError("--precision int8 is for OpenVINO, but --engine tensorflow was given; drop one of them")
    if not bundle.has_int8:
        about = bundle.manifest.quantised
        if about is not None and about.why:
            raise ModelError(
                f"{bundle.path} has no int8 network, as none was kept when it was trained ({about.why}); use "
                "--precision f32"
            )
        raise ModelError(
            f"{bundle.path} has no int8 network; train it with --precision int8, or classify with --precision f32"
        )
    why = slow_int8_reason()
    return ("f32", f"{why}, so the network is run in f32") if why else ("int8", "")
