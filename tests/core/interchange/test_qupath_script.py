"""The script for QuPath lays tiles and maps classes as the program does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.interchange.fake_qupath import can_run, compiled, run_script
from tests.core.interchange.java_in_python import run_class

from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.interchange.qupath_script import qupath_readme, qupath_script, script_constants
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import Manifest, ModelBundle
from napari_cellclass.core.tiles import preprocess
from napari_cellclass.core.tiles.grid import TileGrid, tile_starts
from napari_cellclass.core.tiles.preprocess import field_levels

NAMES = ("even", "it's \\ $name", "größe 核")


def bundle(**changes: Any) -> ModelBundle:
    """A model that was never written."""
    known: dict[str, Any] = {
        "program": "test", "created": "now", "classes": ClassScheme(NAMES).to_json(), "tile_px": (32, 48),
        "preprocess": {"channels": 2, "input_px": (32, 32)}, "network": "compact", "parameters": 1, "overlap": 0.25,
        "edge": "shift", "pixel_size_um": (0.5, 0.5),
    }  # fmt: skip
    return ModelBundle(Path("m.cellclass"), Manifest.model_validate(known | changes))


def java(script: str) -> str:
    """The part of a script that is also Java."""
    return script[script.index("// <tiles>") : script.index("// </tiles>")]


TILES = run_class(java(qupath_script(bundle(), "m.onnx")))


@given(
    length=st.integers(0, 400), tile=st.integers(1, 90), data=st.data(), edge=st.sampled_from(["drop", "pad", "shift"])
)
def test_tiles_start_where_those_of_the_program_do(length: int, tile: int, data: st.DataObject, edge: Any) -> None:
    step = data.draw(st.integers(1, tile))
    assert TILES.starts(length, tile, step, edge) == tile_starts(length, tile, step, edge).tolist()


@given(length=st.integers(1, 20), reach=st.integers(0, 70))
def test_what_lies_past_the_edge_is_mirrored_as_in_the_program(length: int, reach: int) -> None:
    expected = np.pad(np.arange(length), (0, reach), mode="symmetric")
    assert [TILES.mirrored(place, length) for place in range(length + reach)] == expected.tolist()


def test_channels_of_a_tile_at_the_corner_are_copied_with_their_mirrored_part() -> None:
    pixels = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    values = [0.0] * (8 * 10)
    TILES.copy(pixels.ravel().tolist(), 5, 7, values, 0, 8, 10, 0.25, 0.75)
    expected = (np.pad(pixels, ((0, 3), (0, 3)), mode="symmetric") - 0.25) / 0.5
    np.testing.assert_allclose(np.reshape(values, (8, 10)), expected, rtol=1e-6)


def test_an_annotation_is_asked_at_the_points_that_a_region_is() -> None:
    grid = TileGrid.regular((96, 96), (32, 48))
    outline = np.array([[-0.5, -0.5], [-0.5, 60.0], [70.0, -0.5]])
    kept = {tuple(box) for box in grid.within([outline]).boxes.tolist()}
    from skimage.measure import points_in_poly

    found = set()
    for box in grid.boxes.tolist():
        points = [(box[0] + y, box[1] + x) for y in TILES.points(32) for x in TILES.points(48)]
        if points_in_poly(points, outline + 0.5).sum() >= 0.5 * 64:
            found.add(tuple(box))
    assert found == kept
    assert 0 < len(found) < len(grid)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=6))
def test_the_class_is_the_first_of_the_highest_probability(prob: list[float]) -> None:
    assert TILES.likeliest(prob) == int(np.argmax(prob))


@settings(max_examples=20)
@given(height=st.integers(1, 60_000), width=st.integers(1, 60_000))
def test_percentiles_are_measured_where_the_program_measures_them(height: int, width: int) -> None:
    rows, columns = TILES.sampled(height, width), TILES.sampled(width, height)
    found = [
        (y, y + rows[i + 1], x, x + columns[j + 1])
        for i, y in enumerate(rows) if i % 2 == 0
        for j, x in enumerate(columns) if j % 2 == 0
    ]  # fmt: skip
    assert found == preprocess._sampled_boxes((height, width))


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30), st.floats(0, 100))
def test_a_percentile_is_numpys(values: list[float], percent: float) -> None:
    assert TILES.percentile(sorted(values), percent) == pytest.approx(np.percentile(values, percent), abs=1e-6)


def test_constants_are_those_of_the_model_whatever_the_names_of_classes() -> None:
    script = qupath_script(bundle(), "it's.onnx")
    assert "def modelFile = 'it\\'s.onnx'" in script
    assert f"def classNames = ['even', 'it\\'s \\\\ $name', '{NAMES[2]}']" in script
    assert "def stepY = 24, stepX = 36 " in script
    assert "def edge = 'shift'" in script
    assert re.findall(r"@[A-Z_]+@", script) == []
    for overlap in (0.0, 0.3, 0.5, 0.95):
        constants = script_constants(bundle(overlap=overlap, tile_px=(25, 5)), "m.onnx")
        assert (constants["STEP_Y"], constants["STEP_X"]) == TileGrid.regular((99, 99), (25, 5), overlap).step_px


def test_brackets_and_quotes_of_the_script_are_closed() -> None:
    script = qupath_script(bundle(), "m.onnx")
    code = re.sub(r"//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"", "", script, flags=re.DOTALL)
    open_ones: list[str] = []
    for letter in code:
        if letter in "([{":
            open_ones.append(letter)
        elif letter in ")]}":
            assert open_ones
            assert open_ones.pop() + letter in ("()", "[]", "{}")
    assert open_ones == []
    assert "'" not in code
    assert '"' not in code


def test_the_text_says_what_was_not_tried() -> None:
    text = qupath_readme(bundle(), "m.onnx")
    assert len(text.splitlines()) == 10
    assert "not been run in QuPath itself" in text.replace("\n", " ")
    assert "m.groovy" in text


_MAIN = """
public class Main {
    public static void main(String[] a) {
        for (String edge : new String[] {"drop", "pad", "shift"})
            for (int length = 0; length < 60; length += 7)
                for (int tile = 1; tile < 20; tile += 3)
                    for (int step = 1; step <= tile; step += 2)
                        System.out.println(java.util.Arrays.toString(CellClassTiles.starts(length, tile, step, edge)));
        for (int i = 0; i < 40; i++)
            System.out.println(CellClassTiles.mirrored(i, 7));
        for (int side = 1; side < 60000; side += 1111)
            System.out.println(java.util.Arrays.toString(CellClassTiles.sampled(side, 3000)));
        System.out.println(CellClassTiles.percentile(new float[] {1, 2, 4, 8}, 50));
        System.out.println(CellClassTiles.likeliest(new float[] {0.1f, 0.45f, 0.45f}));
    }
}
"""


def test_the_methods_compute_the_same_in_java(tmp_path: Path) -> None:
    """In Python where there is no Java compiler: then this compares less, but the laws above hold all the same."""
    expected = [
        str(tile_starts(length, tile, step, edge).tolist())  # type: ignore[arg-type]
        for edge in ("drop", "pad", "shift")
        for length in range(0, 60, 7) for tile in range(1, 20, 3) for step in range(1, tile + 1, 2)
    ]  # fmt: skip
    expected += [str(TILES.mirrored(i, 7)) for i in range(40)]
    expected += [str(TILES.sampled(side, 3000)) for side in range(1, 60000, 1111)]
    expected += ["3.0", "1"]
    found = _by_java(tmp_path) if shutil.which("javac") else _by_python()
    assert found == expected


def _by_java(folder: Path) -> list[str]:
    source = java(qupath_script(bundle(), "m.onnx")).replace("@CompileStatic", "")
    (folder / "Main.java").write_text(_MAIN + source, encoding="utf-8")
    done = subprocess.run(["java", "Main.java"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _by_python() -> list[str]:
    found: list[Any] = [
        TILES.starts(length, tile, step, edge)
        for edge in ("drop", "pad", "shift")
        for length in range(0, 60, 7) for tile in range(1, 20, 3) for step in range(1, tile + 1, 2)
    ]  # fmt: skip
    found += [TILES.mirrored(i, 7) for i in range(40)]
    found += [TILES.sampled(side, 3000) for side in range(1, 60000, 1111)]
    found += [round(TILES.percentile([1, 2, 4, 8], 50), 6), TILES.likeliest([0.1, 0.45, 0.45])]
    return [str(one) for one in found]


@pytest.mark.parametrize(("percentiles", "box"), [(None, ()), ((1.0, 99.0), (10.0, 5.0, 60.0, 50.0))])
def test_the_whole_script_gives_the_tiles_of_the_program(
    tmp_path: Path, percentiles: Any, box: tuple[float, ...]
) -> None:
    """With small classes in the place of QuPath's; where Groovy is missing, the same is asked of the methods alone."""
    scaling = {"channels": 2, "input_px": (32, 32)}
    if percentiles:
        scaling |= {"normalisation": "percentiles", "percentiles": percentiles, "low": 0.0, "high": 1.0}
    model = bundle(preprocess=scaling, edge="pad")
    source = SourceImage(np.random.default_rng(0).integers(0, 60_000, (70, 90, 2)).astype(np.uint16), "image")
    grid = TileGrid.regular(source.shape, (32, 48), 0.25, "pad")
    if box:
        x, y, width, height = box
        outline = np.array([[y, x], [y, x + width], [y + height, x + width], [y + height, x]]) - 0.5
        grid = grid.within([outline])
    levels = field_levels(model.preprocess, source)
    expected = []
    for y0, x0, y1, x1 in grid.boxes.tolist():
        tile = model.preprocess.apply_levels(source.read(y0, x0, y1, x1), levels)
        blob = tile.transpose(2, 0, 1).ravel().astype(np.float32)
        prob = blob[[0, -1, len(blob) // 2 + 1]]
        expected.append(([y0, x0, min(y1, 70) - y0, min(x1, 90) - x0], NAMES[int(prob.argmax())], prob))
    found = _by_groovy(tmp_path, model, source, box) if can_run() else _by_methods(model, source, grid, levels)
    assert [one[:2] for one in found] == [list(one[:2]) for one in expected]
    np.testing.assert_allclose([one[2] for one in found], [one[2] for one in expected], rtol=1e-5, atol=1e-5)


def _by_groovy(folder: Path, model: ModelBundle, source: SourceImage, box: tuple[float, ...]) -> list[list[Any]]:
    (folder / "m.onnx").touch()
    (folder / "m.groovy").write_text(qupath_script(model, str(folder / "m.onnx")), encoding="utf-8")
    values = np.asarray(source.data).transpose(2, 0, 1).ravel().tolist()
    height, width = source.shape
    (folder / "image.txt").write_text(" ".join(map(str, [height, width, source.channels, *values])))
    tiles, printed = run_script(folder / "m.groovy", folder / "image.txt", compiled(folder), *box)
    assert "Warning: pixels of 0.75 um, but the model was trained on 0.5 um." in printed
    assert printed.count(f"{len(tiles)} tiles classified by m.onnx.") == 2
    found = []
    for *place, name, values_text in tiles:
        measured = [float(value) for value in re.findall(r"=([-\d.E]+)[,}]", values_text)]
        assert all(f"cellclass: {one}=" in values_text for one in NAMES)
        found.append([list(map(int, place)), name, measured])
    return found


def _by_methods(model: ModelBundle, source: SourceImage, grid: TileGrid, levels: Any) -> list[list[Any]]:
    levels = np.tile([0.0, 1.0], (2, 1)) if levels is None else levels
    found: list[list[Any]] = []
    for y0, x0 in grid.boxes[:, :2].tolist():
        height, width = min(32, 70 - y0), min(48, 90 - x0)
        values = [0.0] * (2 * 32 * 48)
        for c in range(2):
            pixels = np.asarray(source.data)[y0 : y0 + height, x0 : x0 + width, c].ravel().astype(float).tolist()
            TILES.copy(pixels, height, width, values, c * 32 * 48, 32, 48, *levels[c].tolist())
        prob = [values[0], values[-1], values[len(values) // 2 + 1]]
        found.append([[y0, x0, height, width], NAMES[TILES.likeliest(prob)], prob])
    return found
