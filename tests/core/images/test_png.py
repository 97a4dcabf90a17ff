"""PNG read strip by strip."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.common.prefetch import single_threaded
from napari_cellclass.core.images import png as readers_png
from napari_cellclass.core.images.reading import read_image

_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}


def chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def paeth(left: int, up: int, corner: int) -> int:
    """Predict as the PNG specification says, 9.4."""
    guess = left + up - corner
    return min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]


def filtered(pixels: np.ndarray, filters: Iterable[int]) -> bytes:
    """Filter rows by the PNG specification, 9.2, in plain Python."""
    big = pixels.astype(pixels.dtype.newbyteorder(">"))
    step = big.shape[2] * big.itemsize
    out, above = bytearray(), bytes(big.shape[1] * step)
    for line, kind in zip(big, filters, strict=True):
        row = line.tobytes()
        out.append(kind)
        for i, value in enumerate(row):
            left, up = row[i - step] if i >= step else 0, above[i]
            corner = above[i - step] if i >= step else 0
            out.append((value - (0, left, up, (left + up) // 2, paeth(left, up, corner))[kind]) % 256)
        above = row
    return bytes(out)


def png(pixels: np.ndarray, filters: Iterable[int] | None = None, pieces: int = 3) -> bytes:
    """Encode pixels (h, w, samples) with such filters, the stream in so many chunks."""
    height, width, samples = pixels.shape
    depth = 8 * pixels.itemsize
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((depth, _COLOURS[samples], 0, 0, 0))
    stream = zlib.compress(filtered(pixels, [0] * height if filters is None else filters))
    length = -(-len(stream) // pieces)
    parts = [stream[i : i + length] for i in range(0, len(stream), length)]
    body = [chunk(b"IHDR", header), *(chunk(b"IDAT", part) for part in parts), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def noise(shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_pixels_are_the_same_with_any_filters_chunks_and_strips(tmp_path_factory, data):
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(1, 4)))
    pixels = noise(shape, data.draw(st.sampled_from([np.uint8, np.uint16])))
    filters = data.draw(st.lists(st.integers(0, 4), min_size=shape[0], max_size=shape[0]))
    path = tmp_path_factory.mktemp("png") / "a.png"
    path.write_bytes(png(pixels, filters, data.draw(st.integers(1, 9))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers_png, "_STRIP_BYTES", data.draw(st.integers(1, 60)))
        patch.setattr(readers_png, "_PIECE", data.draw(st.integers(1, 40)))
        patch.setattr(readers_png, "_READ_BYTES", data.draw(st.integers(1, 200)))
        seen = read_image(path)
        kept = pixels[..., : seen.channels]
        rows = st.integers(0, shape[0] - 1)
        for y0, passed in data.draw(st.lists(st.tuples(rows, st.none() | rows), min_size=1, max_size=5)):
            if passed is not None:
                seen.release_rows(passed)
            y1 = data.draw(st.integers(y0 + 1, shape[0]))
            assert_array_equal(seen.read(y0, 0, y1, shape[1]), kept[y0:y1])
        assert_array_equal(seen.read(0, 0, *shape[:2]), kept)
    assert seen.channels == {1: 1, 2: 1, 3: 3, 4: 3}[shape[2]]
    assert seen.dtype == pixels.dtype


@pytest.fixture
def strips(monkeypatch) -> list[int]:
    """Heights of the strips that are decoded, each of ten rows of 90 bytes."""
    decode, heights = readers_png._unfilter, []
    monkeypatch.setattr(readers_png, "_STRIP_BYTES", 910)

    def counted(above, filtered, header, out):
        heights.append(len(out) - 1)
        decode(above, filtered, header, out)

    monkeypatch.setattr(readers_png, "_unfilter", counted)
    return heights


def test_rows_are_decoded_as_far_as_they_are_asked_for(tmp_path, strips):
    pixels = noise((45, 30, 3))
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    image = read_image(tmp_path / "a.png")
    assert strips == []
    assert_array_equal(image.read(3, 0, 20, 30), pixels[3:20])
    assert strips == [10, 10]
    assert_array_equal(image.read(19, 4, 21, 30), pixels[19:21, 4:])
    assert strips == [10, 10, 10]
    assert_array_equal(image.read(0, 0, 45, 30), pixels)
    assert strips == [10, 10, 10, 10, 5]


def test_rows_are_inflated_in_a_thread_while_filters_are_undone_unless_single_threaded(tmp_path, strips, monkeypatch):
    pixels = noise((45, 30, 3))
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    inflate, seen = readers_png._filtered_strips, set()

    def watched(*given):
        for strip in inflate(*given):
            seen.add(threading.current_thread().name.split("_")[0])
            yield strip

    monkeypatch.setattr(readers_png, "_filtered_strips", watched)
    before = set(threading.enumerate())
    assert_array_equal(read_image(tmp_path / "a.png").read(0, 0, 45, 30), pixels)
    assert "prefetch" in seen
    assert set(threading.enumerate()) <= before
    seen.clear()
    with single_threaded():
        assert_array_equal(read_image(tmp_path / "a.png").read(0, 0, 45, 30), pixels)
    assert seen == {threading.current_thread().name}


def test_threads_that_ask_at_once_decode_each_strip_once(tmp_path, strips):
    pixels = noise((45, 30, 3))
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    image = read_image(tmp_path / "a.png")
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda y: image.read(y, 0, y + 1, 30), reversed(range(45))))
    assert_array_equal(np.concatenate(rows[::-1]), pixels)
    assert strips == [10, 10, 10, 10, 5]


def test_what_was_given_cannot_be_written_to_and_stays_as_it_is(tmp_path, strips):
    pixels = noise((45, 30, 3))
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    image = read_image(tmp_path / "a.png")
    top = image.read(0, 0, 10, 30)
    with pytest.raises(ValueError, match="read-only"):
        top[0] = 0
    image.read(0, 0, 45, 30)
    assert_array_equal(top, pixels[:10])


def test_rows_that_have_passed_are_let_go_and_decoded_again_for_whoever_asks(tmp_path, strips):
    pixels = noise((45, 30, 3))
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    image = read_image(tmp_path / "a.png")
    top = image.read(0, 0, 20, 30)
    image.release_rows(15)
    assert_array_equal(image.read(0, 0, 20, 30), pixels[:20])
    middle = image.read(15, 0, 30, 30)
    assert middle.base.shape[0] <= 21  # two strips and the row above them, not the field
    assert_array_equal(image.read(11, 0, 30, 30), pixels[11:30])
    assert strips == [10, 10, 10]
    assert_array_equal(image.read(0, 0, 45, 30), pixels)
    assert strips == [10, 10, 10, 10, 10, 10, 10, 5]
    assert_array_equal(top, pixels[:20])
    assert_array_equal(middle, pixels[15:30])


def test_a_half_read_file_is_not_kept_open_and_is_refused_when_it_changes(tmp_path, strips, monkeypatch):
    monkeypatch.setattr(readers_png, "_READ_BYTES", 1000)
    path, pixels, other = tmp_path / "a.png", noise((45, 30, 3)), 255 - noise((45, 30, 3))
    path.write_bytes(png(pixels))
    image = read_image(path)
    assert_array_equal(image.read(0, 0, 5, 30), pixels[:5])
    assert str(path) not in [file.path for file in psutil.Process().open_files()]
    path.write_bytes(png(other))
    os.utime(path, ns=(0, 0))
    for _ in range(2):
        with pytest.raises(ImageError, match="changed while it was read"):
            image.read(0, 0, 45, 30)
    assert_array_equal(read_image(path).read(0, 0, 45, 30), other)


def test_a_file_that_changed_between_two_decodings_is_refused(tmp_path, strips):
    path, pixels = tmp_path / "a.png", noise((45, 30, 3))
    path.write_bytes(png(pixels))
    image = read_image(path)
    image.read(0, 0, 10, 30)
    image.release_rows(10)
    image.read(10, 0, 45, 30)
    path.write_bytes(png(255 - pixels))
    os.utime(path, ns=(0, 0))
    with pytest.raises(ImageError, match="changed while it was read"):
        image.read(0, 0, 10, 30)


@pytest.mark.parametrize(("at", "what"), [(20, "height"), (26, "compression"), (27, "filters"), (32, "checksum")])
def test_a_header_that_is_damaged_is_refused(tmp_path, at, what):
    whole = bytearray(png(noise((45, 30, 3))))
    whole[at] ^= 1
    (tmp_path / "a.png").write_bytes(whole)
    with pytest.raises(ImageError, match=r"a\.png"):
        read_image(tmp_path / "a.png").read(0, 0, 20, 30)


def test_pixels_after_the_end_of_a_file_are_no_pixels(tmp_path):
    body = png(noise((4, 5, 3)), pieces=1)
    idat, iend = body.index(b"IDAT") - 4, len(body) - 12
    (tmp_path / "a.png").write_bytes(body[:idat] + body[iend:] + body[idat:iend])
    with pytest.raises(ImageError, match="rows are missing"):
        read_image(tmp_path / "a.png").read(0, 0, 4, 5)


def test_many_reads_after_the_last_that_passed_copy_what_is_kept_seldom(tmp_path, strips, monkeypatch):
    pixels = noise((600, 30, 3))
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    image = read_image(tmp_path / "a.png")
    image.read(0, 0, 20, 30)
    image.release_rows(20)
    rooms = []
    room = image.data._room
    monkeypatch.setattr(image.data, "_room", lambda rows: rooms.append(rows) or room(rows))
    for y in range(20, 600, 10):
        assert_array_equal(image.read(y, 0, y + 10, 30), pixels[y : y + 10])
    assert len(rooms) <= 8


def test_a_damaged_strip_is_refused_each_time_and_those_above_it_are_given(tmp_path, strips):
    pixels = noise((45, 30, 3))
    whole = bytearray(png(pixels, pieces=9))
    whole[len(whole) * 2 // 3] ^= 1
    (tmp_path / "a.png").write_bytes(whole)
    image = read_image(tmp_path / "a.png")
    for _ in range(2):
        assert_array_equal(image.read(0, 0, 10, 30), pixels[:10])
        with pytest.raises(ImageError, match="incorrect data check"):
            image.read(0, 0, 45, 30)


def test_a_stream_longer_than_its_rows_is_not_inflated(tmp_path, monkeypatch):
    """A header of one row, and 256 MB behind it in one chunk of a quarter of a megabyte."""
    row = bytes(1) + noise((1, 30, 3)).tobytes()
    header = (30).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row + bytes(256 << 20))), chunk(b"IEND", b"")]
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    taken = []
    strips = readers_png._filtered_strips

    def watched(*given):
        for strip in strips(*given):
            taken.append(sum(map(len, strip)))
            yield strip

    monkeypatch.setattr(readers_png, "_filtered_strips", watched)
    assert_array_equal(read_image(tmp_path / "bomb.png").read(0, 0, 1, 30), noise((1, 30, 3)))
    assert taken == [91]


def test_a_file_that_became_another_is_refused(tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(png(noise((4, 5, 3))))
    image = read_image(path)
    path.write_bytes(png(noise((4, 6, 3))))
    with pytest.raises(ImageError, match="changed while it was read"):
        image.read(0, 0, 4, 5)
