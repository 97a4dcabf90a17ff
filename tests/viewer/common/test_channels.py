"""What is a channel, a plane or a field of its own is recognised, or asked; never taken for another in silence."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Image
from napari.plugins import _initialize_plugins

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.viewer.common.channels import channel_question, describe_layers, field_of, propose_fields
from napari_cellclass.viewer.common.layer_axes import UnclearChannelsError, answer_axis, read_layer_axes
from napari_cellclass.viewer.common.layers import image_from_layers, is_user_layer, plane_of

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 255, shape, dtype=np.uint8)


def full(source: object) -> np.ndarray:
    return source.read(0, 0, *source.shape)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def opened(viewer: ViewerModel, path: Path) -> Image:
    """Open a file with napari's own reader, which tells nothing of its axes."""
    _initialize_plugins()
    (layer,) = viewer.open(str(path), plugin="napari")
    return layer


@pytest.mark.parametrize("label", ["c", "C", "channel", "Channels", "wavelength"])
def test_an_axis_that_is_labelled_as_channels_is_taken_as_channels(label: str) -> None:
    data = pixels(5, 20, 30)
    layer = Image(data, axis_labels=(label, "y", "x"))
    assert channel_question([layer]) is None
    source = image_from_layers([layer], (3, 0, 0))
    np.testing.assert_array_equal(full(source), np.moveaxis(data, 0, -1))
    assert source.plane == {}
    assert source.source_axes == "CYX"


@pytest.mark.parametrize(
    "options",
    [
        {"data": pixels(3, 20, 30), "axis_labels": ("z", "y", "x")},
        {"data": pixels(2, 20, 30), "axis_labels": ("time", "y", "x")},
        {"data": pixels(3, 20, 30), "scale": (5, 0.5, 0.5)},
        {"data": pixels(3, 20, 30), "units": ("s", "um", "um")},
        {"data": pixels(5, 20, 30)},
        {"data": pixels(1, 20, 30)},
    ],
    ids=["labelled z", "labelled time", "a scale of its own", "in seconds", "five of them", "one of them"],
)
def test_planes_are_recognised_without_a_question(options: dict) -> None:
    layer = Image(**options)
    assert channel_question([layer]) is None
    source = image_from_layers([layer])
    assert source.channels == 1
    assert source.plane == {"Z": 0}


@pytest.mark.parametrize("length", [2, 3, 4])
def test_a_short_axis_without_a_label_is_asked_once(length: int) -> None:
    data = pixels(length, 20, 30)
    layer = Image(data, name="cells")
    with pytest.raises(UnclearChannelsError, match=f"'cells' has an axis of length {length}"):
        image_from_layers([layer])
    question = channel_question([layer])
    assert question.text == f"The axis of length {length} of cells: channels or planes?"
    question.answer("channels")
    assert channel_question([layer]) is None
    assert image_from_layers([layer]).channels == length
    assert is_user_layer(layer)
    answer_axis(layer, 0, "planes")
    source = image_from_layers([layer], (1, 0, 0))
    np.testing.assert_array_equal(full(source)[..., 0], data[1])


def test_a_copy_of_a_layer_keeps_the_answer(viewer: ViewerModel) -> None:
    layer = viewer.add_image(pixels(2, 20, 30))
    channel_question([layer]).answer("channels")
    assert image_from_layers([Image.create(*layer.as_layer_data_tuple())]).channels == 2


def test_of_a_stack_of_channels_the_sliders_choose_the_plane(viewer: ViewerModel) -> None:
    data = pixels(6, 2, 20, 30)
    layer = viewer.add_image(data, axis_labels=("z", "c", "y", "x"))
    viewer.dims.set_current_step(0, 4)
    viewer.dims.set_current_step(1, 1)
    source = image_from_layers([layer], viewer.dims.point)
    np.testing.assert_array_equal(full(source), np.moveaxis(data[4], 0, -1))
    assert source.plane == plane_of([layer], viewer.dims.point) == {"Z": 4}


def test_the_channels_of_ome_metadata_are_taken_as_channels_with_their_names(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    path = tmp_path / "cells.ome.tif"
    data = pixels(2, 40, 50)
    tifffile.imwrite(path, data, metadata={"axes": "CYX", "Channel": {"Name": ["GFP", "DNA"]}})
    layer = opened(viewer, path)
    assert channel_question([layer]) is None
    assert describe_layers([layer]) == "channels: GFP, DNA"
    assert image_from_layers([layer]).image_id == read_image(path).image_id


def test_a_stack_in_ome_metadata_is_a_stack_however_short(viewer: ViewerModel, tmp_path: Path) -> None:
    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(path, pixels(3, 40, 50), metadata={"axes": "ZYX"})
    layer = opened(viewer, path)
    assert channel_question([layer]) is None
    assert image_from_layers([layer]).plane == {"Z": 0}


def test_pages_without_metadata_are_asked(viewer: ViewerModel, tmp_path: Path) -> None:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, pixels(2, 40, 50), metadata=None, photometric="minisblack")
    assert channel_question([opened(viewer, path)]) is not None


def test_a_layer_that_is_not_its_file_any_more_is_not_told_by_it(viewer: ViewerModel, tmp_path: Path) -> None:
    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(path, pixels(2, 40, 50), metadata={"axes": "CYX"})
    layer = opened(viewer, path)
    layer.data = pixels(3, 40, 50)
    assert read_layer_axes(layer).unclear == 0


def test_channels_of_a_dask_layer_are_read_where_they_are_needed() -> None:
    read = []

    def block(block_info: object = None) -> np.ndarray:
        read.append(1)
        return np.zeros((1, 100, 100), np.uint8)

    meta = np.zeros((0, 0, 0), np.uint8)
    data = da.map_blocks(block, chunks=((1, 1), (100,) * 3, (100,) * 3), dtype=np.uint8, meta=meta)
    layer = Image(data, contrast_limits=(0, 1), axis_labels=("c", "y", "x"))
    read.clear()
    assert image_from_layers([layer]).read(0, 0, 50, 50).shape == (50, 50, 2)
    assert len(read) == 2


def test_channels_of_a_zarr_layer_are_read_where_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zarr.create_array(tmp_path / "a.zarr", shape=(2, 300, 300), chunks=(1, 100, 100), dtype="u1")
    data[:] = pixels(2, 300, 300)
    layer = Image(data, contrast_limits=(0, 255), axis_labels=("c", "y", "x"), multiscale=False)
    read, get = [], zarr.Array.__getitem__
    monkeypatch.setattr(zarr.Array, "__getitem__", lambda array, key: read.append(key) or get(array, key))
    part = image_from_layers([layer]).read(10, 20, 60, 70)
    assert read == [(slice(None), slice(10, 60), slice(20, 70))]
    np.testing.assert_array_equal(part, np.moveaxis(data[:, 10:60, 20:70], 0, -1))


def test_of_a_multiscale_layer_of_channels_level_0_is_taken() -> None:
    data = pixels(2, 64, 64)
    layer = Image([data, data[:, ::2, ::2]], multiscale=True, axis_labels=("c", "y", "x"))
    np.testing.assert_array_equal(full(image_from_layers([layer])), np.moveaxis(data, 0, -1))


def test_the_layers_of_a_channel_axis_are_one_field(viewer: ViewerModel) -> None:
    layers = viewer.add_image(pixels(2, 20, 30), channel_axis=0)
    other = viewer.add_image(pixels(20, 30), name="other")
    one, alone = propose_fields([*layers, other])
    assert one.layers == tuple(layers)
    assert one.reason == "they were opened together, each in its colour"
    assert (alone.layers, alone.reason) == ((other,), "")
    assert field_of(layers[1], viewer.layers) == tuple(layers)
    assert field_of(other, viewer.layers) == (other,)


def test_layers_whose_names_differ_by_channel_are_one_field_with_these_channels(viewer: ViewerModel) -> None:
    names = ["B03_s1 GFP", "B03_s1 DNA", "B04_s1 GFP", "B04_s1 DNA", "overview"]
    layers = [viewer.add_image(pixels(20, 30), name=name) for name in names]
    fields = propose_fields(layers)
    assert [[layer.name for layer in field.layers] for field in fields] == [names[:2], names[2:4], names[4:]]
    assert fields[0].channel_names == ("GFP", "DNA")
    assert describe_layers(layers[:2]) == "channels: GFP, DNA (of one image: their names differ by channel alone)"


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ({"data": pixels(20, 31)}, "31 x 20 px"),
        ({"data": pixels(20, 30).astype(np.uint16)}, "is uint16"),
        ({"data": pixels(20, 30), "translate": (0, 30)}, "is not scaled, translated"),
    ],
)
def test_layers_that_do_not_lie_on_each_other_are_fields_of_their_own(second: dict, why: str) -> None:
    layers = [Image(pixels(20, 30), name="a GFP"), Image(**second, name="a DNA")]
    assert len(propose_fields(layers)) == 2
    assert channel_question(layers) is None
    with pytest.raises(ImageError, match=f"'a DNA' .*{why}"):
        image_from_layers(layers)


@pytest.mark.parametrize("answer", ["channels", "fields"])
def test_two_layers_that_look_like_two_fields_are_asked_once(answer: str) -> None:
    layers = [Image(pixels(20, 30), name=name) for name in ("O05f00", "O05f01")]
    with pytest.raises(UnclearChannelsError, match="channels of one image or 2 fields"):
        image_from_layers(layers)
    question = channel_question(layers)
    assert question.text == "O05f00 and O05f01: channels of one image or 2 fields?"
    question.answer(answer)
    assert channel_question(layers) is None
    if answer == "channels":
        assert image_from_layers(layers).channels == 2
    else:
        with pytest.raises(ImageError, match="are 2 fields; tick one of them"):
            image_from_layers(layers)


def test_two_layers_with_nothing_against_it_are_channels_and_it_is_said() -> None:
    layers = [Image(pixels(20, 30), name=name) for name in ("one", "two")]
    assert describe_layers(layers) == "channels: one, two (of one image: they lie on each other)"
    assert len(propose_fields(layers)) == 2
