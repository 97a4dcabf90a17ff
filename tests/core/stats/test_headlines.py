"""The sentence of a result has its figure, its interval, n, and the worst caveat."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.common.findings import Finding
from napari_cellclass.core.stats.headlines import estimate_text, headline, ranked, sample_caveats, sample_text
from napari_cellclass.core.stats.intervals import Estimate

SEVERITIES = ("error", "warning", "note")
FINDINGS = st.builds(
    Finding,
    st.sampled_from(SEVERITIES),
    st.sampled_from(["trained-on", "shortcut-brightness", "confounded-folder", "too-few-groups", "held-out", "other"]),
    st.text("abc ", min_size=1, max_size=5),
)


@given(st.lists(FINDINGS))
def test_no_finding_comes_before_a_worse_one_or_gets_lost(findings: list[Finding]) -> None:
    found = ranked(findings)
    assert sorted(map(repr, found)) == sorted(map(repr, findings))
    severities = [SEVERITIES.index(one.severity) for one in found]
    assert severities == sorted(severities)
    for one, next_one in pairwise(found):
        assert not (one.severity == next_one.severity and next_one.code == "trained-on" != one.code)


def test_the_figure_stands_with_interval_and_n() -> None:
    value = Estimate(0.914, 0.846, 0.953)
    n = sample_text(320, 12, "held-out")
    assert estimate_text(value, n) == "0.91 (95 % CI 0.85–0.95, n = 320 held-out tiles of 12 groups)"
    assert estimate_text(Estimate(1.0, None, None)) == "1.00 (95 % CI not defined)"


def test_the_caveat_is_in_the_same_sentence_without_its_advice() -> None:
    caveats = ["Brightness alone reaches 0.9; look at the exposure", "another"]
    assert headline("accuracy 0.9", caveats) == "Accuracy 0.9; but brightness alone reaches 0.9."
    assert headline("accuracy 0.9", ["ECE is high"]) == "Accuracy 0.9; but ECE is high."
    assert headline("accuracy 0.9", []) == "Accuracy 0.9."


def test_few_tiles_and_groups_are_caveats_and_many_are_none() -> None:
    assert list(sample_caveats([100, 40, 0], 12)) == []
    one_group, coarse = sample_caveats([100, 3], 1)
    assert "of one group" in one_group
    assert coarse.endswith("only 3 tiles, each of which changes it by 17 points")
    assert [*sample_caveats([100, 100], 4)] == ["only 4 groups were measured, so that chance plays a large part"]
