from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from PIL import Image

from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.images.units import length_text, round_length
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.report.slide_legend import LegendRow, lay_legend
from napari_cellclass.report.slides import SlideField, image_boxes, save_slide, scale_bar, shared_limits, slide_figure

LONG = tuple(f"{i}: mitotic cells with misaligned chromosomes, stage {i}" for i in range(12))


def field(
    shape: tuple[int, int] = (128, 192),
    names: tuple[str, ...] = ("a", "b"),
    um: float | None = 0.5,
    name: str = "B03f1",
) -> SlideField:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4000, (*shape, 1)).astype(np.uint16)
    source = SourceImage(pixels, name, pixel_size_um=None if um is None else (um, um))
    grid = TileGrid.regular(shape, 16)
    prob = rng.dirichlet(np.ones(len(names)), len(grid)).astype(np.float32)
    return SlideField(source, TileTable(grid, ClassScheme(names), prob, source.pixel_size_um))


@given(st.floats(1e-4, 1e6))
def test_a_scale_bar_is_1_2_or_5_times_a_power_of_ten_and_as_long_as_it_may_be(most: float) -> None:
    length = round_length(most)
    digits = float(f"{length:.0e}".split("e")[0])
    assert digits in (1, 2, 5)
    assert length == pytest.approx(float(f"{length:.0e}"))
    assert most / 2.5 * (1 - 1e-9) <= length <= most * (1 + 1e-8)


@pytest.mark.parametrize(
    ("um", "text"), [(0.5, "500 nm"), (1, "1 µm"), (200, "200 µm"), (1000, "1 mm"), (5e4, "5 cm"), (0.02, "20 nm")]
)
def test_a_length_is_written_in_the_unit_that_suits_it(um: float, text: str) -> None:
    assert length_text(um) == text


def test_the_bar_has_the_length_that_stands_above_it() -> None:
    length, text = scale_bar(field().source) or (0, "")
    assert (length, text) == (40, "20 µm")
    assert scale_bar(field(um=None).source) is None
    figure = slide_figure(field())
    assert figure.axes[0].patches[0].get_width() == 40
    assert figure.axes[0].texts[0].get_text() == "20 µm"
    assert not slide_figure(field(um=None)).axes[0].patches


@given(st.floats(0.05, 20))
def test_image_and_map_are_equal_do_not_overlap_and_keep_their_shape(aspect: float) -> None:
    shape = (max(1, round(1000 * aspect)), 1000)
    space = (0.4, 0.4, 8.8, 5.9)
    (x1, y1, w1, h1), (x2, y2, w2, h2) = image_boxes(shape, space)
    assert (w1, h1) == pytest.approx((w2, h2))
    assert h1 / w1 == pytest.approx(shape[0] / shape[1])
    assert x1 + w1 <= x2 + 1e-9 or y2 + h2 <= y1 + 1e-9
    for x, y, w, h in ((x1, y1, w1, h1), (x2, y2, w2, h2)):
        assert x >= space[0] - 1e-9
        assert y >= space[1] - 1e-9
        assert x + w <= space[0] + space[2] + 1e-9
        assert y + h <= space[1] + space[3] + 1e-9


@pytest.mark.parametrize(
    ("names", "shape"),
    [
        (("a", "b"), (128, 192)),
        (LONG, (128, 128)),
        (LONG, (32, 256)),
        (tuple(f"class {i}" for i in range(40)), (256, 64)),
    ],
)
def test_no_text_is_cut_overlaps_another_or_is_too_small_to_read(
    names: tuple[str, ...], shape: tuple[int, int]
) -> None:
    figure = slide_figure(field(shape, names, name="Plate_of_day_3_with_a_rather_long_name_" * 3))
    figure.canvas.draw()
    page = figure.bbox
    texts = [one for one in figure.findobj(Text) if one.get_visible() and one.get_text()]
    assert min(one.get_fontsize() for one in texts) >= 11
    boxes = [one.get_window_extent() for one in texts]
    for box in boxes:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
    legend = [(one, box) for one, box in zip(texts, boxes, strict=True) if one in figure.texts[3:]]
    for i, (one, first) in enumerate(legend):
        for other, second in legend[i + 1 :]:
            inner = first.padded(-2), second.padded(-2)
            assert not inner[0].overlaps(inner[1]), (one.get_text(), other.get_text())
    said = " ".join(one.get_text() for one in texts)
    if len(names) <= 12:
        assert all(word in said for name in names for word in name.split()), "no name is shortened"


@pytest.mark.parametrize("shape", [(128, 192), (192, 128), (400, 100), (64, 640)])
def test_few_classes_stand_below_where_the_images_are_larger_so(shape: tuple[int, int]) -> None:
    sizes = [slide_figure(field(shape, names)).axes[0].get_position().width for names in (("a", "b"), LONG)]
    assert sizes[0] >= sizes[1] * (1 - 1e-9)
    if shape == (128, 192):
        assert sizes[0] > 1.3 * sizes[1]


def test_the_text_of_a_scale_bar_stays_within_its_field() -> None:
    for shape, um in (((128, 192), 0.5), ((192, 128), 0.001), ((900, 200), 7.0)):
        figure = slide_figure(field(shape, um=um))
        figure.canvas.draw()
        axes = figure.axes[0]
        text, page = axes.texts[0].get_window_extent(), axes.get_window_extent()
        assert page.x0 <= text.x0
        assert text.x1 <= page.x1


def test_of_too_many_classes_the_rarest_are_summed_up() -> None:
    rows = [LegendRow(f"c{i}", (0, 0, 0), i, i / 1000) for i in range(100)]
    laid = lay_legend(rows, 3.7, 5.9, lambda text, points: 0.6 * points / 72 * len(text))
    assert laid.height <= 5.9
    last = laid.entries[-1]
    left_out = 100 - len(laid.entries) + 1
    assert last.lines == (f"and {left_out} more classes",)
    assert last.count.startswith(f"{sum(range(left_out)):,} (")
    assert last.colour is None


def test_one_contrast_for_all_fields_keeps_a_dim_field_dim(tmp_path: Path) -> None:
    shape = (64, 64)
    dim, bright = (
        SourceImage(np.random.default_rng(i).integers(0, top, (*shape, 1)).astype(np.uint16), "f")
        for i, top in enumerate((500, 5000))
    )
    limits = shared_limits([one.read(0, 0, *shape).reshape(-1, 1).astype(np.float32) for one in (dim, bright)])
    table = field(shape).table
    grey = []
    for i, source in enumerate((dim, bright)):
        save_slide(SlideField(source, table, limits=limits), tmp_path / f"{i}.png")
        picture = np.asarray(Image.open(tmp_path / f"{i}.png").convert("L"))
        grey.append(picture[400:1100, 200:800].mean())
    assert grey[0] < 0.25 * grey[1]


@pytest.mark.parametrize(("background", "dark"), [("white", False), ("dark", True)])
def test_text_stands_out_from_the_background(tmp_path: Path, background: str, dark: bool) -> None:
    save_slide(field(), tmp_path / "s.png", background)  # type: ignore[arg-type]
    corner = np.asarray(Image.open(tmp_path / "s.png").convert("L"))[0, 0]
    figure = slide_figure(field(), background)  # type: ignore[arg-type]
    assert (corner < 50) == dark
    assert all((text.get_color() > "#888888") == dark for text in figure.texts)


def test_a_title_and_classes_with_dollars_are_written_as_they_are(tmp_path: Path) -> None:
    one = field(names=("$x_1$", "a & <b>"), name="$\\frac$ & <i>")
    save_slide(one, tmp_path / "s.svg")
    assert {"$x_1$", "a & <b>", "$\\frac$ & <i>"} <= {text.get_text() for text in slide_figure(one).texts}
