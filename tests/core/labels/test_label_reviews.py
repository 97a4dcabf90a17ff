"""A label that was found right is not asked about again, until it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.labels.label_reviews import REVIEWS, LabelReviews


def test_reviews_outlive_the_program_and_count_for_the_class_that_was_reviewed(tmp_path: Path) -> None:
    reviews = LabelReviews(Journal(tmp_path / "labels"))
    reviews.accept("field one", 7, "puncta")
    again = LabelReviews(Journal(tmp_path / "labels"))
    assert again.accepted("field one", [7, 7, 8], ["puncta", "diffuse", "puncta"]).tolist() == [True, False, False]
    assert again.accepted("field two", [7], ["puncta"]).tolist() == [False]
    assert again.accepted("field one", [], []).tolist() == []


def test_spoilt_lines_cost_only_themselves(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "labels")
    LabelReviews(journal).accept("f", 1, "a")
    with journal.path(REVIEWS).open("a", encoding="utf-8") as stream:
        stream.write('{"field": 3}\nnot json\n{"do":"accept","field":"f","tile":"x","class":"a"}\n')
    LabelReviews(journal).accept("f", 2, "a")
    assert LabelReviews(journal).accepted("f", [1, 2, 3], ["a"] * 3).tolist() == [True, True, False]


def test_a_review_that_cannot_be_written_counts_until_the_program_ends(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    reviews = LabelReviews(Journal(tmp_path / "file"))
    with pytest.raises(OutputError):
        reviews.accept("f", 1, "a")
    assert reviews.accepted("f", [1], ["a"]).tolist() == [True]
