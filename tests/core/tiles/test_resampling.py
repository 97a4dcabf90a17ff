from __future__ import annotations

import pytest

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.tiles.resampling import pixel_sizes_differ, rescaled_tile_px


@pytest.mark.parametrize("percent", [0, 1, 5, 9, 11, 15, 25, 50, 90, 300])
@pytest.mark.parametrize("axis", [0, 1])
def test_pixel_sizes_that_differ_by_more_than_a_tenth_along_either_axis_are_another_scale(
    percent: int, axis: int
) -> None:
    trained = [0.5, 0.5]
    here = [0.5, 0.5]
    here[axis] *= 1 + percent / 100
    assert pixel_sizes_differ((trained[0], trained[1]), (here[0], here[1])) == (percent > 10)
    assert pixel_sizes_differ((here[0], here[1]), (trained[0], trained[1])) == (percent > 10)


def test_an_unknown_pixel_size_is_no_other_scale_and_cannot_be_rescaled() -> None:
    assert not pixel_sizes_differ(None, (9, 9))
    assert not pixel_sizes_differ((9, 9), None)
    for trained, here, named in ((None, (1.0, 1.0), "the model"), ((1.0, 1.0), None, "B03.tif")):
        with pytest.raises(ParamsError, match=named):
            rescaled_tile_px((32, 32), trained, here, "B03.tif")
