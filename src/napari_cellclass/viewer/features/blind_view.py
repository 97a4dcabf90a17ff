"""What the viewer shows during a blinded reading: one tile, and nothing else. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.viewer.common.keys import Action, bind_keys, list_keys
from napari_cellclass.viewer.common.layers import KEY, unwrap

if TYPE_CHECKING:
    from napari.viewer import Viewer

_NAME = "tile"
_SIDE = 256.0  # of every tile in world units, so that its size in px tells nothing


class BlindView:
    """Takes the viewer's layers away, shows tiles, and brings the layers back at the end.

    Names, paths and pictures of other layers could give a tile away, and a hidden layer still has its name.

    Parameters
    ----------
    viewer
        The napari viewer.
    keys
        What each key does while a tile is shown.
    legend
        The keys in words.
    ignored
        Called with a letter or digit that does nothing.
    """

    def __init__(self, viewer: Viewer, keys: Mapping[str, Action], legend: str, ignored: Callable[[str], None]) -> None:
        from napari.layers import Image

        self._viewer = viewer
        self._aside = [unwrap(layer) for layer in viewer.layers]
        active, camera, text = viewer.layers.selection.active, viewer.scene.camera, viewer.canvas.overlays.text
        self._active = None if active is None else unwrap(active)
        self._camera = (camera.center, camera.zoom, viewer.dims.current_step)
        self._text = (text.text, text.visible, text.position, text.font_size)
        self._title = viewer.title
        self._layer: Any = Image(np.zeros((1, 1, 3), np.uint8), rgb=True, name=_NAME, interpolation2d="linear")
        self._layer.metadata[KEY] = {"kind": "blind"}
        bind_keys([self._layer], keys, ignored)
        viewer.add_layer(self._layer)
        for layer in list(viewer.layers):
            if unwrap(layer) is not self._layer:
                viewer.layers.remove(layer)
        viewer.title, viewer.status = "napari", ""
        list_keys(viewer, legend.split("\n"))

    @property
    def hidden(self) -> int:
        """How many layers were put aside."""
        return len(self._aside)

    @property
    def present(self) -> bool:
        """Whether the layer that shows the tiles is still there."""
        return any(unwrap(layer) is self._layer for layer in self._viewer.layers)

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Show a tile, uint8 (h, w, 3), as large as the canvas allows."""
        self._layer.data = picture
        self._layer.scale = (_SIDE / max(picture.shape[:2]),) * 2
        self._viewer.layers.selection.active = self._layer
        self._viewer.help = ""  # it names keys that are ours now
        self._viewer.reset_view()

    def end(self) -> None:
        """Take the tile away and bring everything back as it was."""
        viewer, text = self._viewer, self._viewer.canvas.overlays.text
        for layer in self._aside:
            viewer.add_layer(layer)
        for layer in list(viewer.layers):
            if unwrap(layer) is self._layer:
                viewer.layers.remove(layer)
        text.text, text.visible, text.position, text.font_size = self._text
        viewer.title = self._title
        if self._aside:
            viewer.layers.selection.active = self._active
            viewer.dims.current_step = self._camera[2]
            viewer.scene.camera.center, viewer.scene.camera.zoom = self._camera[:2]
        self._aside = []
