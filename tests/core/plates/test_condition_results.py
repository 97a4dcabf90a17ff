from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.plates.condition_results import ConditionResults, choose_control, compare_conditions

CLASSES = ("a", "b", "c")


def plate(groups: dict[tuple[str, str], list[list[int]]], classes: tuple[str, ...] = CLASSES) -> pd.DataFrame:
    """Make a table of fields: by condition and replicate, the counts of each field."""
    rows = []
    for (condition, replicate), fields in groups.items():
        for counts in fields:
            name = f"f{len(rows)}"
            row = {
                "image": f"/p/{name}.tif", "stem": name, "well": "", "condition": condition, "replicate": replicate,
                "state": "done", "tiles": sum(counts),
            }  # fmt: skip
            rows.append(row | {f"n_{one}": n for one, n in zip(classes, counts, strict=True)})
    return pd.DataFrame(rows)


def compared(fields: pd.DataFrame, control: str | None = None, classes: tuple[str, ...] = CLASSES) -> ConditionResults:
    order = list(dict.fromkeys(fields["condition"][fields["condition"] != ""]))
    found = compare_conditions(fields, classes, order, control)
    assert found is not None
    return found


def the_test(found: ConditionResults, name: str, condition: str):
    return next(one for one in found.tests if (one.class_name, one.condition) == (name, condition))


INDEPENDENT = plate(
    {
        ("drug", "d1"): [[3, 4, 3], [5, 2, 3]], ("drug", "d2"): [[6, 2, 2], [4, 4, 2], [5, 5, 0]],
        ("drug", "d3"): [[4, 1, 5]], ("control", "c1"): [[1, 5, 4], [2, 4, 4]], ("control", "c2"): [[3, 3, 4]],
        ("control", "c3"): [[2, 7, 1]],
    }
)  # fmt: skip


def test_conditions_are_tested_on_replicate_means_of_the_fractions_of_fields() -> None:
    found = compared(INDEPENDENT)
    drug, control = [0.4, 0.5, 0.4], [0.15, 0.3, 0.2]
    one = the_test(found, "a", "drug")
    expected = stats.ttest_ind(drug, control, equal_var=False)
    assert one.comparison.p == pytest.approx(expected.pvalue)
    assert one.comparison.test == "welch"
    assert found.replicates["fraction_a"].tolist() == pytest.approx([*drug, *control])
    mean = found.means["drug", "a"]
    assert (mean.mean.value, mean.replicates, mean.fields, mean.tiles) == (pytest.approx(np.mean(drug)), 3, 6, 60)
    assert found.comparisons == 3


def test_tiles_in_a_field_and_fields_in_a_replicate_do_not_make_a_difference_more_certain() -> None:
    once = compared(INDEPENDENT)
    more = INDEPENDENT.assign(**{name: 50 * INDEPENDENT[name] for name in ("tiles", "n_a", "n_b", "n_c")})
    again = pd.concat([more, more.assign(image=more["image"] + "x", stem=more["stem"] + "x")])
    for first, second in zip(once.tests, compared(again).tests, strict=True):
        assert second.comparison.p == pytest.approx(first.comparison.p)
        assert second.p_holm == pytest.approx(first.p_holm)


def test_replicates_of_the_same_name_are_pairs() -> None:
    fields = plate(
        {
            (condition, str(r)): [[n, 10 - n, 0]]
            for condition, row in {"control": [2, 4, 6, 3], "drug": [3, 6, 7]}.items()
            for r, n in enumerate(row)
        }
    )
    one = the_test(compared(fields), "a", "drug")
    expected = stats.ttest_rel([0.3, 0.6, 0.7], [0.2, 0.4, 0.6])
    assert (one.comparison.test, one.pairs) == ("paired", 3)
    assert one.comparison.p == pytest.approx(expected.pvalue)
    assert ") within the 3 replicates in both, paired t-test on replicate means, p =" in compared(fields).sentences()[0]


def test_one_replicate_in_both_makes_no_pairs() -> None:
    fields = INDEPENDENT.replace({"replicate": {"c1": "d1"}})
    assert the_test(compared(fields), "a", "drug").comparison.test == "welch"


def test_the_sentence_says_means_intervals_numbers_difference_and_test() -> None:
    sentence = compared(INDEPENDENT).sentences()[0]
    assert re.fullmatch(
        r"a: drug 0\.43 \(0\.29–0\.58, n = 3 replicates, 6 fields\) against control 0\.22 \(0\.03–0\.41, "
        r"n = 3 replicates, 4 fields\): difference \+0\.22 \(95 % CI \+0\.06 to \+0\.37\), Welch's t-test on replicate "
        r"means, p = 0\.020, p = 0\.059 for 3 comparisons \(Holm\); Hedges' g \+2\.6",
        sentence,
    ), sentence


def test_of_two_classes_that_add_up_to_all_tiles_one_comparison_counts() -> None:
    fields = INDEPENDENT.assign(n_b=INDEPENDENT["n_b"] + INDEPENDENT["n_c"])
    found = compared(fields, classes=("a", "b"))
    assert found.comparisons == 1
    a, b = the_test(found, "a", "drug"), the_test(found, "b", "drug")
    assert a.p_holm == a.comparison.p == pytest.approx(b.p_holm)
    assert a.comparison.difference.value == pytest.approx(-b.comparison.difference.value)
    with_unsure = fields.assign(tiles=fields["tiles"] + 2)
    assert compared(with_unsure, classes=("a", "b")).comparisons == 2


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_fields_changes_no_number(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(INDEPENDENT))
    names = ["drug", "control"]
    first = compare_conditions(INDEPENDENT, CLASSES, names)
    second = compare_conditions(INDEPENDENT.iloc[order].reset_index(drop=True), CLASSES, names)
    assert first is not None
    assert second is not None
    pd.testing.assert_frame_equal(first.table(), second.table())


def test_planes_of_a_field_are_one_field() -> None:
    planes = plate({("x", "1"): [[1, 0, 0], [0, 3, 0]], ("y", "1"): [[1, 1, 0]]})
    planes.loc[1, "image"] = planes.loc[0, "image"]
    found = compared(planes)
    assert found.means["x", "a"].fields == 1
    assert found.means["x", "a"].mean.value == 0.25


def test_fewer_than_two_replicates_make_no_test_and_it_is_said() -> None:
    found = compared(plate({("x", "1"): [[1, 3, 0]], ("control", "1"): [[1, 1, 0]], ("control", "2"): [[0, 1, 1]]}))
    assert all(one.comparison.p is None and one.p_holm is None for one in found.tests)
    assert found.sentences()[0] == (
        "a: x 0.25 (n = 1 replicate, 1 field) against control 0.25 (0.00–1.00, n = 2 replicates, 2 fields): "
        "difference +0.00; no test: fewer than 2 replicates"
    )
    assert found.table()["note"].dropna().unique().tolist() == ["no test: fewer than 2 replicates"]


def test_without_replicates_there_are_means_of_fields_alone() -> None:
    found = compared(plate({("x", ""): [[1, 3, 0], [2, 2, 0]], ("control", ""): [[1, 1, 2]]}))
    assert found.sentences()[0] == (
        "a: x 0.38 (no replicates, 2 fields) against control 0.25 (no replicates, 1 field): difference +0.12; "
        "no test: x has no replicates"
    )


def test_fields_that_are_not_done_empty_or_of_no_condition_do_not_count() -> None:
    more = plate({("drug", "d9"): [[9, 1, 0]] * 3, ("", ""): [[9, 1, 0]]})
    more.loc[0, ["state", "tiles"]] = "failed", None
    more.loc[1, ["tiles", "n_a", "n_b"]] = 0
    more.loc[2, "state"] = "open"
    more["image"] += "x"
    fields = pd.concat([INDEPENDENT, more], ignore_index=True)
    order = ["drug", "control"]
    found = compare_conditions(fields, CLASSES, order)
    assert found is not None
    pd.testing.assert_frame_equal(found.table(), compared(INDEPENDENT).table())
    assert compare_conditions(fields[fields["state"] == "open"], CLASSES, order) is None
    assert compare_conditions(fields[fields["condition"] == "drug"], CLASSES, order).tests == ()


@pytest.mark.parametrize(
    ("order", "given_name", "chosen"),
    [
        (("a", "b"), None, "a"), (("a", "Control"), None, "Control"), (("drug", "DMSO"), None, "DMSO"),
        (("a", "Control"), "a", "a"), (("A", "a"), "a", "a"), (("Mock", "b"), " mock ", "Mock"),
    ],
)  # fmt: skip
def test_the_control_is_the_given_one_else_by_its_name_else_the_first(
    order: tuple[str, ...], given_name: str | None, chosen: str
) -> None:
    assert choose_control(order, given_name) == chosen


def test_a_control_that_is_no_condition_is_refused() -> None:
    with pytest.raises(ParamsError, match="'c' is none of the conditions, which are a, b"):
        choose_control(("a", "b"), "c")
    with pytest.raises(ParamsError, match="fill in the column condition"):
        choose_control(())
