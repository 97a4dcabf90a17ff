"""Scripts that name a module as it was called before find the same classes and functions."""

from __future__ import annotations

import importlib
import sys

import pytest

from napari_cellclass._former_names import FORMER_NAMES


@pytest.mark.parametrize(("former", "now"), FORMER_NAMES.items())
def test_a_moved_module_is_found_under_its_former_name(former: str, now: str) -> None:
    sys.modules.pop(f"napari_cellclass.{former}", None)
    with pytest.warns(DeprecationWarning, match=f"{former} is napari_cellclass.{now} now"):
        before = importlib.import_module(f"napari_cellclass.{former}")
    after = importlib.import_module(f"napari_cellclass.{now}")
    assert all(getattr(before, name) is value for name, value in vars(after).items() if not name.startswith("__"))


def test_a_module_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("napari_cellclass.core.nothing")
