from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.tile_size import SIZES, USUAL_PX, propose_tile_size


def source(pixels: np.ndarray, **options: object) -> SourceImage:
    return SourceImage(pixels if pixels.ndim == 3 else pixels[..., None], **options)


def discs(diameter: int, shape: tuple[int, int] = (1100, 1300)) -> np.ndarray:
    """Discs at random positions, 1 on 0, on about a fifth of the field."""
    rng = np.random.default_rng(0)
    field = np.zeros(shape)
    disc = np.hypot(*(np.mgrid[: diameter + 2, : diameter + 2] - (diameter + 1) / 2)) <= diameter / 2
    for y, x in rng.integers(0, np.array(shape) - len(disc), (field.size // disc.sum() // 4, 2)):
        field[y : y + len(disc), x : x + len(disc)][disc] = 1
    return field


@pytest.mark.parametrize("diameter", [8, 20, 40, 90])
@pytest.mark.parametrize("looks", ["bright", "dark", "noisy", "uneven light", "16 bits", "two channels", "RGB"])
def test_the_diameter_of_discs_is_measured_however_the_image_looks(diameter: int, looks: str) -> None:
    field = discs(diameter)
    rng = np.random.default_rng(1)
    images = {
        "bright": source(field),
        "dark": source((200 - 150 * field).astype(np.uint8)),
        "noisy": source(field + rng.normal(0, 0.5, field.shape)),
        "uneven light": source(field + np.linspace(0, 4, len(field))[:, None]),
        "16 bits": source((60_000 * field).astype(np.uint16)),
        "two channels": source(np.stack([rng.normal(0, 1, field.shape), field], axis=-1)),
        "RGB": source((250 - field[..., None] * np.array([40, 200, 90])).astype(np.uint8), rgb=True),
    }
    proposal = propose_tile_size(images[looks])
    assert proposal.scale_px == pytest.approx(diameter, rel=0.15)
    assert proposal.tile_px == min(SIZES, key=lambda size: abs(np.log(size / 3.41 / proposal.scale_px)))
    assert proposal.channel == (1 if looks == "two channels" else 0)


def test_half_the_size_of_the_cells_gives_half_the_size_of_tiles() -> None:
    large, small = (propose_tile_size(source(discs(diameter))) for diameter in (60, 30))
    assert large.tile_px == 2 * small.tile_px


def test_the_reason_tells_the_diameter_in_px_and_um_and_the_channel() -> None:
    field = np.stack([np.zeros((1100, 1300)), discs(40)], axis=-1)
    proposal = propose_tile_size(source(field, pixel_size_um=(0.5, 0.5), channel_names=("DNA", "GFP")))
    assert proposal.scale_um == pytest.approx(0.5 * proposal.scale_px)
    assert proposal.reason.startswith("128 px tiles, about three cells or spots across (")
    assert f"({proposal.scale_px:.0f} px, {proposal.scale_um:.0f} µm, in GFP)" in proposal.reason


@pytest.mark.parametrize(
    ("pixels", "why"),
    [
        (np.full((600, 600), 7, np.uint8), "one grey value"),
        (np.full((600, 600), 65535, np.uint16), "one grey value"),
        (np.full((600, 600), np.nan), "one grey value"),
        (np.random.default_rng(0).normal(0, 1, (600, 600)), "stands out"),
        (np.random.default_rng(0).poisson(3, (600, 600)).astype(np.uint8), "stands out"),
        (np.random.default_rng(0).normal(0, 1e300, (600, 600)), "stands out"),
        (np.linspace(0, 1, 600)[:, None] * np.ones(600), "stands out"),
    ],
    ids=["flat", "saturated", "not a number", "noise", "photon noise", "huge numbers", "a gradient"],
)
def test_an_image_without_structure_gets_the_usual_size_and_is_told_so(pixels: np.ndarray, why: str) -> None:
    proposal = propose_tile_size(source(pixels))
    assert proposal.tile_px == USUAL_PX
    assert why in proposal.reason
    assert proposal.scale_px is proposal.scale_um is proposal.channel is None


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_never_taken_for_cells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(32, 700, 2)
    assert propose_tile_size(source(rng.normal(100, 10, shape))).scale_px is None


@settings(max_examples=40)
@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.integers(1, 3),
    st.sampled_from([np.uint8, np.uint16, np.int32, np.float32, np.float64, np.bool_]),
    st.integers(1, 80),
    st.integers(0, 2**32 - 1),
)
def test_tiles_fit_any_image_four_times_each_way_where_it_is_not_tiny(
    height: int, width: int, channels: int, dtype: type, grain: int, seed: int
) -> None:
    grains = np.random.default_rng(seed).random((-(-height // grain), -(-width // grain), channels))
    pixels = (grains * 200).astype(dtype).repeat(grain, axis=0).repeat(grain, axis=1)[:height, :width]
    proposal = propose_tile_size(source(pixels))
    grid = TileGrid.regular((height, width), proposal.tile_px)
    assert len(grid) >= (16 if min(height, width) >= 128 else 1)
    assert proposal.tile_px in SIZES or proposal.tile_px == min(height, width)
    assert proposal.reason.startswith(f"{proposal.tile_px} px tiles")


def test_of_a_large_field_a_few_crops_are_read() -> None:
    read = []

    class Pixels:
        shape, dtype = (30_000, 40_000, 1), np.dtype(np.uint8)

        def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
            read.append([range(*one.indices(40_000)) for one in key])
            return np.zeros((len(read[-1][0]), len(read[-1][1]), 1), np.uint8)

    assert propose_tile_size(SourceImage(Pixels())).tile_px == USUAL_PX
    assert sum(len(y) * len(x) for y, x in read) <= 9 * 1024**2


def test_cells_that_lie_away_from_the_first_crops_are_found() -> None:
    field = np.zeros((6000, 6000), np.uint8)
    field[2450:3550, 2350:3650] = 100 * discs(40)
    assert propose_tile_size(source(field)).scale_px == pytest.approx(40, rel=0.15)


def test_pixels_that_cannot_be_read_are_an_error_of_the_image() -> None:
    class Damaged:
        shape, dtype = (400, 400, 1), np.dtype(np.uint8)

        def __getitem__(self, key: object) -> np.ndarray:
            raise OSError("bad sector")

    with pytest.raises(ImageError, match="bad sector"):
        propose_tile_size(SourceImage(Damaged(), "a.tif"))


@pytest.mark.realdata
def test_red_cells_measure_about_what_people_drew_around_them(real_data: Path) -> None:
    boxes = pd.read_csv(real_data / "bccd" / "labels.csv").query("`class` == 'RBC'")
    drawn = np.sqrt((boxes.xmax - boxes.xmin) * (boxes.ymax - boxes.ymin)).groupby(boxes.image).median()
    images = sorted((real_data / "bccd" / "fields").glob("*.jpg"))[:12]
    ratios = [propose_tile_size(read_image(path)).scale_px / drawn[path.name] for path in images]
    assert np.median(ratios) == pytest.approx(1, abs=0.3)
