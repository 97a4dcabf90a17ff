"""Conditions of a plate from the command line: columns, comparison, resume, refusals; and pictures for slides."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats
from tests._plates import read_plate_table, tables, write_plate

from napari_cellclass.cli.main import main
from napari_cellclass.core.plates.inputs import CONDITION_FILES

CONDITIONS = "well;condition;replicate\n" + "".join(
    f"A{n + 1};{'drug' if n < 3 else 'control'};{'dddccc'[n]}{n}\n" for n in range(6)
)


def classify(out: Path, model: Path, *words: Any) -> int:
    return main(["classify", *map(str, words), "--model", str(model), "--out", str(out)])


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Twelve fields of six wells, and a table of their conditions."""
    write_plate(tmp_path / "plate", 12)
    (tmp_path / "conditions.csv").write_text(CONDITIONS)
    return tmp_path / "plate"


def test_conditions_are_compared_without_classifying_again(
    tmp_path: Path, plate: Path, ihc_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plain, given = tmp_path / "out", tmp_path / "plain", tmp_path / "conditions.csv"
    assert classify(plain, ihc_model, plate) == 0
    assert not {path.name for path in plain.iterdir()} & set(CONDITION_FILES)
    assert classify(out, ihc_model, plate, "--conditions", given) == 0
    printed = capsys.readouterr().out
    assert {path.name for path in out.iterdir()} >= set(CONDITION_FILES)

    fields, wells = read_plate_table(out / "fields.csv"), read_plate_table(out / "wells.csv")
    assert fields["condition"].tolist() == ["drug"] * 6 + ["control"] * 6
    assert wells["replicate"].tolist() == ["d0", "d1", "d2", "c3", "c4", "c5"]
    added = {"condition", "replicate"}
    for name, found in (("fields.csv", fields), ("wells.csv", wells)):
        pd.testing.assert_frame_equal(found.drop(columns=[*added]), read_plate_table(plain / name))
    mean = fields.groupby("well")["fraction_stained"].mean()
    test = stats.ttest_ind(mean.iloc[:3], mean.iloc[3:], equal_var=False)
    row = pd.read_csv(out / "conditions_results.csv").set_index(["class_name", "condition"]).loc["stained", "drug"]
    assert (row["p"], row["t"]) == pytest.approx((test.pvalue, test.statistic), rel=1e-4)
    assert row["difference"] == pytest.approx(mean.iloc[:3].mean() - mean.iloc[3:].mean(), rel=1e-4)
    sentence = (out / "conditions.txt").read_text().splitlines()[0]
    assert sentence.startswith("stained: drug ")
    assert sentence.removesuffix(".") in printed
    assert json.loads((out / "report.json").read_text())["conditions"][0] == sentence.removesuffix(".")

    # others: nothing is classified again, and the tables of each field stay as they are
    before = tables(out)
    given.write_text(CONDITIONS.replace("c3", "d0").replace("c4", "d1").replace("A6;control;c5\n", ""))
    assert classify(out, ihc_model, plate, "--conditions", given, "--control", "Drug") == 0
    report = json.loads((out / "report.json").read_text())
    assert report["kept"] == 12
    assert "no condition is given for 'A06'; left out of the comparison" in report["warnings"]
    assert "control" in report["conditions"][0].split()[1]
    assert "within the 2 replicates in both" in report["conditions"][0]
    same = {name: value for name, value in tables(out).items() if name not in ("fields.csv", "wells.csv")}
    assert same.items() <= before.items()

    # and none again: as if there never were any
    assert classify(out, ihc_model, plate) == 0
    assert json.loads((out / "report.json").read_text())["kept"] == 12
    assert not {path.name for path in out.iterdir()} & set(CONDITION_FILES)
    assert tables(out) == tables(plain)


@pytest.mark.parametrize(
    ("name", "content", "words", "said"),
    [
        ("c.csv", "well,condition\nH1,x\n", (), "names none of the fields"),
        ("c.csv", "well,condition\nA1,x\nA1,y\n", (), "line 3: 'A1' was given another condition"),
        ("c.csv", "well,condition\nA1,x\n", ("--control", "y"), "--control 'y' is none of the conditions"),
        ("c.csv", "well,condition\nA1,\n", (), "no line of the conditions has a condition"),
        ("out/fields.csv", "well,condition\nA1,x\n", (), "would be written over"),
        (None, "", ("--control", "y"), "give them with --conditions"),
    ],
)
def test_what_is_wrong_with_conditions_is_said_in_a_line_before_anything_is_classified(
    tmp_path: Path, plate: Path, ihc_model: Path, capsys: Any, name: str | None, content: str, words: Any, said: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if name is not None:
        (tmp_path / name).write_text(content)
        words = (*words, "--conditions", tmp_path / name)
    assert classify(out, ihc_model, plate, *words) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.splitlines()) == 1
    assert not list(out.glob("*.tiles.csv"))


def test_slides_are_drawn_of_the_fields_that_are_named_and_say_what_is_missing(
    tmp_path: Path, plate: Path, ihc_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert classify(out, ihc_model, plate, "--quiet") == 0
    (plate / "A02f1.png").unlink()
    assert main(["slides", str(out), "--fields", "a02*", "--background", "dark", "--progress", "none"]) == 1
    said = capsys.readouterr()
    assert "A02f1" in said.err
    assert "no scale bar" in said.err
    assert {path.name for path in (out / "slides").iterdir()} == {"A02f0_slide.png", "A02f0_slide.svg"}
    picture = np.asarray(Image.open(out / "slides" / "A02f0_slide.png").convert("RGB"))
    assert picture.shape == (1440, 2560, 3)
    assert picture[0, 0].max() < 40, "dark"
    ET.parse(out / "slides" / "A02f0_slide.svg")
    assert main(["slides", str(plate), "--quiet"]) == 2
    assert main(["slides", str(out), "--fields", "H*", "--quiet"]) == 2
    assert "matches none of the fields" in capsys.readouterr().err
