"""Laws of the samples in File > Open Sample."""

import functools
import subprocess
import sys

import numpy as np
import pytest

from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.samples.realfield import IHC_TILE_PX
from napari_cellclass.viewer.common.layers import image_from_layers, proposal_of
from napari_cellclass.viewer.io.samples import ihc_sample, inseparable_plate_sample, separable_plate_sample
from napari_cellclass.viewer.workspace.opening import open_field

PLATES = [separable_plate_sample, inseparable_plate_sample]


@functools.cache
def opened(sample):
    return sample()


@pytest.mark.parametrize("sample", [ihc_sample, *PLATES])
def test_napari_can_add_every_layer_of_a_sample(sample):
    from napari.components import ViewerModel  # needs no window

    viewer = ViewerModel()
    for data, keywords, kind in opened(sample):
        layer = getattr(viewer, f"add_{kind}")(data, **keywords)
        assert layer.name == keywords["name"]
        assert layer.rgb == keywords.get("rgb", False)


def test_the_stained_sample_opens_in_tiles_of_a_cell_and_not_of_a_gland(tmp_path):
    from napari.components import ViewerModel

    viewer = ViewerModel()
    for sample in (ihc_sample, separable_plate_sample):
        for data, keywords, _ in opened(sample):
            viewer.add_image(data, **keywords)
    stained, *plate = viewer.layers
    proposal = proposal_of([stained])
    field = open_field(image_from_layers([stained]), Journal(tmp_path), proposal=proposal)
    assert field.annotation.grid.tile_px == (IHC_TILE_PX, IHC_TILE_PX)
    assert field.notes == (proposal.reason + ".",)
    assert proposal_of(plate[:1]) is None
    assert proposal_of(list(viewer.layers)) is None


@pytest.mark.parametrize("sample", PLATES)
def test_a_plate_sample_has_two_wells_of_each_class(sample):
    names = [keywords["name"] for _, keywords, _ in opened(sample)]
    assert names == ["diffuse B03f00", "diffuse C04f00", "globs C03f00", "globs B04f00"]


@pytest.mark.parametrize("sample", PLATES)
def test_the_fields_of_a_plate_sample_lie_side_by_side(sample):
    boxes = []
    for data, keywords, _ in opened(sample):
        start = np.array(keywords["translate"])
        boxes.append((start, start + np.array(keywords["scale"]) * data.shape))
    for i, (start, end) in enumerate(boxes):
        for other_start, other_end in boxes[:i]:
            assert (start >= other_end).any() or (other_start >= end).any()


@pytest.mark.parametrize("sample", PLATES)
def test_a_plate_sample_is_in_micrometres_and_its_limits_show_the_cells(sample):
    for data, keywords, _ in opened(sample):
        assert keywords["scale"] == (0.325, 0.325)
        assert keywords["units"] == ("um", "um")
        low, high = keywords["contrast_limits"]
        assert data.min() <= low < np.median(data) < high <= data.max()


def test_a_sample_is_the_same_each_time_it_is_opened():
    first, again = opened(separable_plate_sample), separable_plate_sample()
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, again, strict=True))


def test_importing_the_samples_imports_neither_napari_nor_qt():
    unwanted = {"napari", "qtpy", "tensorflow", "matplotlib"}
    code = f"import sys, napari_cellclass.viewer.io.samples; sys.exit(len({unwanted} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
