from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, TileDataset, read_folders
from napari_cellclass.core.datasets.split import split_by_group
from napari_cellclass.core.datasets.tile_provenance import COLUMNS, write_tile_list
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.images.source import SourceImage

TILE = 16


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Tiles of three fields a class, 2 x 4 each, with one rotated copy each, as ``slice`` lists them."""
    rng, rows = np.random.default_rng(0), []
    for name in ("a", "b"):
        (tmp_path / "t" / name).mkdir(parents=True)
        for field in (1, 2, 3):
            for place in range(8):
                row, col = divmod(place, 4)
                for angle in (0, 5):
                    file = f"{name}/{name}_{field:04d}_r{row:02d}_c{col:02d}{'_a+05' * (angle > 0)}.png"
                    pixels = rng.integers(0, 255, (TILE, TILE, 1)).astype(np.uint8)
                    Image.fromarray(pixels[..., 0]).save(tmp_path / "t" / file)
                    source = f"/plate/{name.upper()}{field:02d}f0.tif"
                    box = (row * TILE, col * TILE, (row + 1) * TILE, (col + 1) * TILE)
                    content = SourceImage(pixels).image_id
                    rows.append((file, name, source, row, col, *box, angle, f"{name}/{field}", content))
    write_tile_list(tmp_path / "t", pd.DataFrame(rows, columns=list(COLUMNS)))
    return tmp_path / "t"


def sides(data: TileDataset) -> pd.DataFrame:
    frame = split_by_group(data).frame()
    frame["field"] = frame["path"].map(lambda p: Path(p).name[:6])
    frame["copy"] = frame["path"].str.contains("_a+", regex=False)
    return frame


@pytest.mark.parametrize("how", ["folder", "list"])
def test_a_field_is_on_one_side_of_the_split_with_all_its_copies(tiles: Path, how: str) -> None:
    frame = sides(read_dataset(tiles if how == "folder" else tiles / "tiles.csv"))
    assert len(frame) == 96
    assert frame["group"].nunique() == 6
    held = frame[frame["split"] == VALIDATION]
    assert len(held) == 2 * 8
    assert not held["copy"].any(), "copies are trained on, but never validated on"
    trained = frame[frame["split"] == TRAIN]
    assert trained["copy"].sum() == len(trained) / 2 == 4 * 8
    assert not set(held["field"]) & set(trained["field"])


@pytest.mark.parametrize("how", ["folder", "list"])
def test_a_pattern_is_matched_with_the_name_of_the_field(tiles: Path, how: str) -> None:
    data = read_dataset(tiles if how == "folder" else tiles / "tiles.csv", group_by="^(...)")
    assert set(data.groups) == {f"{name}{field:02d}" for name in "AB" for field in (1, 2, 3)}


def test_tiles_that_were_renamed_or_sorted_by_hand_keep_their_field(tiles: Path, tmp_path: Path) -> None:
    sorted_by_hand = tmp_path / "hand"
    for number, path in enumerate(sorted(tiles.glob("*/*.png"))):
        target = sorted_by_hand / ("x", "y")[number % 3 == 0] / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(tiles / "tiles.csv", sorted_by_hand)
    data = read_folders(sorted_by_hand)
    assert set(data.groups) == {f"{name}/{field}" for name in "ab" for field in (1, 2, 3)}
    assert data.provenance is not None
    assert data.provenance.rotated.sum() == 48


def test_a_tile_is_judged_once(tiles: Path) -> None:
    data = read_folders(tiles)
    originals = data.without_rotated_copies()
    assert len(originals) == 48
    assert {path.name for path in map(Path, originals.frame()["path"])} == {
        path.name for path in tiles.glob("*/*.png") if "_a+" not in path.name
    }
    assert originals.without_rotated_copies() is originals


def test_a_list_within_a_class_folder_counts_too(tiles: Path) -> None:
    frame = pd.read_csv(tiles / "tiles.csv")
    for name in ("a", "b"):
        mine = frame[frame["class_name"] == name]
        write_tile_list(tiles / name, mine.assign(file=mine["file"].str.removeprefix(f"{name}/")))
    (tiles / "tiles.csv").unlink()
    assert set(read_folders(tiles).groups) == {f"{name}/{field}" for name in "ab" for field in (1, 2, 3)}


def test_one_field_a_class_is_split_by_where_its_tiles_lie(tiles: Path) -> None:
    for path in [p for n in (2, 3) for p in tiles.glob(f"*/*_000{n}_*.png")]:
        path.unlink()
    data = split_by_group(read_folders(tiles))
    assert data.provenance is not None
    left = data.provenance.boxes[:, 1]
    assert set(left[data.split == VALIDATION]) == {3 * TILE}
    assert set(left[data.split == TRAIN]) == {0, TILE}, "with a gap where tiles touch"


def test_a_copy_of_a_tile_in_another_class_is_still_found(tiles: Path) -> None:
    shutil.copy(tiles / "a" / "a_0001_r00_c00.png", tiles / "b" / "copy.png")
    data = read_folders(tiles)
    assert {path.name for path, _ in data.skipped} == {"a_0001_r00_c00.png", "copy.png"}
    assert all("same pixels" in reason for _, reason in data.skipped)


def test_a_list_of_evaluated_tiles_is_not_mistaken_for_one_of_cut_tiles(tiles: Path) -> None:
    (tiles / "tiles.csv").write_text("path,y0,x0,y1,x1,true_class,group\nx,0,0,1,1,a,g\n")
    data = read_folders(tiles)
    assert data.provenance is None
    assert len(set(data.groups)) == 96


def test_tiles_without_a_class_are_refused_with_what_to_do(tiles: Path) -> None:
    frame = pd.read_csv(tiles / "tiles.csv")
    write_tile_list(tiles, frame.assign(class_name=""))
    with pytest.raises(DatasetError, match="no tile has a class; fill in class_name, or sort"):
        read_dataset(tiles / "tiles.csv")


def test_a_damaged_list_names_its_line(tiles: Path) -> None:
    frame = pd.read_csv(tiles / "tiles.csv", dtype=str)
    frame.loc[2, "x0"] = "left"
    write_tile_list(tiles, frame)
    with pytest.raises(DatasetError, match=r"line 4: x0 is 'left', not a number"):
        read_folders(tiles)
