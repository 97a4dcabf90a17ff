from __future__ import annotations

import numpy as np

from napari_cellclass.core.tiles.histograms import GreyHistogram
from napari_cellclass.report.curves import FigureStyle
from napari_cellclass.report.histograms import draw_histograms


def test_each_channel_has_its_line_on_both_sides() -> None:
    tiles = np.random.default_rng(0).integers(0, 4096, (4, 16, 16, 2))
    pixels = draw_histograms(GreyHistogram.of(tiles), GreyHistogram.of(tiles / 4095), FigureStyle(400, 150, 2.0))
    assert pixels.shape == (300, 800, 4)
    for half in (pixels[:, :400], pixels[:, 400:]):
        for colour in ((0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00)):
            near = np.abs(half[..., :3].astype(int) - colour).sum(-1) < 30
            assert (near & (half[..., 3] > 200)).sum() > 50
