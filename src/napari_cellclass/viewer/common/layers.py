"""Conversion of napari layers to our records: pixels, pixel size, transform. No Qt, no threads."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images.planes import ArrayPlane
from napari_cellclass.core.images.reading import is_image
from napari_cellclass.core.images.source import SourceImage, as_yxc, chunk_height
from napari_cellclass.core.labels.regions import ellipse_outline
from napari_cellclass.core.tiles.tile_size import TileSizeProposal
from napari_cellclass.viewer.common import metadata
from napari_cellclass.viewer.common.layer_axes import UnclearChannelsError, layer_data, read_layer_axes
from napari_cellclass.viewer.common.layer_planes import PlanePosition, is_on_plane
from napari_cellclass.viewer.common.layer_relations import relation_of
from napari_cellclass.viewer.common.proxies import unwrap

if TYPE_CHECKING:
    from napari.layers import Image, Layer, Shapes
    from napari.viewer import Viewer

KEY = metadata.KEY
"""Our entry in ``layer.metadata``, by which layers are recognised."""


FILE_KEY = "napari_cellclass_file"
"""Our entry in the metadata of an image layer that was read from a file here, with its path."""


PROPOSAL_KEY = "napari_cellclass_tile_size"
"""Our entry in the metadata of a sample image whose tiles have a known size: a :class:`TileSizeProposal`."""


def is_user_layer(layer: Any) -> bool:
    """Whether a layer is a user's: an image, drawn by hand, or regions that were opened from a file."""
    entry = layer.metadata.get(KEY)
    return entry is None or (isinstance(entry, dict) and entry.get("kind") in ("regions", "image"))


def remove_layers(viewer: Viewer, layers: Iterable[Any]) -> None:
    """Remove those of some layers that are in a viewer.

    At each layer napari collects garbage, which with its 300 000 objects takes a fifth of a second, and waits for the
    graphics card. Here both happens once, and no object of before is visited; Python collects later.
    """
    viewer = unwrap(viewer)
    gone = {id(unwrap(layer)) for layer in layers}
    present = [layer for layer in viewer.layers if id(unwrap(layer)) in gone]
    if not present:
        return
    frozen = gc.get_freeze_count() > 0
    gc.freeze()
    try:
        # At once: napari would select another layer, and show its controls, at each one that is removed.
        viewer.layers.selection.difference_update(present)
        with viewer.layers.batched_update():
            for layer in present:
                viewer.layers.remove(layer)
    finally:
        if not frozen:  # else by a long job, which ends it
            gc.unfreeze()


def add_unselected(viewer: Viewer, layer: Layer) -> None:
    """Add a layer, and leave it to the caller which one is selected: napari shows the controls of each that is.

    To select a layer takes a third of the time that it takes to add it.
    """
    viewer = unwrap(viewer)
    selects = viewer.layers._activate_on_insert
    viewer.layers._activate_on_insert = False
    try:
        viewer.add_layer(layer)
    finally:
        viewer.layers._activate_on_insert = selects


def lock_layer(layer: Layer) -> None:
    """Keep a layer from being edited or deleted: a stray key or drag must not change a result.

    napari's own lock, the padlock in the list of layers, keeps a layer from being deleted until a user opens it. It
    does not keep it from being edited, and napari 0.9 makes every layer editable that is added to a window, or shown
    in two dimensions again (``QtShapesControls._on_ndisplay_changed``).
    """
    layer.locked = True
    for name in ("polygon", "brush_stroke"):  # tools for drawing labels, which take napari half a second to prepare
        if name in layer._overlays:
            layer._overlays[name].visible = False
    layer_ref = weakref.ref(layer)

    def make_uneditable(event: Any = None) -> None:
        one = layer_ref()
        if one is not None and one.editable:
            one.editable = False

    make_uneditable()
    layer.events.editable.connect(make_uneditable)


def image_from_layers(layers: Sequence[Image], point: Sequence[float] | None = None) -> SourceImage:
    """Make the record of one image layer, or of several picked as channels.

    Parameters
    ----------
    layers
        Image layers. Of a multiscale layer level 0 is used; RGB samples become three channels, alpha
        is dropped, and so does an axis of channels, see
        :func:`~napari_cellclass.viewer.common.layer_axes.read_layer_axes`. Further layers must have the first one's
        size and transform.
    point
        World coordinates of the viewer's sliders (``viewer.dims.point``): which plane of a stack is
        used. The last two axes of a layer are Y and X.

    Raises
    ------
    UnclearChannelsError
        An axis may be channels or planes, or layers channels or fields; see
        :func:`~napari_cellclass.viewer.common.channels.channel_question`.
    ImageError
        No layer, layers that do not overlie each other, or that are fields of their own.
    """
    if not layers:
        raise ImageError("no image layer is chosen; open an image and pick its layer")
    sources = [_one_layer(layer, point) for layer in layers]
    first = sources[0]
    if len(sources) == 1:
        return first
    for layer, source in zip(layers[1:], sources[1:], strict=True):
        if source.shape != first.shape:
            raise ImageError(
                f"layer {layer.name!r} has {source.shape[1]} x {source.shape[0]} px, but {layers[0].name!r} has "
                f"{first.shape[1]} x {first.shape[0]}; channels must have one size"
            )
        if source.dtype != first.dtype:
            raise ImageError(
                f"layer {layer.name!r} is {source.dtype}, but {layers[0].name!r} is {first.dtype}; convert one of them"
            )
        if not same_transform(layer, layers[0]):
            raise ImageError(
                f"layer {layer.name!r} is not scaled, translated and rotated like {layers[0].name!r}; align them first"
            )
    _check_relation(layers)
    return SourceImage(
        _ConcatenatedChannels([source.data for source in sources]),
        " + ".join(source.name for source in sources),
        pixel_size_um=first.pixel_size_um,
        channel_names=tuple(name for source in sources for name in (source.channel_names or (source.name,))),
        source_axes="CYX",
        source_shape=(len(sources), *first.shape),
        plane=first.plane,
    )


def _check_relation(layers: Sequence[Image]) -> None:
    relation = relation_of(layers) if len(layers) > 1 else "channels"
    if relation != "channels":
        names = f"{', '.join(repr(layer.name) for layer in layers[:-1])} and {layers[-1].name!r}"
        if relation == "fields":
            raise ImageError(f"{names} are {len(layers)} fields; tick one of them")
        raise UnclearChannelsError(f"{names} may be channels of one image or {len(layers)} fields; say which")


class _ConcatenatedChannels:
    """Several (Y, X, C) arrays concatenated along their channels, still lazy."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts
        self.shape = (*parts[0].shape[:2], sum(part.shape[2] for part in parts))
        self.dtype = np.dtype(parts[0].dtype)
        self.chunk_rows = chunk_height(parts[0])

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.concatenate([np.asarray(part[key]) for part in self._parts], axis=-1)


def _one_layer(layer: Image, point: Sequence[float] | None) -> SourceImage:
    data, axes = layer_data(layer), read_layer_axes(layer)
    if axes.unclear is not None:
        length = axes.lengths[axes.unclear]
        raise UnclearChannelsError(f"{layer.name!r} has an axis of length {length}: channels or planes? Say which")
    plane = _plane(layer, point)
    letters = axes.letters + ("YXS" if layer.rgb else "YX")
    if isinstance(data, np.ndarray) or type(data).__module__.startswith("dask."):
        index = tuple(plane.get(letter, slice(None)) for letter in axes.letters)
        field = as_yxc(data[index] if index else data, "".join(letter for letter in letters if letter not in plane))
        field = field[..., :3] if layer.rgb else field
    else:
        field = ArrayPlane(layer.name, data, letters, plane, drop_alpha=bool(layer.rgb))
    return SourceImage(
        field,
        layer.name,
        pixel_size_um=pixel_size_um(layer),
        channel_names=axes.channel_names,
        rgb=bool(layer.rgb),
        source_axes=letters,
        source_shape=tuple(int(n) for n in data.shape),
        plane=plane,
    )


def file_of(layers: Sequence[Any]) -> Path | None:
    """Give the file that napari, or this program, has read layers from; None where it is none, or not one."""
    paths = {str(layer.metadata.get(FILE_KEY) or getattr(layer.source, "path", None) or "") for layer in layers}
    found = Path(paths.pop()) if len(paths) == 1 else Path()
    return found if found.is_file() or (found.is_dir() and is_image(found)) else None


def proposal_of(layers: Sequence[Any]) -> TileSizeProposal | None:
    """Give the tile size that a sample image comes with; None for any other image, and for several layers."""
    found = layers[0].metadata.get(PROPOSAL_KEY) if len(layers) == 1 else None
    return found if isinstance(found, TileSizeProposal) else None


def plane_of(layers: Sequence[Any], point: Sequence[float]) -> dict[str, int]:
    """Tell which plane of an image layer is shown, as :attr:`SourceImage.plane` does; of the first of several."""
    return _plane(layers[0], point) if layers else {}


def _plane(layer: Image, point: Sequence[float] | None) -> dict[str, int]:
    axes = read_layer_axes(layer)
    index = (0,) * len(axes.letters)
    if point is not None and axes.letters:
        world = np.zeros(layer.ndim)
        given = np.asarray(point, float)[-layer.ndim :]
        world[-len(given) :] = given
        position = np.round(layer.world_to_data(world)[: len(index)]).astype(int)
        index = tuple(int(np.clip(i, 0, n - 1)) for i, n in zip(position, axes.lengths, strict=True))
    return {letter: i for letter, i in zip(axes.letters, index, strict=True) if letter != "C"}


def pixel_size_um(layer: Layer) -> tuple[float, float] | None:
    """Size of a pixel in µm as (y, x), where the layer's units are lengths; else None."""
    sizes = []
    for scale, unit in zip(layer.scale[-2:], layer.units[-2:], strict=True):
        if not unit.is_compatible_with("micrometer"):
            return None
        sizes.append(abs(float((float(scale) * unit).to("micrometer").magnitude)))
    return sizes[0], sizes[1]


def transform_of(layer: Layer) -> dict[str, Any]:
    """Give scale, translate, rotate, shear, affine and units of the last two axes, for a new 2-D layer."""
    linear = layer.affine.linear_matrix[-2:, -2:]
    affine = np.eye(3)
    affine[:2, :2] = linear
    affine[:2, 2] = layer.affine.translate[-2:]
    return {
        "scale": np.asarray(layer.scale)[-2:],
        "translate": np.asarray(layer.translate)[-2:],
        "rotate": np.asarray(layer.rotate)[-2:, -2:],
        "shear": np.atleast_1d(layer.shear)[-1:],
        "affine": affine,
        "units": layer.units[-2:],
    }


def matrix_of(transform: Mapping[str, Any]) -> NDArray[np.float64]:
    """Compose what :func:`transform_of` gave into one 3 x 3 matrix from (y, x) in px to world."""
    from napari.utils.transforms import Affine

    own = Affine(
        scale=transform["scale"], translate=transform["translate"], rotate=transform["rotate"], shear=transform["shear"]
    )
    return np.asarray(transform["affine"], float) @ own.affine_matrix


def view_centre(viewer: Viewer, layer: Layer) -> tuple[float, float]:
    """Give the centre of the view, (y, x) in px of a layer."""
    centre = np.array(viewer.scene.camera.center[-2:], float)
    y, x = np.linalg.solve(matrix_of(transform_of(layer)), (*centre, 1.0))[:2]
    return float(y), float(x)


def same_transform(one: Layer, other: Layer) -> bool:
    """Whether two layers have the same transform."""
    a, b = transform_of(one), transform_of(other)
    return all(np.allclose(a[key], b[key]) for key in ("scale", "translate", "rotate", "shear", "affine"))


def region_polygons(shapes: Shapes, image: Layer, position: PlanePosition | None = None) -> list[NDArray[np.float64]]:
    """Outlines of a Shapes layer in px of an image layer.

    Parameters
    ----------
    shapes
        Rectangles, ellipses and polygons; lines and paths enclose nothing and are left out.
    image
        The layer whose pixels count; both layers' transforms are respected.
    position
        The plane of the field, see :func:`~napari_cellclass.viewer.common.layer_planes.plane_position`: shapes of other
        planes limit nothing here.

    Returns
    -------
    list of float64 arrays, shape (n, 2)
        (y, x) in px, pixel centres on integers.

    Raises
    ------
    ImageError
        The layer contains no closed shape.
    """
    outlines = []
    for i, world in outlines_in_world(shapes):
        if not is_on_plane(shapes, shapes.data[i], position or {}):
            continue
        padded = np.zeros((len(world), image.ndim))
        padded[:, -2:] = world
        outlines.append(np.stack([np.asarray(image.world_to_data(p))[-2:] for p in padded]))
    if not outlines:
        raise ImageError(
            f"the region layer {shapes.name!r} contains no closed shape on this plane; draw a rectangle or polygon"
        )
    return outlines


def outlines_in_world(shapes: Shapes) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield index and outline, shape (n, 2) in world (y, x), of every closed shape of a layer."""
    for i, (vertices, kind) in enumerate(zip(shapes.data, shapes.shape_type, strict=True)):
        if kind not in ("line", "path"):
            corners = ellipse_outline(vertices) if kind == "ellipse" else np.asarray(vertices, float)
            yield i, np.stack([np.asarray(shapes.data_to_world(corner))[-2:] for corner in corners])
