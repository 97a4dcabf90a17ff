"""What would be uploaded: the wheel holds what a user needs and nothing else; every bound can be tried."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder
from scripts import check_dist

import napari_cellclass

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    return check_dist.project()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the build backend without a network."""
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])
    return Path(built)


def without(wheel: Path, name: str, folder: Path, added: str = "") -> Path:
    """Copy a wheel but for one file, and with an empty one more where one is named."""
    target = folder / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(target, "w") as copy:
        for entry in source.infolist():
            if entry.filename != name:
                copy.writestr(entry, source.read(entry), zipfile.ZIP_STORED)
        if added:
            copy.writestr(added, "")
    return target


def test_the_wheel_holds_what_a_user_needs_and_nothing_else(wheel: Path, table: dict[str, Any]) -> None:
    check_dist.check_wheel(wheel, table)
    assert "napari_cellclass/napari.yaml" in check_dist.contents(wheel)


@pytest.mark.parametrize("name", ["napari_cellclass/" + one for one in check_dist.NEEDED])
def test_a_wheel_that_lacks_a_file_is_refused(wheel: Path, table: dict[str, Any], tmp_path: Path, name: str) -> None:
    with pytest.raises(check_dist.DistError, match=re.escape(name)):
        check_dist.check_wheel(without(wheel, name, tmp_path), table)


@pytest.mark.parametrize("name", ["tests/test_api.py", "napari_cellclass/tests/test_api.py"])
def test_a_wheel_with_tests_is_refused(wheel: Path, table: dict[str, Any], tmp_path: Path, name: str) -> None:
    with pytest.raises(check_dist.DistError, match="tests"):
        check_dist.check_wheel(without(wheel, "", tmp_path, name), table)


def test_every_dependency_has_a_lowest_version_and_the_constraints_name_it(table: dict[str, Any]) -> None:
    bounds = check_dist.lower_bounds(table)
    assert {"numpy", "napari", "tensorflow", "statsmodels", "pytest-xdist", "twine"} <= set(bounds)
    assert f"napari=={bounds['napari']}\n" in check_dist.constraints(table)
    with pytest.raises(check_dist.DistError, match="no lower bound"):
        check_dist.lower_bounds(table | {"dependencies": ["numpy"]})


def test_the_version_stands_in_one_place(table: dict[str, Any]) -> None:
    sources = (ROOT / "src").rglob("*.py")
    found = [path for path in sources if re.search(r"__version__ = \"\d+\.", path.read_text(encoding="utf-8"))]
    assert found == []
    assert napari_cellclass.__version__ == table["version"]
    assert f"version: {table['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
