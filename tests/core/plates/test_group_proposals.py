from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from napari_cellclass.core.datasets.class_images import group_name
from napari_cellclass.core.plates.group_proposals import propose_groups

PLATES = [f"Plate{p}_B{w:02d}_s{s}.tif" for p, w, s in product((1, 2), (3, 4, 5), (1, 2))]
PARTS = st.sampled_from(["A", "B", "siRNA", "1", "02", "13", "_", "-", " ", "(", "+", ".", "day", "µ", "é", "f", "Ⅳ"])
NAMES = st.lists(st.lists(PARTS, min_size=1, max_size=6).map("".join), max_size=12)


@given(NAMES | st.lists(st.from_regex(r"\A[A-C][12]_(mouse|day)[1-3]_[ab][12]\.(tif|png)\Z"), max_size=20))
@example(["a.tif", "a.tif", "b.tif"])
@example([])
def test_a_pattern_fits_every_name_and_puts_it_in_the_group_that_is_told(names: list[str]) -> None:
    *proposals, alone = propose_groups(names)
    for proposal in proposals:
        assert proposal.pattern is not None
        assert tuple(group_name(Path(name), proposal.pattern) for name in names) == proposal.groups
        assert proposal.count == len(set(proposal.groups))
        assert 1 < proposal.count < len(names)
        assert proposal.sentence.startswith(f"{proposal.count} ")
    divisions = [frozenset(tuple(i for i, g in enumerate(p.groups) if g == one) for one in p.groups) for p in proposals]
    assert len(set(divisions)) == len(divisions)
    assert (alone.pattern, alone.count) == (None, len(names))


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            [f"O{w:02d}f{s:02d}.TIF" for w, s in product((5, 7, 12, 14, 16, 18), (0, 1, 2))],
            "6 wells: O05, O07, O12 …; 3 sites each",
        ),
        ([f"r{r:02d}c{c:02d}f{f:02d}p01-ch1.tiff" for r, c, f in product((2, 3), (4, 5), (1, 2))],
         "4 wells: r02c04, r02c05, r03c04 …; 2 sites each"),
        (PLATES, "6 wells: Plate1_B03, Plate1_B04, Plate1_B05 …; 2 sites each"),
        (["B03_s1_w1.tif", "B03_s1_w2.tif", "B04_s1_w1.tif"], "2 wells: B03, B04; 1 to 2 images each"),
        ([f"patient_{p}_{i}.png" for p, i in product((1, 2, 10), (1, 2))],
         "3 patients: patient_1, patient_2, patient_10; 2 images each"),
        ([f"slide{s}-{i:03d}.svs" for s, i in product((1, 2), (1, 2))], "2 slides: slide1, slide2; 2 images each"),
        ([f"exp1 day{d} img{i}.png" for d, i in product((1, 2), (1, 2))], "2 days: day1, day2; 2 images each"),
        ([f"{word}_{i}.tif" for word, i in product(("Control", "siRNA"), (1, 2))],
         "2 groups: Control, siRNA; 2 images each"),
        ([f"Control_{n:04d}_r{r:02d}_c{c:02d}_a+05.tif" for n, r, c in product((1, 2), (0, 1), (0, 1))],
         "2 groups: Control_0001, Control_0002; 4 images each"),
    ],
)  # fmt: skip
def test_the_likeliest_groups_come_first(names: list[str], sentence: str) -> None:
    assert propose_groups(names)[0].sentence == sentence


def test_wells_come_before_plates_and_each_image_by_itself_comes_last() -> None:
    sentences = [proposal.sentence for proposal in propose_groups(PLATES)]
    assert sentences == [
        "6 wells: Plate1_B03, Plate1_B04, Plate1_B05 …; 2 sites each",
        "3 wells: B03, B04, B05; 4 images each",
        "2 plates: Plate1, Plate2; 6 images each",
        "each image by itself",
    ]


def test_the_pattern_of_wells_also_fits_wells_of_other_rows() -> None:
    pattern = propose_groups(["O05f00.TIF", "O05f01.TIF", "O07f00.TIF"])[0].pattern
    assert group_name(Path("B11f02.TIF"), pattern) == "B11"


def test_the_same_site_of_each_well_is_no_group() -> None:
    groups = {group for proposal in propose_groups(PLATES)[:-1] for group in proposal.groups}
    assert not groups & {"s1", "s2", "1", "2"}


def test_channels_of_one_field_are_a_group() -> None:
    names = [f"B0{w}_s{s}_w{c}.tif" for w, s, c in product((3, 4), (1, 2), (1, 2))]
    assert [p.sentence for p in propose_groups(names)[:2]] == [
        "2 wells: B03, B04; 4 images each",
        "4 fields: B03_s1, B03_s2, B04_s1 …; 2 images each",
    ]


@pytest.mark.parametrize("names", [[], ["a.tif"], ["a1.tif", "a2.tif"], ["1.JPG", "Thalassemia_1.JPG"]])
def test_names_with_nothing_in_common_leave_each_image_by_itself(names: list[str]) -> None:
    assert [proposal.sentence for proposal in propose_groups(names)] == ["each image by itself"]
