from __future__ import annotations

from pathlib import Path

import dask.array as da
import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

from napari_cellclass.core.images import content_hash, png
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles import streaming
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.streaming import iterate_tile_batches, iterate_tile_rows


@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_rows_of_tiles_are_the_tiles_of_the_grid(edge: str, overlap: float) -> None:
    source = SourceImage(np.random.default_rng(0).integers(0, 255, (70, 90, 2)).astype(np.uint8))
    grid = TileGrid.regular(source.shape, 32, overlap, edge).take([3, 0, 2])  # type: ignore[arg-type]
    seen = {}
    for tile_indices, tiles in iterate_tile_rows(source, grid):
        seen |= dict(zip(tile_indices.tolist(), tiles, strict=True))
    assert sorted(seen) == list(range(len(grid)))
    for place, tile in seen.items():
        np.testing.assert_array_equal(tile, source.read(*grid.boxes[place].tolist()))


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_batches_are_views_of_the_pixels_where_tiles_are_evenly_spaced(overlap: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 130, 2)).astype(np.uint8)
    source = SourceImage(pixels)
    grid = TileGrid.regular(source.shape, 32, overlap)
    for tile_indices, tiles in iterate_tile_batches(source, grid, 3):
        assert np.shares_memory(tiles, pixels)
        assert not tiles.flags.writeable
        for place, tile in zip(tile_indices, tiles, strict=True):
            np.testing.assert_array_equal(tile, source.read(*grid.boxes[place].tolist()))


def test_overlapping_rows_are_not_read_again_and_again_and_gaps_not_at_all() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 320, 64)).astype(np.uint8).transpose(1, 2, 0)
    times = np.zeros(320, int)

    class Counted:
        shape, dtype = pixels.shape, pixels.dtype

        def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
            times[key[0]] += 1
            return pixels[key]

    grid = TileGrid.regular((320, 64), 32, 0.5)
    grid = grid.take((grid.boxes[:, 2] <= 160) | (grid.boxes[:, 0] >= 256))
    for tile_indices, tiles in iterate_tile_batches(SourceImage(Counted()), grid, 8):
        for place, tile in zip(tile_indices, tiles, strict=True):
            y0, x0, y1, x1 = grid.boxes[place]
            np.testing.assert_array_equal(tile, pixels[y0:y1, x0:x1])
    assert (times[160:256] == 0).all()
    assert times.max() == 2
    assert times.mean() < 1  # every row twice would be 1.4


@pytest.mark.parametrize("chunk", [32, 64, 96, 128])
def test_no_chunk_of_a_file_is_read_twice_where_tiles_abut(chunk: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (640, 64, 1)).astype(np.uint8)
    times = np.zeros(-(-640 // chunk), int)

    class Chunked:
        shape, dtype, chunk_rows = pixels.shape, pixels.dtype, chunk

        def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
            times[key[0].start // chunk : -(-key[0].stop // chunk)] += 1
            return pixels[key]

    list(iterate_tile_batches(SourceImage(Chunked()), TileGrid.regular((640, 64), 32), 8))
    assert (times == 1).all()


def test_the_first_row_of_tiles_is_read_by_itself_where_the_file_allows_it() -> None:
    asked = []

    class Recorded:
        shape, dtype = (640, 64, 1), np.dtype(np.uint8)

        def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
            asked.append((key[0].start, key[0].stop))
            return np.zeros((key[0].stop - key[0].start, 64, 1), np.uint8)

    list(iterate_tile_batches(SourceImage(Recorded()), TileGrid.regular((640, 64), 32), 8))
    assert asked == [(0, 32), (32, 96), (96, 224), (224, 480), (480, 640)]


def test_the_chunks_of_zarr_dask_and_tiff_are_known(tmp_path: Path) -> None:
    pixels = np.zeros((2, 96, 64), np.uint8)
    zarr.create_array(tmp_path / "a.zarr", data=pixels, chunks=(1, 40, 64))
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], tile=(32, 32), compression="zlib")
    assert read_image(tmp_path / "a.zarr").chunk_rows == 40
    assert read_image(tmp_path / "a.zarr").select([1]).chunk_rows == 40
    assert read_image(tmp_path / "a.tif").chunk_rows == 32
    lazy = da.zeros((96, 64, 2), chunks=(48, 64, 1))
    assert SourceImage(lazy).chunk_rows == SourceImage(lazy).select([1]).chunk_rows == 48
    assert (
        SourceImage(
            zarr.create_array(tmp_path / "b.zarr", shape=(96, 64, 3), chunks=(24, 64, 3), dtype="u1")
        ).chunk_rows
        == 24
    )
    assert SourceImage(pixels[0][..., None]).chunk_rows == 1


@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
@pytest.mark.parametrize("hashed", [False, True])
def test_wide_rows_are_read_in_parts_and_give_the_same_tiles_and_hash(
    monkeypatch: pytest.MonkeyPatch, edge: str, overlap: float, hashed: bool
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 150, 700)).astype(np.uint16).transpose(1, 2, 0)
    widest = 0

    class Recorded:
        shape, dtype = pixels.shape, pixels.dtype

        def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
            nonlocal widest
            widest = max(widest, key[1].stop - key[1].start)
            return pixels[key]

    grid = TileGrid.regular((150, 700), 32, overlap, edge)  # type: ignore[arg-type]
    monkeypatch.setattr("napari_cellclass.core.images.content_hash._WHOLE_HASH_BYTES", 0)
    expected = SourceImage(pixels).image_id
    whole = {
        int(p): t.copy()
        for ps, ts in iterate_tile_batches(SourceImage(pixels), grid, 4)
        for p, t in zip(ps, ts, strict=True)
    }
    monkeypatch.setattr("napari_cellclass.core.tiles.streaming._MAX_BAND_BYTES", 0)
    monkeypatch.setattr("napari_cellclass.core.tiles.streaming._BAND_BYTES", 32 * 32 * 6 * 4)
    row_hash = SourceImage(pixels).row_hash() if hashed else None
    seen = []
    for tile_indices, tiles in iterate_tile_batches(SourceImage(Recorded()), grid, 4, row_hash):
        seen += tile_indices.tolist()
        for place, tile in zip(tile_indices.tolist(), tiles, strict=True):
            np.testing.assert_array_equal(tile, whole[place])
    assert seen == list(range(len(grid)))
    assert widest <= 6 * 32
    if row_hash is not None:
        monkeypatch.setattr(SourceImage, "read", lambda *_: pytest.fail("read again"))
        assert edge == "drop" or row_hash.hexdigest() == expected


def test_parts_of_a_wide_row_leave_nothing_out_for_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (96, 700, 1)).astype(np.uint8)
    monkeypatch.setattr("napari_cellclass.core.images.content_hash._WHOLE_HASH_BYTES", 0)
    monkeypatch.setattr("napari_cellclass.core.tiles.streaming._BAND_BYTES", 32 * 32)
    source = SourceImage(pixels)
    grid = TileGrid.regular((96, 700), 32)
    for tile_indices in (np.flatnonzero(grid.col % 5 == 2), np.arange(len(grid))[::-1], np.arange(3)):
        row_hash = source.row_hash()
        for _ in iterate_tile_batches(source, grid.take(tile_indices), 2, row_hash):
            pass
        assert source.identify(row_hash=row_hash) == SourceImage(pixels).image_id


def test_channels_that_lie_apart_are_brought_together() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 64, 96)).astype(np.uint16).transpose(1, 2, 0)
    grid = TileGrid.regular((64, 96), 32)
    for tile_indices, tiles in iterate_tile_batches(SourceImage(pixels), grid, 8):
        assert tiles.strides[2:] == (6, 2)
        for place, tile in zip(tile_indices, tiles, strict=True):
            y0, x0, y1, x1 = grid.boxes[place]
            np.testing.assert_array_equal(tile, pixels[y0:y1, x0:x1])


def test_rows_come_in_the_order_of_the_grid_with_their_own_pixels() -> None:
    pixels = np.arange(90 * 40, dtype=np.int32).reshape(90, 40, 1)
    for overlap in (0.0, 0.5):
        grid = TileGrid.regular((90, 40), 10, overlap).rows_ordered_from(47)
        seen: list[int] = []
        for tile_indices, tiles in iterate_tile_batches(SourceImage(pixels), grid, 3):
            seen += tile_indices.tolist()
            for place, tile in zip(tile_indices, tiles, strict=True):
                y0, x0, y1, x1 = grid.boxes[place]
                np.testing.assert_array_equal(tile, pixels[y0:y1, x0:x1])
        assert seen == list(range(len(grid)))
        assert grid.boxes[0, 0] <= 47 < grid.boxes[0, 2]


@pytest.mark.parametrize("overlap", [0.0, 0.5])
@pytest.mark.parametrize("order", ["from the top", "from the middle", "with gaps"])
def test_a_png_is_decoded_once_and_its_rows_are_let_go_as_they_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, overlap: float
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (640, 64, 3)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    decode, rows = png._unfilter, []

    def counted(above: bytes, filtered: list[bytes], header: png.PngHeader, out: np.ndarray) -> None:
        rows.append(len(out) - 1)
        decode(above, filtered, header, out)

    monkeypatch.setattr(png, "_unfilter", counted)
    monkeypatch.setattr(png, "_STRIP_BYTES", 2000)
    monkeypatch.setattr(streaming, "_BAND_BYTES", 64 * pixels[0].nbytes)
    monkeypatch.setattr(content_hash, "_WHOLE_HASH_BYTES", 1)
    source = read_image(tmp_path / "a.png")
    grid = TileGrid.regular(source.shape, 32, overlap)
    if order == "from the middle":
        grid = grid.take(np.argsort(np.abs(grid.boxes[:, 0] - 300), kind="stable"))
    elif order == "with gaps":
        grid = grid.take(grid.boxes[:, 0] // 32 % 3 == 0)
    row_hash = source.row_hash()
    for tile_indices, tiles in iterate_tile_batches(source, grid, 8, row_hash):
        for place, tile in zip(tile_indices, tiles, strict=True):
            y0, x0, y1, x1 = grid.boxes[place]
            np.testing.assert_array_equal(tile, pixels[y0:y1, x0:x1])
    source.identify(row_hash=row_hash)
    assert source.image_id == SourceImage(pixels).image_id
    assert sum(rows) == 640
    if order != "from the middle":
        assert source.data._kept.shape[0] < 200
