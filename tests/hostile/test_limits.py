"""Limits on what one file may claim: stated, generous, and changed by whoever has more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_cellclass.core.common import limits
from napari_cellclass.core.common.csv_tables import read_table
from napari_cellclass.core.common.errors import CellClassError, ParamsError
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.tiles.grid import TileGrid

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", limits.DEFAULTS)
def test_every_limit_can_be_changed_and_a_wrong_value_is_told(
    name: limits.LimitName, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert limits.limit(name) == limits.DEFAULTS[name]
    monkeypatch.setenv(limits.limit_variable(name), "5_000")
    assert limits.limit(name) == 5000
    for wrong in ("many", "-1", "0", "1.5", "²"):
        monkeypatch.setenv(limits.limit_variable(name), wrong)
        with pytest.raises(ParamsError, match=limits.limit_variable(name)):
            limits.limit(name)


def test_the_reference_states_every_limit() -> None:
    text = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    assert [name for name in limits.DEFAULTS if f"| `{limits.limit_variable(name)}` |" not in text] == []


def test_lower_limits_refuse_what_is_above_them_and_name_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    cases = {
        "image_pixels": lambda: read_image(tmp_path / "a.png"),
        "table_bytes": lambda: read_table(tmp_path / "a.csv"),
        "tiles": lambda: TileGrid.regular((64, 64), 8),
    }
    for name, use in cases.items():
        use()
        with monkeypatch.context() as lower:
            lower.setenv(f"NAPARI_CELLCLASS_MAX_{name.upper()}", "5")
            with pytest.raises(CellClassError) as caught:
                use()
        assert " 5 " in str(caught.value), caught.value
