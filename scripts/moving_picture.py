"""Make the moving picture of the README: an image, six labels by keys, and the map that follows them.

A real window is driven as a user drives it. The class of each tile is that of the field's own stain, as measured by
:func:`~napari_cellclass.core.samples.realfield.ihc_tile_labels`.

    sh scripts/xvfb.sh python scripts/moving_picture.py --out docs/images/quick-start.webp
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if __package__:
    from scripts.screenshots import look, wait
else:
    from screenshots import look, wait

WINDOW, WIDTH = (1360, 850), 1000
LABELS = 6
MOST_BYTES = 4 << 20


class Recording:
    """Pictures of a window, each with a caption and how long it is shown.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.frames: list[Image.Image] = []
        self.milliseconds: list[int] = []

    def take(self, caption: str, milliseconds: int) -> None:
        """Add a picture of the window as it is now."""
        look(0.3)
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)[..., :3]
        picture = Image.fromarray(pixels)
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
        draw = ImageDraw.Draw(picture)
        font = ImageFont.load_default(size=22)
        width = draw.textlength(caption, font)
        x, y = 14, picture.height - 50
        draw.rounded_rectangle((x, y, x + width + 24, y + 38), 8, fill=(20, 20, 20), outline=(240, 240, 240))
        draw.text((x + 12, y + 19), caption, fill=(255, 255, 255), font=font, anchor="lm")
        self.frames.append(picture)
        self.milliseconds.append(milliseconds)

    def save(self, path: Path) -> None:
        """Write the pictures as one WebP that begins again at its end."""
        path.parent.mkdir(parents=True, exist_ok=True)
        first, *others = self.frames
        first.save(path, save_all=True, append_images=others, duration=self.milliseconds, loop=0, quality=80, method=6)
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise SystemExit(f"{path} has {size} bytes, which is too much for a README")
        print(f"{path}: {len(self.frames)} pictures, {size // 1024} KB")


def record(viewer: Any) -> Recording:
    """Open the field, label six tiles by keys, and show the map."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    from napari_cellclass.core.samples.realfield import IHC_TILE_PX, ihc_field, ihc_tile_labels

    recording = Recording(viewer)
    viewer.window._qt_window.resize(*WINDOW)
    field = ihc_field()
    viewer.add_image(field.data, rgb=True, name="ihc")
    viewer.reset_view()
    look(1)
    recording.take("1. Open an image", 1600)
    _, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    work, live = dock.workspace, dock.label.live.predictions
    dock.header.tile_px.setValue(IHC_TILE_PX)
    wait(lambda: work.annotation is not None and not dock.header.opening)
    for index, name in enumerate(("unstained", "stained")):
        work.edit_classes(lambda annotation, i=index, n=name: annotation.change_class(i, name=n))
    wait(lambda: live.session is not None and work.field_key in live.session.fields)
    wait(lambda: live.session.fields[work.field_key].complete and work.live_here() is not None)
    viewer.reset_view()
    look(2)
    recording.take("2. Plugins > Cell Class > Cell Class", 1600)
    truth = np.asarray(ihc_tile_labels(work.annotation.grid))
    canvas = viewer.window._qt_viewer.canvas.native
    for number in range(1, LABELS + 1):
        tile = work.current_tile
        key = int(truth[tile]) + 1
        QTest.keyClick(canvas, (Qt.Key.Key_1, Qt.Key.Key_2)[key - 1])
        labels = np.asarray(work.annotation.labels)
        if len(set(labels[labels >= 0])) > 1:
            wait(lambda n=number: live.current is not None and sum(live.current.n_labels) == n)
            wait(lambda n=number: dock.map.map.table is not None and dock.map.map.table.record["live"]["labels"] == n)
        look(1)
        viewer.reset_view()
        word = "label" if number == 1 else "labels"
        recording.take(f"3. Key {key}: {('unstained', 'stained')[key - 1]} ({number} {word})", 1000)
    dock.show_page("Classify field")
    look(1)
    viewer.reset_view()
    recording.take(f"4. The map of {len(truth)} tiles, from {LABELS} labels", 3500)
    return recording


def main() -> None:
    """Make the moving picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/quick-start.webp"))
    parser.add_argument("--frames", type=Path, help="folder that the single pictures are also written to")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            os.environ[name] = str(Path(scratch) / name.lower())
        os.environ["NAPARI_CELLCLASS_TOUR"] = "off"
        import napari

        viewer = napari.Viewer()
        recording = record(viewer)
        viewer.close()
    recording.save(given.out)
    if given.frames:
        given.frames.mkdir(parents=True, exist_ok=True)
        for number, frame in enumerate(recording.frames):
            frame.save(given.frames / f"{number:02d}.png")


if __name__ == "__main__":
    main()
