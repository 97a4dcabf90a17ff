"""Settings in a file: flags win, every result has a file that makes it again, and what is wrong with one is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_cellclass.cli.main import VERBS, build_parser, main
from napari_cellclass.cli.parser import checked_params
from napari_cellclass.core.common.locks import scratch_folder
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.params.evaluate import EvaluateParams
from napari_cellclass.core.params.settings_file import save_settings
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.runs.classify.folder_lock import LOCK


def run(*words: Any) -> None:
    assert main([*map(str, words), *([] if words[0] == "info" else ["--quiet"])]) == 0


def refused(capsys: Any, *words: Any) -> str:
    """Run, expect exit code 2 and exactly one short line of error; give the line."""
    assert main([str(word) for word in words]) == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert "unexpected" not in line
    assert len(line) < 1000
    return line


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of all files below a folder, but for what names times or is numbered at random."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.glob("**/*"))
        if path.is_file() and path.name not in ("report.json", LOCK) and path.suffix != ".svg"
    }


def written(folder: Path, content: Any) -> Path:
    path = folder / "s.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """A field of 64 x 96 px in a folder whose name would be a pattern."""
    path = tmp_path / "[1] plate" / "f.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Eight tiles of each of two classes."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 180)):
        (tmp_path / "classes" / name).mkdir(parents=True)
        for i in range(8):
            tile = rng.normal(level, 20, (24, 24)).clip(0, 255).astype(np.uint8)
            Image.fromarray(tile).save(tmp_path / "classes" / name / f"w{i // 2}_{i}.png")
    return tmp_path / "classes"


# -- round trips -------------------------------------------------------------------------------


def again(monkeypatch: pytest.MonkeyPatch, verb: str, folder: Path, elsewhere: Path) -> None:
    """Make a result again by its own settings, in another folder, and expect the same bytes.

    Tables that name files name them as they were given, so the data are given by an absolute path.
    """
    settings = elsewhere / "settings.json"
    shutil.copy(folder / "settings.json", settings)
    before = contents(folder)
    shutil.rmtree(folder)
    monkeypatch.chdir(elsewhere)
    run(verb, "--settings", settings)
    assert contents(folder) == before


def test_slicing_is_made_again_by_its_settings(field: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(field.parent)
    run("slice", "f.png", "--out", "tiles", "--tile-px", 32, "--overlap", 0.5, "--rotate", "-1:1", "--prefix", "a b")
    again(monkeypatch, "slice", field.parent / "tiles", tmp_path)


def test_a_map_is_made_again_by_its_settings(
    ihc_field_file: Path, ihc_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "[1]").mkdir()
    shutil.copy(ihc_field_file, tmp_path / "[1]" / "ihc.png")
    monkeypatch.chdir(tmp_path / "[1]")
    # A pattern stays one, and the name of the folder that it was written in does not become one.
    run("classify", "i*.png", "--model", ihc_model, "--out", "maps", "--error-rate", 0.05, "--overlap", 0.5)
    again(monkeypatch, "classify", tmp_path / "[1]" / "maps", tmp_path)


def test_an_evaluation_is_made_again_by_its_settings(
    ihc_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ihc_model.parent)
    out = tmp_path / "figures"
    words = ["--model", ihc_model.name, "--out", out, "--group-by", r"_(c\d+)", "--panel", 3, "--panel-order", "random"]
    run("evaluate", f"one={ihc_model.parent / 'test'}", ihc_model.parent / "train", *words)
    again(monkeypatch, "evaluate", out, tmp_path)


def test_a_check_is_made_again_by_its_settings(classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report, settings = tmp_path / "report.json", tmp_path / "report_settings.json"
    run("check", classes, "--out", report.name, "--group-by", r"(w\d)")
    before = report.read_bytes()
    report.unlink()
    monkeypatch.chdir(classes)
    run("check", "--settings", settings)
    assert report.read_bytes() == before


@pytest.mark.training
@pytest.mark.usefixtures("forked_children")
def test_a_model_is_made_again_by_its_settings(classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zipfile import ZipFile

    from napari_cellclass.runs.train.child import train_in_child

    how = TrainParams(data=classes, out=tmp_path / "m.cellclass", group_by=r"(w\d)", epochs=1, rotate="-5:5", seed=3)
    train_in_child(how)
    saved = json.loads((tmp_path / "m_settings.json").read_text())
    assert saved["standardise"] == "auto", "as it was asked for, not as it was resolved"
    train_in_child(checked(tmp_path / "m_settings.json", "train", out=tmp_path / "n.cellclass"))
    one, other = (ZipFile(tmp_path / name) for name in ("m.cellclass", "n.cellclass"))
    for name in ("model.bin", "split.csv", "golden.npz"):
        assert one.read(name) == other.read(name), name


def checked(settings: Path, verb: str, **flags: Any) -> Any:
    return checked_params(VERBS[verb][0], {"settings": settings, **flags})


def test_a_run_goes_on_with_its_own_settings(ihc_field_file: Path, ihc_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps"
    run("classify", ihc_field_file, "--model", ihc_model, "--out", out)
    before = contents(out)
    run("classify", "--settings", out / "settings.json")
    report = json.loads((out / "report.json").read_text())
    assert report["kept"] == 1, "nothing was classified again"
    assert contents(out) == before


def test_an_experiments_and_a_series_settings_are_read_again(classes: Path, tmp_path: Path) -> None:
    for verb in ("train", "experiment"):
        params = VERBS[verb][0].checked(
            data=classes, out=tmp_path / "e.cellclass", as_published=True, runs=3, views="8"
        )
        path = save_settings(params, tmp_path / f"{verb}.json")
        assert checked(path, verb) == params


# -- what wins ---------------------------------------------------------------------------------


def test_flags_win_over_the_file(field: Path, tmp_path: Path) -> None:
    settings = written(
        tmp_path, {"images": [str(field)], "out": str(tmp_path / "a"), "tile_px": 32, "overlap": 0.5, "class_name": "x"}
    )
    run("slice", "--settings", settings, "--overlap", 0)
    assert len(list((tmp_path / "a" / "x").glob("*.png"))) == 6
    run("slice", "--settings", settings, "--overlap", 0, "--tiles", 1, "--out", tmp_path / "b")
    assert len(list((tmp_path / "b" / "x").glob("*.png"))) == 1, "one size of tiles replaces the other"


def test_a_flag_replaces_lists_turns_switches_off_and_drops_what_it_excludes(tmp_path: Path) -> None:
    base = {"images": ["a.png", "b.png"], "model": "m.cellclass", "out": "o"}
    settings = written(tmp_path, {**base, "verb": "classify", "resample": True, "workers": 4})
    line = ["classify", "c.png", "--settings", str(settings), "--no-resample", "--scheduler", "tcp://x:1"]
    values = vars(build_parser().parse_args(line))
    params = checked_params(VERBS[values.pop("verb")][0], values)
    assert params == ClassifyParams.checked(**{**base, "images": ["c.png"]}, scheduler="tcp://x:1")
    how = {"data": "d", "out": "m.cellclass", "network": "compact", "augment": "full", "class_weights": True}
    published = checked(written(tmp_path, how), "train", as_published=True)
    assert published == TrainParams.checked(data="d", out="m.cellclass", as_published=True)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_tells_of_the_file(verb: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert "--settings FILE.json" in capsys.readouterr().out


def test_info_takes_its_model_from_a_file(ihc_model: Path, tmp_path: Path, capsys: Any) -> None:
    run("info", "--settings", written(tmp_path, {"model": str(ihc_model), "json_lines": True}))
    assert json.loads(capsys.readouterr().out)["classes"][0]["name"] == "stained"


# -- what is never written over ----------------------------------------------------------------


def test_no_file_of_somebody_else_is_written_over(field: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiles"
    out.mkdir()
    strangers = {"settings.json": "mine", "settings_2.json": '{"tile_px": 3}', "settings_3.json": '{"verb": "slice"}'}
    for name, text in strangers.items():
        (out / name).write_text(text)
    run("slice", field, "--tile-px", 32, "--out", out)
    assert {name: (out / name).read_text() for name in strangers} == strangers
    assert json.loads((out / "settings_4.json").read_text())["tile_px"] == 32


def test_slicing_into_a_folder_again_keeps_the_settings_of_before(field: Path, tmp_path: Path) -> None:
    other = field.with_name("g.png")
    shutil.copy(field, other)
    words = ["--tile-px", 32, "--out", tmp_path / "tiles"]
    for path, force in ((field, []), (other, []), (field, ["--force"]), (field, ["--force"])):
        run("slice", path, *words, *force)
    found = sorted(path.name for path in (tmp_path / "tiles").glob("*.json"))
    assert found == ["settings.json", "settings_2.json", "settings_3.json"]
    images = [json.loads((tmp_path / "tiles" / name).read_text())["images"] for name in found]
    assert images == [[str(field)], [str(other)], [str(field)]]


def test_other_settings_of_the_same_verb_replace_those_of_a_result_that_is_replaced(tmp_path: Path) -> None:
    base = {"model": "m.cellclass", "out": tmp_path}
    for images, overlap in (["a.png"], None), (["a.png"], 0.5):
        path = save_settings(ClassifyParams.checked(images=images, overlap=overlap, **base), tmp_path / "settings.json")
        assert path.name == "settings.json"
        assert json.loads(path.read_text())["overlap"] == overlap
    other = save_settings(EvaluateParams.checked(data=["d"], **base), tmp_path / "settings.json")
    assert other.name == "settings_2.json"


def test_sliced_tiles_are_checked_and_sliced_as_if_no_settings_lay_there(
    classes: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "tiles"
    run("slice", classes, "--tile-px", 12, "--out", out)
    assert main(["check", str(out), "--tile-px", "6"]) == 0
    assert "settings" not in capsys.readouterr().out
    run("slice", out, "--rotate", "-1:1", "--out", out)


def test_temporary_files_are_not_named_in_settings_that_outlive_them(tmp_path: Path) -> None:
    with scratch_folder() as folder:
        params = TrainParams.checked(data=folder / "tiles.csv", out=tmp_path / "m.cellclass")
        saved = json.loads(save_settings(params, tmp_path / "s.json").read_text())
    assert "data" not in saved
    assert saved["out"] == str(tmp_path / "m.cellclass")
    # A folder of a user that is only called so is not taken for one.
    named = TrainParams.checked(data=folder, out=tmp_path / "m.cellclass")
    assert json.loads(save_settings(named, tmp_path / "s.json").read_text())["data"] == str(folder)


# -- what is wrong with a file -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("{", ["cannot be read as JSON", "line 1"]),
        ("", ["cannot be read as JSON"]),
        ("[1]", ["holds a list", "one object"]),
        ("null", ["holds null"]),
        ({"tile_pxx": 3}, ['"tile_pxx" is no setting of check', 'did you mean "tile_px"?']),
        ({"tile-px": 3}, ['"tile-px" is no setting', 'did you mean "tile_px"?']),
        ({"qqqq": 3}, ['"qqqq" is no setting', "napari-cellclass check --help"]),
        ({"tile_px": "3"}, ['"tile_px" is "3"', "a whole number or null"]),
        ({"tile_px": 3.5}, ['"tile_px" is 3.5']),
        ({"tile_px": True}, ['"tile_px" is true']),
        ({"tile_px": [3]}, ['"tile_px" is a list']),
        ({"quiet": 1}, ['"quiet" is 1', "true or false"]),
        ({"overlap": "x"}, ['"overlap" is "x"', "must be a number"]),
        ({"edge": "wrap"}, ['"edge" is "wrap"', '"drop", "pad", "shift"']),
        ({"data": 5}, ['"data" is 5', "a path"]),
        ({"data": "a\0b"}, ['"data"', "NUL"]),
        ({"out": ""}, ["out is empty"]),
        ({"tile_px": 0}, ["--tile-px 0", "with the settings of", "s.json"]),
        ({"tile_px": 3, "tiles": 4}, ["--tile-px and --tiles were both given", "s.json"]),
        ({"overlap": 10**400}, ["--overlap"]),
        ({"tile_px": -(10**400)}, ["--tile-px"]),
        ({"verb": "train", "data": "d", "out": "m.cellclass"}, ['holds settings of "train"', 'this is "check"']),
        ({"verb": 3}, ["holds settings of 3"]),
        ({"program": {}}, ['"program" is an object']),
        ('{"tile_px": 3, "tile_px": 4}', ['"tile_px" is given twice']),
        ('{"overlap": NaN}', ["NaN is no number"]),
        ('{"overlap": -Infinity}', ["-Infinity is no number"]),
        ('{"overlap": 1e999}', ["1e999 is too large a number"]),
        ('{"seed": ' + "9" * 10_000 + "}", ["cannot be read as JSON"]),
        ("[" * 100_000, ["nested too deeply"]),
        ('{"data": ' * 100_000, ["nested too deeply"]),
        ('{"' + "k" * 100_000 + '": 1}', ["is no setting"]),
        ({"class_name": "x" * 100_000}, ["is no setting"]),
        ({"group_by": ["x" * 100_000]}, ['"group_by" is a list']),
        ({"tile_px": "x" * 100_000}, ["whole number"]),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_a_line(
    tmp_path: Path, capsys: Any, content: Any, parts: list[str]
) -> None:
    path = written(tmp_path, content)
    line = refused(capsys, "check", tmp_path, "--settings", path)
    for part in [*parts, str(path)]:
        assert part in line


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no.json: No such file" in refused(capsys, "check", "d", "--settings", tmp_path / "no.json")
    assert f"cannot read the settings {tmp_path}" in refused(capsys, "check", "d", "--settings", tmp_path)
    assert "--settings is empty" in refused(capsys, "check", "d", "--settings", "")
    (tmp_path / "s.json").write_bytes(b"\xff\xfe{}")
    assert "not UTF-8 text" in refused(capsys, "check", "d", "--settings", tmp_path / "s.json")
    monkeypatch.setenv("NAPARI_CELLCLASS_MAX_SETTINGS_BYTES", "5")
    line = refused(capsys, "check", "d", "--settings", written(tmp_path, {"tile_px": 3}))
    assert "larger than the 5 bytes" in line
    assert "NAPARI_CELLCLASS_MAX_SETTINGS_BYTES" in line


def test_what_neither_the_file_nor_the_line_gives_is_named(tmp_path: Path, capsys: Any) -> None:
    path = written(tmp_path, {"out": "o"})
    assert "IMAGE is needed, but was not given" in refused(capsys, "classify", "--settings", path)
    assert "--model is needed, but was not given" in refused(capsys, "classify", "a.png", "--settings", path)


def test_a_file_by_an_editor_of_windows_is_read(field: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(b'\xef\xbb\xbf{\r\n  "tile_px": 32\r\n}\r\n')
    run("slice", field, "--out", tmp_path / "o", "--settings", path)
    assert (tmp_path / "o" / "tiles.csv").is_file()


def test_names_that_are_no_utf8_survive_the_file(tmp_path: Path) -> None:
    params = ClassifyParams.checked(images=[tmp_path / "bad\udcff.png"], model="m", out="o")
    path = save_settings(params, tmp_path / "s.json")
    assert checked(path, "classify") == params.absolute()
