"""Precision in which a network is run: by the request, the networks of the model, and the processor."""

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
"""Environment variable, 1 or 0, for a processor whose int8 instructions cannot be detected."""
# Names in Linux and in NumPy: VNNI and AMX of x86, the dot products of ARM.
_LINUX = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
_NUMPY = ("AVX512VNNI", "ASIMDDP")


def has_fast_int8() -> bool:
    """Return whether the processor has instructions that multiply and add 8-bit integers in one step.

    Without them an int8 network makes the same predictions, but is hardly faster.
    """
    setting = os.environ.get(FAST_INT8_VARIABLE, "").strip()
    if setting not in ("", "0", "1"):
        raise ParamsError(f"{FAST_INT8_VARIABLE} is {setting[:40]!r}; set it to 1 or 0, or not at all")
    return setting == "1" if setting else _has_instructions()


@functools.cache
def _has_instructions() -> bool:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
            return not _LINUX.isdisjoint(flags)
    with contextlib.suppress(ImportError, AttributeError):
        # NumPy detects the features, but has no public name for them.
        features = import_module("numpy._core._multiarray_umath").__cpu_features__
        return any(features.get(name, False) for name in _NUMPY)
    return False


def slow_int8_reason() -> str:
    """Return the reason why int8 is slow here: no such instructions; empty where the processor has them."""
    if has_fast_int8():
        return ""
    return "this processor has no fast int8 instructions (VNNI, AMX or dot product)"


def choose_precision(
    bundle: ModelBundle, requested: PrecisionName, engine: EngineName = "auto"
) -> tuple[PrecisionName, str]:
    """Choose the precision of a run.

    Parameters
    ----------
    bundle, requested, engine
        The model, and the requested precision and engine.

    Returns
    -------
    str
        ``"f32"`` or ``"int8"``.
    str
        Warning why it is not the requested one; else empty.

    Raises
    ------
    ParamsError
        Int8 was requested with TensorFlow, which cannot run an int8 network.
    ModelError
        The model has no int8 network.
    """
    if requested == "f32":
        return "f32", ""
    if engine == "tensorflow":
        raise ParamsError("--precision int8 is for OpenVINO, but --engine tensorflow was given; drop one of them")
    if not bundle.has_int8:
        about = bundle.manifest.quantised
        if about is not None and about.why:
            raise ModelError(
                f"{bundle.path} has no int8 network, as none was stored when it was trained ({about.why}); use "
                "--precision f32"
            )
        raise ModelError(
            f"{bundle.path} has no int8 network; train it with --precision int8, or classify with --precision f32"
        )
    why = slow_int8_reason()
    return ("f32", f"{why}, so the network is run in f32") if why else ("int8", "")
