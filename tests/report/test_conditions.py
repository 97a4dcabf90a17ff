from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_cellclass.core.plates.condition_results import ConditionResults, compare_conditions
from napari_cellclass.core.plates.inputs import CONDITION_FILES
from napari_cellclass.report.conditions import conditions_figure, save_conditions

CLASSES = ("stained", "unstained")


def results(conditions: int = 3, replicates: int = 3, classes: tuple[str, ...] = CLASSES) -> ConditionResults:
    rng = np.random.default_rng(3)
    rows = []
    for c in range(conditions):
        for r in range(replicates):
            for f in range(8):
                prob = rng.dirichlet(2 + np.arange(len(classes)) + c * np.eye(len(classes))[0])
                counts = rng.multinomial(200, prob)
                name = f"c{c}r{r}f{f}"
                row = {"image": name, "stem": name, "well": "", "condition": f"dose {c}", "replicate": f"r{r}"}
                row |= {"state": "done", "tiles": 200}
                rows.append(row | {f"n_{one}": n for one, n in zip(classes, counts, strict=True)})
    found = compare_conditions(pd.DataFrame(rows), classes, [f"dose {c}" for c in range(conditions)])
    assert found is not None
    return found


def test_fields_are_dots_replicates_are_means_and_bars_are_their_interval() -> None:
    found = results()
    axes = conditions_figure(found).axes[0]
    drawn = np.concatenate(
        [np.asarray(one.get_offsets())[:, 1] for one in axes.collections if len(one.get_offsets()) == 24]
    )
    assert np.sort(drawn) == pytest.approx(np.sort(found.fields["fraction_stained"]))
    lines = [line.get_ydata() for line in axes.lines if line.get_markersize() == 6 and line.get_marker() in "osD"]
    means = np.concatenate([y for y in lines if len(y) == 3])
    assert np.sort(means) == pytest.approx(np.sort(found.replicates["fraction_stained"]))
    bars = [container.lines[2][0].get_segments()[0][:, 1] for container in axes.containers]
    expected = [found.means[condition, "stained"].mean for condition in found.conditions]
    assert [tuple(bar) for bar in bars] == [pytest.approx((one.lo, one.hi)) for one in expected]
    assert sum(text.get_text().startswith("p ") for text in axes.texts) == 2


def test_all_files_are_written_and_go_where_there_are_no_conditions(tmp_path: Path) -> None:
    assert save_conditions(results(2, 2), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(CONDITION_FILES)
    table = pd.read_csv(tmp_path / "conditions_results.csv")
    assert len(table) == 4
    assert len(pd.read_csv(tmp_path / "conditions_replicates.csv")) == 4
    (tmp_path / "mine.png").touch()
    assert not save_conditions(None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


@pytest.mark.parametrize(("conditions", "replicates", "classes"), [(1, 1, 2), (9, 4, 3), (2, 14, 5), (2, 0, 2)])
def test_any_number_of_conditions_replicates_and_classes_is_drawn(
    tmp_path: Path, conditions: int, replicates: int, classes: int
) -> None:
    found = results(conditions, max(1, replicates), tuple(f"class {k}" for k in range(classes)))
    if replicates == 0:
        fields = found.fields.assign(replicate="", state="done", **{
            f"n_{one}": found.fields[f"fraction_{one}"] * 200 for one in found.classes
        })  # fmt: skip
        found = compare_conditions(fields, found.classes, found.conditions) or found
        assert found.replicates.empty
    assert save_conditions(found, tmp_path)
