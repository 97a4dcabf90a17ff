"""``evaluate`` for several test sets, with a panel and the kit for a paper."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from napari_cellclass.cli.main import main
from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.runs.evaluate.named_sets import parse_test_sets

GROUP_BY = r"_(c\d+)"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, ihc_model: Path) -> Path:
    """What the command writes for two test sets, one of them named, with panel and kit."""
    folder = tmp_path_factory.mktemp("evaluate")
    shutil.copytree(ihc_model.parent / "test", folder / "day 2")
    words = ["evaluate", f"known={ihc_model.parent / 'train'}", folder / "day 2", "--model", ihc_model]
    words += ["--out", folder / "out", "--group-by", GROUP_BY, "--panel", 30, "--panel-order", "wrong", "--kit"]
    assert main([*map(str, words), "--quiet"]) == 0
    return folder / "out"


def test_each_test_set_has_a_folder_and_the_summary_says_what_is_in_them(written: Path) -> None:
    summary = pd.read_csv(written / "summary.csv", float_precision="round_trip").set_index("name")
    assert summary.index.tolist() == ["known", "day 2"]
    content = json.loads((written / "summary.json").read_text())
    for name, row in summary.iterrows():
        report = json.loads((written / str(name) / "evaluation.json").read_text())
        assert report == {key: value for key, value in content[str(name)].items() if key != "path"}
        assert (row["n"], row["groups"], row["ece"]) == (report["n"], report["groups"], report["ece"])
        for figure in ("accuracy", "balanced_accuracy", "kappa"):
            values = [row[figure], row[f"{figure}_lo"], row[f"{figure}_hi"]]
            assert values == pytest.approx([report[figure][key] for key in ("value", "lo", "hi")])
    assert summary.loc["known", "warnings"] >= 1  # of tiles that the model was trained on


def test_the_panel_has_the_wrong_tiles_first_and_the_numbers_of_the_table(written: Path) -> None:
    pages = [pd.read_csv(written / "day 2" / f"panel_{page}.csv") for page in ("01", "02")]
    panel = pd.concat(pages, ignore_index=True)
    assert [len(page) for page in pages] == [25, 5]
    tiles = pd.read_csv(written / "day 2" / "tiles.csv")
    wrong = int((~tiles["right"]).sum())
    assert not panel["right"].head(wrong).any()
    assert panel["right"].iloc[wrong:].all()
    merged = panel.merge(tiles, on="path", suffixes=("", "_tiles"))
    assert len(merged) == 30
    pd.testing.assert_series_equal(merged["confidence"], merged["confidence_tiles"], check_names=False, rtol=1e-5)


def test_every_figure_of_the_kit_lies_beside_its_numbers(written: Path) -> None:
    pictures = sorted((written / "kit").rglob("*.png"))
    names = {path.stem for path in pictures}
    assert {"confusion", "reliability", "fields", "curves", "panel_01"} <= names
    for picture in pictures:
        assert picture.with_suffix(".svg").is_file()
        assert picture.with_suffix(".csv").is_file()
    history = pd.read_csv(written / "kit" / "curves.csv")
    assert history.columns.tolist()[:3] == ["epoch", "loss", "accuracy"]


def test_the_methods_are_written_of_the_models_and_the_reports_numbers_alone(written: Path, ihc_model: Path) -> None:
    text = (written / "kit" / "methods.md").read_text()
    bundle = open_bundle(ihc_model)
    manifest = bundle.manifest
    report = json.loads((written / "day 2" / "evaluation.json").read_text())
    value = report["balanced_accuracy"]
    for part in (
        f"`{manifest.network}`, {manifest.parameters:,} parameters",
        f"trained on {manifest.data['n_train']} tiles and validated on {manifest.data['n_validation']} other tiles",
        f"Split: {manifest.data['split_rule']}",
        f"took {manifest.training['epochs_trained']} epochs",
        "Tiles were not standardised.",
        f"The seed was {manifest.training['seed']}.",
        f"the test set *day 2* ({report['n']} tiles of {report['groups']} groups",
        f"balanced accuracy {value['value']:.3f} (95 % confidence interval {value['lo']:.3f} to {value['hi']:.3f})",
        f"tensorflow {manifest.versions['tensorflow']}",
        bundle.model_id,
        manifest.data["hash"],
        "are from the training of the model",
    ):
        assert part in text
    assert "None" not in text
    assert "nan" not in re.findall(r"\w+", text)


def test_what_a_model_does_not_tell_is_left_out_of_the_methods(written: Path, ihc_model: Path) -> None:
    from dataclasses import replace

    from napari_cellclass.core.models.teacher_record import TeacherRecord
    from napari_cellclass.core.models.texture_decision import TextureHead
    from napari_cellclass.core.stats.intervals import Estimate
    from napari_cellclass.report.methods import methods_text
    from napari_cellclass.runs.common.engine_access import open_engine
    from napari_cellclass.runs.evaluate.named_sets import evaluate_test_sets

    bundle = open_bundle(ihc_model)
    with open_engine(bundle) as engine:
        sets = evaluate_test_sets(parse_test_sets([str(ihc_model.parent / "test")]), bundle, engine)
    bare = replace(bundle, manifest=bundle.manifest.model_copy(update={"training": {}, "data": {}, "versions": {}}))
    text = methods_text(bare, sets)
    for word in ("trained on", "seed", "epoch", "Split", "standardised", "tensorflow", "None"):
        assert word not in text
    assert "By class: stained recall" in text
    for joined in (True, False):
        head = TextureHead(joined=joined, why="", tiles=16, groups=2, loss_network=0.5, accuracy_network=0.7)
        training = bundle.manifest.training | {"texture_head": head.model_dump()}
        told = replace(bundle, manifest=bundle.manifest.model_copy(update={"training": training}))
        sentence = "logistic regression on texture features of the training tiles (weights 0.25 and 1)"
        assert (sentence in methods_text(told, sets)) is joined
    same = Estimate(0.9, None, None)
    taught = TeacherRecord(
        name="t.cellclass", model_id="abc", network="pretrained", images=3, unlabelled=50, tiles=8, groups=2,
        seen="held out", student=same, teacher=same, difference=same, agreement=1.0,
    )  # fmt: skip
    training = bundle.manifest.training | {"taught": taught.model_dump()}
    told = replace(bundle, manifest=bundle.manifest.model_copy(update={"training": training}))
    text = methods_text(told, sets)
    assert "learned the probabilities that a model (pretrained, abc) gave" in text
    assert "50 unlabelled tiles of 3 images" in text


def test_one_set_is_written_straight_to_the_folder(tmp_path: Path, ihc_model: Path, capsys: Any) -> None:
    words = ["evaluate", str(ihc_model.parent / "test"), "--model", str(ihc_model), "--out", str(tmp_path / "e")]
    assert main([*words, "--progress", "jsonl"]) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    report = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert done["balanced_accuracy"] == done["test_sets"]["test"] == report["balanced_accuracy"]
    found = {path.name for path in (tmp_path / "e").iterdir()}
    assert {"evaluation.json", "tiles.csv", "confusion.png", "confusion.csv"} <= found
    assert not found & {"kit", "summary.csv", "panel_01.png", "test"}


def test_sets_are_called_as_they_are_named_or_by_as_much_of_their_path_as_tells_them_apart(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    words = ["plate 1/test", "plate 2/test", "own=plate 3/test", str(tmp_path / "a=b"), "x/tiles.csv", "x/field.csv"]
    found = [one.name for one in parse_test_sets(words)]
    assert found == ["plate 1_test", "plate 2_test", "own", "a=b", "x", "field"]
    assert parse_test_sets(["own=plate 3/test"])[0].path == Path("plate 3/test")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["a=x", "A=y"], "two test sets are called"),
        (["x/test", "x/test"], "two test sets are called"),
        (["../up=x"], "is no name for a test set"),
        (["..=x"], "is no name for a test set"),
        (["=x"], "is not NAME=FOLDER"),
        (["x="], "is not NAME=FOLDER"),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_one_line(words: list[str], complaint: str) -> None:
    with pytest.raises(ParamsError, match=complaint) as caught:
        parse_test_sets(words)
    assert "\n" not in str(caught.value)
