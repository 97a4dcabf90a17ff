"""Modules that were moved, under the names that scripts written before know them by."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

FORMER_NAMES = {
    "core.coco": "core.interchange.coco",
    "core.contracts": "core.common.errors",
    "core.geojson": "core.interchange.geojson",
    "core.label_csv": "core.labels.points_and_boxes",
    "viewer.file_readers": "viewer.io.file_readers",
}
"""The readers and errors that scripts use, by the former name within the package."""
_PACKAGE = __name__.rpartition(".")[0]


class _FormerNames(MetaPathFinder, Loader):
    """Finds a module under its former name, with a deprecation warning."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == _PACKAGE and name in FORMER_NAMES else None

    def exec_module(self, module: ModuleType) -> None:
        now = f"{_PACKAGE}.{FORMER_NAMES[module.__name__.partition('.')[2]]}"
        warnings.warn(f"{module.__name__} is {now} now", DeprecationWarning, stacklevel=2)
        own = {"__name__", "__spec__", "__loader__", "__package__"}
        found = vars(importlib.import_module(now))
        vars(module).update({name: value for name, value in found.items() if name not in own})


def find_former_names() -> None:
    """Let modules be imported under their former names."""
    if not any(isinstance(finder, _FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(_FormerNames())
