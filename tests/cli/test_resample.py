"""``classify --resample``: a field of another pixel size, brought to the model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.cli.main import main
from napari_cellclass.core.samples.realfield import ihc_field
from napari_cellclass.core.tiles.resampling import pixel_sizes_differ, rescaled_tile_px


def write(path: Path, pixels: np.ndarray, um: float | None) -> Path:
    sizes = {} if um is None else {"PhysicalSizeX": um, "PhysicalSizeY": um}
    tifffile.imwrite(path, pixels, ome=True, photometric="rgb", metadata={"axes": "YXS"} | sizes)
    return path


@given(st.integers(8, 512), st.floats(0.05, 5), st.floats(0.05, 5))
def test_a_rescaled_tile_covers_what_the_models_tile_covered(px: int, trained: float, here: float) -> None:
    height, width = rescaled_tile_px((px, 2 * px), (trained, trained), (here, here), "f")
    assert abs(height * here - px * trained) <= max(here / 2, here if height == 1 else 0) + 1e-9
    assert width >= height
    assert pixel_sizes_differ((trained, trained), (here, here)) == (max(trained / here, here / trained) > 1.1)


@pytest.mark.training
def test_a_field_of_another_pixel_size_is_only_rescaled_when_asked(
    ihc_model_half_um: Path, tmp_path: Path, capsys: Any
) -> None:
    field = ihc_field().data[:256, :256]
    same = write(tmp_path / "same.ome.tif", field, 0.5)
    fine = write(tmp_path / "fine.ome.tif", field.repeat(2, axis=0).repeat(2, axis=1), 0.25)
    unknown = write(tmp_path / "unknown.ome.tif", field, None)

    def tables(out: str, *words: str) -> list[pd.DataFrame]:
        line = ["classify", str(same), str(fine), "--model", str(ihc_model_half_um), "--out", str(tmp_path / out)]
        assert main([*line, "--progress", "none", *words]) == 0
        return [pd.read_csv(path) for path in sorted((tmp_path / out).glob("*.tiles.csv"), reverse=True)]

    plain = tables("plain")
    assert "pixels are 0.25 µm, but the model was trained on 0.5 µm" in capsys.readouterr().err
    assert len(plain[1]) == 4 * len(plain[0])
    expected, found = tables("rescaled", "--resample")
    assert "but the model was trained on 0.5" not in capsys.readouterr().err
    assert expected.equals(plain[0])
    boxes = ["y0", "x0", "y1", "x1"]
    np.testing.assert_array_equal(found[boxes], 2 * expected[boxes])  # in px of the field itself
    assert (found["class_name"] == expected["class_name"]).mean() > 0.95
    words = ["classify", str(unknown), "--model", str(ihc_model_half_um), "--out", str(tmp_path / "u"), "--resample"]
    assert main([*words, "--quiet"]) == 2
    assert "the pixel size of unknown.ome.tif is not known, so nothing can be rescaled" in capsys.readouterr().err
