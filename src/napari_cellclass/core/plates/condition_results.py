"""Conditions of a plate compared on replicate means: intervals, tests, and all of it in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.core.stats.replicates import Comparison, holm, mean_interval, paired_test, welch_test

_CONTROLS = (
    "control", "ctrl", "ctl", "untreated", "vehicle", "dmso", "mock", "negative control", "neg", "wild type", "wt",
)  # fmt: skip
_TESTS = {"welch": "Welch's t-test on replicate means", "paired": "paired t-test on replicate means"}


@dataclass(frozen=True)
class ConditionMean:
    """The fraction of a class in a condition.

    Parameters
    ----------
    mean
        Over replicates, with its 95 % confidence interval; without replicates over fields, and no interval.
    replicates, fields, tiles
        How many it is of.
    """

    mean: Estimate
    replicates: int
    fields: int
    tiles: int


@dataclass(frozen=True)
class ConditionTest:
    """A class in a condition compared with the control.

    Parameters
    ----------
    class_name, condition, control
        What is compared.
    comparison
        On replicate means.
    pairs
        Replicates in both conditions, where the test is paired; else 0.
    p_holm
        The p-value adjusted for the number of comparisons, None without a test.
    """

    class_name: str
    condition: str
    control: str
    comparison: Comparison
    pairs: int = 0
    p_holm: float | None = None


@dataclass(frozen=True, eq=False)
class ConditionResults:
    """What a run says of its conditions.

    Parameters
    ----------
    classes, conditions
        Both in order; the control is the first condition.
    fields
        A row per classified field with a condition: image, stem, well, condition, replicate, tiles, and
        ``fraction_<class>``.
    replicates
        A row per replicate of a condition: condition, replicate, fields, tiles, and ``fraction_<class>``, the mean
        of its fields.
    means
        By condition and class.
    tests
        Each class in each condition but the control.
    comparisons
        For how many the p-values are adjusted.
    """

    classes: tuple[str, ...]
    conditions: tuple[str, ...]
    fields: pd.DataFrame
    replicates: pd.DataFrame
    means: Mapping[tuple[str, str], ConditionMean]
    tests: tuple[ConditionTest, ...]
    comparisons: int

    @property
    def control(self) -> str:
        """What the other conditions are compared with."""
        return self.conditions[0]

    def table(self) -> pd.DataFrame:
        """Make a table with a row per class and condition; numbers that do not exist are empty."""
        tests = {(one.condition, one.class_name): one for one in self.tests}
        rows = [
            _row(name, condition, self.means[condition, name], tests.get((condition, name)))
            for name in self.classes
            for condition in self.conditions
        ]
        return pd.DataFrame(rows)

    def sentences(self) -> list[str]:
        """Say each comparison in a sentence, without the full stop; without a second condition each mean."""
        if not self.tests:
            return [f"{name}: {self._mean(self.control, name)}" for name in self.classes]
        return [self._sentence(one) for one in self.tests]

    def _mean(self, condition: str, name: str, digits: int = 0) -> str:
        found = self.means[condition, name]
        value, digits = found.mean, digits or _digits(found.mean.value)
        bounds = "" if value.lo is None else f"{value.lo:.{digits}f}–{value.hi:.{digits}f}, "
        n = f"n = {counted(found.replicates, 'replicate')}" if found.replicates else "no replicates"
        return f"{condition} {value.value:.{digits}f} ({bounds}{n}, {counted(found.fields, 'field')})"

    def _sentence(self, one: ConditionTest) -> str:
        found, name = one.comparison, one.class_name
        digits = _digits(max(self.means[which, name].mean.value for which in (one.condition, one.control)))
        both = f"{self._mean(one.condition, name, digits)} against {self._mean(one.control, name, digits)}"
        difference = f"difference {found.difference.value:+.{digits}f}"
        start = f"{name}: {both}: {difference}"
        if found.p is None:
            return f"{start}; no test: {found.reason}"
        lo, hi = found.difference.lo, found.difference.hi
        several = f", {_p(one.p_holm)} for {self.comparisons} comparisons (Holm)" if self.comparisons > 1 else ""
        pairs = f" within the {one.pairs} replicates in both" if one.pairs else ""
        effect = "" if found.hedges_g is None else f"; Hedges' g {found.hedges_g:+.1f}"
        return (
            f"{start} (95 % CI {lo:+.{digits}f} to {hi:+.{digits}f}){pairs}, {_TESTS[found.test]}, "
            f"{_p(found.p)}{several}{effect}"
        )


def compare_conditions(
    fields: pd.DataFrame, classes: Sequence[str], order: Sequence[str], control: str | None = None
) -> ConditionResults | None:
    """Compare the fractions of each class between conditions, on the means of replicates and never on tiles.

    A replicate's value is the mean of its fields, as in a SuperPlot (Lord et al., J. Cell Biol. 219:e202001064,
    2020). Where two or more replicates are in both conditions, the test is of the differences of these (paired);
    else it is Welch's. All p-values of a table are adjusted together by Holm's method; of two classes that add up to
    1 only one counts, as both tests are the same.

    Parameters
    ----------
    fields
        A table of fields with the columns condition and replicate, see
        :func:`~napari_cellclass.core.plates.conditions.with_conditions`.
    classes
        Their names.
    order
        The conditions in order.
    control
        What the others are compared with; when not given one that is called so, else the first.

    Returns
    -------
    ConditionResults or None
        None where no field with a condition is classified.

    Raises
    ------
    ParamsError
        The control is none of the conditions.
    """
    chosen = choose_control(order, control)
    found = field_fractions(fields, classes)
    if found.empty:
        return None
    there = set(found["condition"])
    conditions = tuple(one for one in (chosen, *(name for name in order if name != chosen)) if one in there)
    replicates = replicate_means(found, classes)
    means = {
        (condition, name): _mean_of(found, replicates, condition, name) for condition in conditions for name in classes
    }
    # Without the control, as after a cancelled run, there is nothing to compare with.
    others = conditions[1:] if conditions[0] == chosen else ()
    tests = [_test(replicates, means, name, one, chosen) for name in classes for one in others]
    adjusted, count = _adjusted(tests, classes, found)
    return ConditionResults(tuple(classes), conditions, found, replicates, means, adjusted, count)


def choose_control(order: Sequence[str], control: str | None = None) -> str:
    """Return the condition that the others are compared with.

    Raises
    ------
    ParamsError
        The control is none of the conditions, or there is none.
    """
    if not order:
        raise ParamsError("no line of the conditions has a condition; fill in the column condition")
    if control is None:
        usual = [name for word in _CONTROLS for name in order if name.casefold() == word]
        return (usual or list(order))[0]
    same = [name for name in order if name == control] or [
        name for name in order if name.casefold() == control.strip().casefold()
    ]
    if not same:
        raise ParamsError(f"--control {control!r} is none of the conditions, which are {', '.join(order)}")
    return same[0]


def field_fractions(fields: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return the fraction of each class in every classified field with a condition; planes of a field are summed."""
    done = fields[(fields["state"] == "done") & (fields["condition"] != "")]
    columns = ["image", "stem", "well", "condition", "replicate"]
    rows = done.assign(scene=done.get("scene", 0))
    rows = rows[rows["tiles"].astype(float) > 0]
    counts = {f"n_{name}": "sum" for name in classes}
    key = ["image", "scene", "condition", "replicate"]
    numbers = rows.astype({"tiles": float, **dict.fromkeys(counts, float)})
    summed = numbers.groupby(key, sort=False, dropna=False).agg(
        {"stem": "first", "well": "first", "tiles": "sum", **counts}
    )
    found = summed.reset_index()
    fractions = {f"fraction_{name}": found[f"n_{name}"] / found["tiles"] for name in classes}
    return found[columns].assign(tiles=found["tiles"].astype(np.int64), **fractions)


def replicate_means(fields: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return the mean fraction of the fields of each replicate of a condition; fields without one are left out."""
    means = {f"fraction_{name}": (f"fraction_{name}", "mean") for name in classes}
    groups = fields[fields["replicate"] != ""].groupby(["condition", "replicate"], sort=False)
    return groups.agg(fields=("stem", "size"), tiles=("tiles", "sum"), **means).reset_index()


def _mean_of(fields: pd.DataFrame, replicates: pd.DataFrame, condition: str, name: str) -> ConditionMean:
    own = replicates[replicates["condition"] == condition]
    if len(own):
        value = mean_interval(own[f"fraction_{name}"])
        return ConditionMean(_within(value, 0.0), len(own), int(own["fields"].sum()), int(own["tiles"].sum()))
    each = fields[fields["condition"] == condition]
    mean = Estimate(float(each[f"fraction_{name}"].mean()), None, None)
    return ConditionMean(mean, 0, len(each), int(each["tiles"].sum()))


def _within(value: Estimate, lowest: float) -> Estimate:
    """Cut an interval at the values that are possible: 0 to 1 of a fraction, -1 to 1 of a difference."""
    if value.lo is None or value.hi is None:
        return value
    return Estimate(value.value, max(lowest, value.lo), min(1.0, value.hi))


def _test(
    replicates: pd.DataFrame, means: Mapping[tuple[str, str], ConditionMean], name: str, condition: str, control: str
) -> ConditionTest:
    column = f"fraction_{name}"
    first, second = (
        replicates[replicates["condition"] == one].set_index("replicate")[column] for one in (condition, control)
    )
    if min(len(first), len(second)) == 0:
        missing = condition if len(first) == 0 else control
        difference = means[condition, name].mean.value - means[control, name].mean.value
        value = Estimate(difference, None, None)
        return ConditionTest(name, condition, control, Comparison(value, reason=f"{missing} has no replicates"))
    shared = [one for one in first.index if one in second.index]
    if len(shared) > 1:
        found, pairs = paired_test(first[shared], second[shared]), len(shared)
    else:
        found, pairs = welch_test(first, second), 0
    bounded = replace(found, difference=_within(found.difference, -1.0))
    return ConditionTest(name, condition, control, bounded, pairs)


def _adjusted(
    tests: Sequence[ConditionTest], classes: Sequence[str], fields: pd.DataFrame
) -> tuple[tuple[ConditionTest, ...], int]:
    """Adjust the p-values of all tests, and count the comparisons."""
    sums = fields[[f"fraction_{name}" for name in classes]].sum(axis=1)
    counted_classes = classes[:1] if len(classes) == 2 and np.allclose(sums, 1.0) else classes
    p = {(one.class_name, one.condition): one.comparison.p for one in tests}
    family = {key: value for key, value in p.items() if key[0] in counted_classes and value is not None}
    holm_p = dict(zip(family, holm(list(family.values())).tolist(), strict=True))

    def adjusted(one: ConditionTest) -> ConditionTest:
        name = one.class_name if one.class_name in counted_classes else counted_classes[0]
        value = None if one.comparison.p is None else holm_p.get((name, one.condition))
        return replace(one, p_holm=value)

    return tuple(map(adjusted, tests)), len(family)


def _row(name: str, condition: str, found: ConditionMean, test: ConditionTest | None) -> dict[str, object]:
    row: dict[str, object] = {
        "class_name": name, "condition": condition, "replicates": found.replicates, "fields": found.fields,
        "tiles": found.tiles, "mean": found.mean.value, "mean_lo": found.mean.lo, "mean_hi": found.mean.hi,
    }  # fmt: skip
    names = ("control", "difference", "difference_lo", "difference_hi", "test", "t", "df", "p", "p_holm", "hedges_g")
    if test is None:
        return row | dict.fromkeys((*names, "note"))
    one = test.comparison
    values = (
        test.control, one.difference.value, one.difference.lo, one.difference.hi, one.test, one.statistic,
        one.freedom, one.p, test.p_holm, one.hedges_g,
    )  # fmt: skip
    return row | dict(zip(names, values, strict=True)) | {"note": f"no test: {one.reason}" if one.reason else ""}


def _digits(value: float) -> int:
    return 2 if value >= 0.1 else 3


def _p(value: float | None) -> str:
    assert value is not None
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"
