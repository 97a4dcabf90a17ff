"""The viewer during a blinded reading: one tile, and nothing else. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.viewer.common.key_bindings import Action, advertise_keys, bind_keys
from napari_cellclass.viewer.common.layers import KEY, add_unselected, remove_layers
from napari_cellclass.viewer.common.proxies import unwrap

if TYPE_CHECKING:
    from napari.viewer import Viewer

_NAME = "tile"
_SIDE = 256.0  # of every tile in world units, so that its size in px does not show


class BlindView:
    """Removes the viewer's layers, shows tiles, and restores the layers at the end.

    Names, paths and pixels of other layers could reveal the class of a tile, and a hidden layer still shows its name.

    Parameters
    ----------
    viewer
        The napari viewer.
    keys
        Action of each key while a tile is shown.
    described
        What the keys do, for the status bar.
    ignored
        Called with a letter or digit that has no action.
    """

    def __init__(
        self, viewer: Viewer, keys: Mapping[str, Action], described: str, ignored: Callable[[str], None]
    ) -> None:
        from napari.layers import Image

        self._viewer = viewer
        self._hidden_layers = [unwrap(layer) for layer in viewer.layers]
        active, camera, text = viewer.layers.selection.active, viewer.scene.camera, viewer.canvas.overlays.text
        self._active = None if active is None else unwrap(active)
        self._camera = (camera.center, camera.zoom, viewer.dims.current_step)
        self._text = (text.text, text.visible)
        self._title = viewer.title
        self._layer: Any = Image(np.zeros((1, 1, 3), np.uint8), rgb=True, name=_NAME, interpolation2d="linear")
        self._layer.metadata[KEY] = {"kind": "blind"}
        bind_keys([self._layer], keys, ignored)
        advertise_keys([self._layer], described)
        viewer.add_layer(self._layer)
        remove_layers(viewer, self._hidden_layers)
        viewer.title, viewer.status = "napari", ""
        text.text, text.visible = "", False

    @property
    def hidden(self) -> int:
        """Number of layers that were removed."""
        return len(self._hidden_layers)

    @property
    def is_in_viewer(self) -> bool:
        """Whether the layer that shows the tiles is still in the viewer."""
        return any(unwrap(layer) is self._layer for layer in self._viewer.layers)

    def show(self, pixels: NDArray[np.uint8]) -> None:
        """Show a tile, uint8 (h, w, 3), as large as the canvas allows."""
        self._layer.data = pixels
        self._layer.scale = (_SIDE / max(pixels.shape[:2]),) * 2
        self._viewer.layers.selection.active = self._layer
        self._viewer.reset_view()

    def restore(self) -> Iterator[None]:
        """Remove the tile and restore the viewer as it was, a layer at a time, as each takes napari some ten ms."""
        viewer, text = self._viewer, self._viewer.canvas.overlays.text
        for layer in self._hidden_layers:
            add_unselected(viewer, layer)
            yield
        remove_layers(viewer, [self._layer])
        text.text, text.visible = self._text
        viewer.title = self._title
        if self._hidden_layers:
            viewer.layers.selection.active = self._active
            viewer.dims.current_step = self._camera[2]
            viewer.scene.camera.center, viewer.scene.camera.zoom = self._camera[:2]
        self._hidden_layers = []
