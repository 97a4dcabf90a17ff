from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image

from napari_cellclass.core.common.errors import CancelledError, DatasetError, OutputError, ParamsError
from napari_cellclass.core.common.task import Progress, Task
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.params.prepare import SliceParams
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.rotation import rotate_tile
from napari_cellclass.runs.prepare import slice_plan, slicing
from napari_cellclass.runs.prepare.slicing import slice_images

SHAPE = (64, 96)


def field(seed: int, channels: int = 1, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 200, (*SHAPE, channels)).astype(dtype).squeeze()


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Two classes of two fields, 2 x 3 tiles of 32 px each."""
    for i, name in enumerate(("a/f2.png", "a/f10.png", "b/f1.png", "b/f2.png")):
        path = tmp_path / "plate" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(field(i)).save(path)
    return tmp_path / "plate"


def cut(*images: Path, **settings: Any) -> slicing.SliceReport:
    return slice_images(SliceParams(images=list(images), **{"tile_px": 32, **settings}))


def table(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "tiles.csv", keep_default_na=False)


def files(out: Path) -> list[str]:
    """List the tiles that were written, without their table and the settings beside them."""
    tiles = [p for p in out.rglob("*") if p.is_file() and p.name != "tiles.csv" and p.suffix != ".json"]
    return sorted(p.relative_to(out).as_posix() for p in tiles)


def check(out: Path) -> pd.DataFrame:
    """Check that the list and the files are the same, and that every hash is right; give the list."""
    frame = table(out)
    assert sorted(frame["file"]) == files(out)
    for row in frame.itertuples():
        assert read_image(out / row.file).image_id == row.hash
    return frame


# -- names, boxes and content -------------------------------------------------------------------


def test_tiles_are_named_in_sequence_and_listed_with_source_box_and_hash(plate: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = cut(plate, out=out)
    assert (len(report.outcomes), report.failed, sum(o.tiles for o in report.outcomes)) == (4, (), 24)
    frame = check(out)
    assert list(frame) == [
        "file", "class_name", "source", "row", "col", "y0", "x0", "y1", "x1", "angle", "group", "hash"
    ]  # fmt: skip
    assert files(out)[:7] == [f"a/a_0001_r0{r}_c0{c}.png" for r in (0, 1) for c in (0, 1, 2)] + ["a/a_0002_r00_c00.png"]
    for row in frame.itertuples():
        whole = np.asarray(Image.open(row.source))
        np.testing.assert_array_equal(np.asarray(Image.open(out / row.file)), whole[row.y0 : row.y1, row.x0 : row.x1])
        assert (row.y0, row.x0) == (32 * row.row, 32 * row.col)
        assert row.group == f"{row.class_name}/{Path(row.source).name}"
    first = frame[frame["file"].str.startswith("a/a_0001")]
    assert {Path(s).name for s in first["source"]} == {"f2.png"}, "f2 stands before f10"


def test_without_classes_the_image_names_its_tiles(plate: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut(plate / "a", out=out, tile_px=64)
    assert files(out) == ["f10_0002_r00_c00.png", "f2_0001_r00_c00.png"]
    assert set(table(out)["class_name"]) == {""}


def test_names_sort_as_rows_columns_and_fields_do(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (1, 1200), np.uint8)).save(tmp_path / "wide.png")
    out = tmp_path / "out"
    cut(tmp_path / "wide.png", out=out, tile_px=1, prefix="CON")
    frame = table(out)
    assert files(out) == list(frame.sort_values(["row", "col"])["file"])
    assert files(out)[-1] == "CON_0001_r00_c1199.png"


@pytest.mark.parametrize(
    ("dtype", "channels", "suffix"), [("uint16", 1, ".png"), ("uint16", 2, ".tif"), ("float32", 4, ".tif")]
)
def test_depth_channels_and_pixel_size_are_kept(dtype: str, channels: int, suffix: str, tmp_path: Path) -> None:
    pixels = np.moveaxis(field(3, channels, dtype).reshape(*SHAPE, channels), 2, 0) * np.dtype(dtype).type(300)
    path = tmp_path / "f.tif"
    options = {"resolution": (2, 2), "metadata": {"axes": "CYX", "unit": "um"}}
    tifffile.imwrite(path, pixels, imagej=True, **options)
    out = tmp_path / "out"
    cut(path, out=out)
    source = read_image(path)
    for row in check(out).itertuples():
        tile = read_image(out / row.file)
        assert tile.path is not None
        assert tile.path.suffix == suffix
        assert tile.dtype == source.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(tile.data[...], source.read(row.y0, row.x0, row.y1, row.x1))
        assert tile.pixel_size_um == (None if suffix == ".png" else (0.5, 0.5))


def test_rotated_copies_are_rotated_and_belong_to_their_field(plate: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = cut(plate, out=out, rotate="-2:1")
    assert (sum(o.tiles for o in report.outcomes), sum(o.copies for o in report.outcomes)) == (24, 72)
    frame = check(out)
    start = "a/a_0001_r00_c00"
    assert [f for f in files(out) if f.startswith(start)] == [
        f"{start}.png", f"{start}_a+01.png", f"{start}_a-01.png", f"{start}_a-02.png"
    ]  # fmt: skip
    for _, same in frame.groupby(["group", "row", "col"]):
        assert sorted(same["angle"]) == [-2, -1, 0, 1]
        pixels = {row.angle: np.asarray(Image.open(out / row.file))[..., None] for row in same.itertuples()}
        for angle in (-2, -1, 1):
            np.testing.assert_array_equal(pixels[angle], rotate_tile(pixels[0], angle))
            assert (pixels[angle] != pixels[0]).any()
            assert pixels[angle].min() > 0


# -- adding, overwriting, cancelling, failing ---------------------------------------------------


def test_another_class_is_added_and_numbering_goes_on(plate: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    cut(plate / "a" / "f2.png", out=out, class_name="a")
    cut(plate / "a" / "f10.png", out=out, class_name="a")
    cut(plate / "b", out=out, class_name="b")
    cut(plate, out=whole)
    assert files(out) == files(whole)
    pd.testing.assert_frame_equal(*(check(place).sort_values("file", ignore_index=True) for place in (out, whole)))


def test_an_existing_file_is_named_and_kept(plate: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "a").mkdir(parents=True)
    (out / "a" / "A_0002_r01_c00.png").write_text("mine")
    with pytest.raises(OutputError, match=r"A_0002_r01_c00.png exists; --force"):
        cut(plate, out=out, prefix="A")
    assert files(out) == ["a/A_0002_r01_c00.png"], "nothing was written before the check"


def test_an_image_that_was_cut_before_is_not_cut_again_without_force(plate: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut(plate, out=out)
    before = {name: (out / name).read_bytes() for name in files(out)}
    with pytest.raises(OutputError, match=r"a_0001_r00_c00.png exists, because f2.png was cut before; --force"):
        cut(plate, out=out)
    with pytest.raises(OutputError, match="was cut before"):
        cut(plate / "b" / "f2.png", out=out, class_name="b", prefix="other")
    assert {name: (out / name).read_bytes() for name in files(out)} == before


def test_force_replaces_the_tiles_of_an_image_and_no_others(plate: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut(plate, out=out)
    cut(plate / "a" / "f10.png", out=out, class_name="a", tile_px=64, force=True)
    frame = check(out)
    assert [f for f in files(out) if f.startswith("a/a_0002")] == ["a/a_0002_r00_c00.png"]
    assert len(frame) == 18 + 1


def test_cancelling_keeps_what_was_finished_and_lists_exactly_that(plate: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 15

    report = slice_images(SliceParams(images=[plate], out=out, tile_px=32), Task(cancelled=cancelled))
    assert report.cancelled
    assert 0 < len(check(out)) < 24
    with pytest.raises(CancelledError):
        slice_images(SliceParams(images=[plate], out=tmp_path / "no", tile_px=32), Task(cancelled=lambda: True))
    assert not (tmp_path / "no").exists()


def test_an_interrupt_keeps_what_was_finished_and_lists_exactly_that(plate: Path, tmp_path: Path) -> None:
    def interrupt(update: Progress) -> None:
        if update.phase == "slicing" and update.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slice_images(SliceParams(images=[plate], out=tmp_path / "out", tile_px=32), Task(interrupt))
    assert len(check(tmp_path / "out")) == 12
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("slice")]


def test_a_damaged_image_is_named_leaves_no_tiles_and_the_others_go_on(plate: Path, tmp_path: Path) -> None:
    path = plate / "a" / "f5.tif"
    tifffile.imwrite(path, field(9), compression="zlib", rowsperstrip=32)
    path.write_bytes(path.read_bytes()[:-500])
    (plate / "b" / "f3.png").write_text("no image")
    (plate / "b" / ".DS_Store").write_text("phantom")
    (plate / "b" / "._f1.png").write_text("phantom")
    report = cut(plate, out=tmp_path / "out")
    assert [outcome.image.name for outcome in report.failed] == ["f5.tif", "f3.png"]
    assert all("f5.tif" in o.error or "f3.png" in o.error for o in report.failed)
    frame = check(tmp_path / "out")
    assert len(frame) == 24
    assert not frame["source"].str.contains("f5|f3").any()


def test_background_is_dropped_and_counted(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(20, 1, SHAPE)
    pixels[:32, :32] += 100 * (np.indices((32, 32)).sum(axis=0) % 8 < 4)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "f.png")
    report = cut(tmp_path / "f.png", out=tmp_path / "out", background="otsu")
    assert (report.outcomes[0].tiles, report.outcomes[0].dropped) == (1, 5)
    assert "5 tiles of background dropped" in report.summary()
    assert files(tmp_path / "out") == ["f_0001_r00_c00.png"]
    nothing = cut(tmp_path / "f.png", out=tmp_path / "none", background="otsu", background_limit=2)
    assert (nothing.outcomes[0].tiles, nothing.outcomes[0].dropped, nothing.failed) == (0, 6, ())


# -- tiles of tiles -----------------------------------------------------------------------------


def test_copies_of_existing_tiles_are_put_beside_them_with_their_group(plate: Path, tmp_path: Path) -> None:
    tiles = tmp_path / "tiles"
    cut(plate, out=tiles)
    before = check(tiles)
    report = cut(tiles, out=tiles, tile_px=None, rotate="-1:1")
    assert (sum(o.tiles for o in report.outcomes), sum(o.copies for o in report.outcomes)) == (0, 48)
    frame = check(tiles)
    assert frame[frame["angle"] == 0].reset_index(drop=True).equals(before)
    for _, same in frame.groupby(["source", "row", "col"]):
        assert sorted(same["angle"]) == [-1, 0, 1]
        assert same["group"].nunique() == 1
    with pytest.raises(OutputError, match=r"a_0001_r00_c00_a-01.png exists"):
        cut(tiles, out=tiles, tile_px=None, rotate="-1:1")
    cut(tiles, out=tiles, tile_px=None, rotate="-1:1", force=True)
    assert len(check(tiles)) == 72, "copies are not rotated again"


def test_copies_of_tiles_that_nobody_listed_belong_to_their_original(plate: Path) -> None:
    cut(plate, out=plate, tile_px=None, rotate="1:2")
    frame = check(plate)
    assert len(frame) == 4 * 3
    assert (frame.groupby("group").size() == 3).all()
    assert set(frame["group"]) == {"a/f2.png", "a/f10.png", "b/f1.png", "b/f2.png"}
    assert "a/f2_a+01.png" in set(frame["file"])


def test_two_images_that_would_give_one_name_are_told(plate: Path) -> None:
    tifffile.imwrite(plate / "a" / "F2.tif", field(8))
    with pytest.raises(ParamsError, match=r"f2\.png and F2\.tif would both give a/F2_a\+01\.png; rename"):
        cut(plate, out=plate, tile_px=None, rotate="1:2", force=True)


def test_a_failure_never_takes_an_original_away(plate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: Any) -> None:
        raise OutputError(f"cannot write {path}: the disk is full")

    monkeypatch.setattr(slicing, "write_tile", full)
    before = files(plate)
    report = cut(plate, out=plate, tile_px=None, rotate="1:2", force=True)
    assert len(report.failed) == 4
    assert files(plate) == before


def test_tiles_cut_smaller_say_where_they_lie_in_the_field(plate: Path, tmp_path: Path) -> None:
    tiles, small = tmp_path / "tiles", tmp_path / "small"
    cut(plate, out=tiles)
    cut(tiles, out=small, tile_px=16)
    frame = check(small)
    assert len(frame) == 24 * 4
    assert set(frame["group"]) == set(table(tiles)["group"])
    for row in frame.itertuples():
        whole = np.asarray(Image.open(row.source))
        np.testing.assert_array_equal(np.asarray(Image.open(small / row.file)), whole[row.y0 : row.y1, row.x0 : row.x1])


def test_tiles_never_land_among_the_images(plate: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="holds the images themselves"):
        cut(plate, out=plate)
    inside = plate / "tiles"
    cut(plate, out=inside)
    with pytest.raises(OutputError, match="was cut before"):  # and is not taken for a class
        cut(plate, out=inside)


def test_loose_images_beside_class_folders_are_refused(plate: Path, tmp_path: Path) -> None:
    Image.fromarray(field(0)).save(plate / "loose.png")
    with pytest.raises(DatasetError, match=r"loose images \(loose.png, …\) and sub-folders with images \(a, b\)"):
        cut(plate, out=tmp_path / "out")


def test_a_table_of_another_kind_is_not_overwritten(plate: Path, tmp_path: Path) -> None:
    (tmp_path / "tiles.csv").write_text("path,y0,x0,y1,x1,class_name\n")
    with pytest.raises(OutputError, match="table of another kind"):
        cut(plate, out=tmp_path)


# -- memory -------------------------------------------------------------------------------------


class Watched:
    """A source that can be read in parts, and counts what it was asked for and what of it is still in memory."""

    def __init__(self, data: Any) -> None:
        self._data, self.shape, self.dtype = data, data.shape, data.dtype
        self.rows: list[int] = []
        self.alive = self.most = 0
        self._lock = threading.Lock()

    def __getitem__(self, key: Any) -> np.ndarray:
        part = np.array(self._data[key])
        with self._lock:
            self.rows.append(part.shape[0])
            self.alive += part.shape[0] > 1
            self.most = max(self.most, self.alive)
        if part.shape[0] > 1:
            weakref.finalize(part, self._gone)
        return part

    def _gone(self) -> None:
        with self._lock:
            self.alive -= 1


def tiled_tiff(folder: Path, pixels: np.ndarray) -> Path:
    tifffile.imwrite(folder / "big.tif", pixels, tile=(64, 64), compression="zlib", photometric="minisblack")
    return folder / "big.tif"


def zarr_array(folder: Path, pixels: np.ndarray) -> Path:
    array = zarr.create_array(store=str(folder / "big.zarr"), shape=pixels.shape, chunks=(64, 64), dtype=pixels.dtype)
    array[:] = pixels
    return folder / "big.zarr"


@pytest.mark.parametrize("make", [tiled_tiff, zarr_array])
@pytest.mark.parametrize("background", ["none", "otsu"])
def test_at_most_three_rows_of_tiles_are_in_memory(
    make: Callable[[Path, np.ndarray], Path], background: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path, np.random.default_rng(0).integers(0, 4000, (640, 256)).astype(np.uint16))
    watched: list[Watched] = []

    def read(path: Path, **plane: int) -> SourceImage:
        source = read_image(path, **plane)
        watched.append(Watched(source.data))
        return SourceImage(watched[-1], source.name, path)

    monkeypatch.setattr(slice_plan, "read_image", read)
    report = cut(path, out=tmp_path / "out", rotate="1:1", background=background, background_limit=None)
    assert sum(o.tiles for o in report.outcomes) == len(TileGrid.regular((640, 256), 32))
    asked = watched[-1]
    assert max(asked.rows) == 32, "one row of tiles at a time"
    assert asked.rows.count(32) == 20 * (1 if background == "none" else 2)
    assert asked.most <= 3
    assert len(check(tmp_path / "out")) == 2 * 160
