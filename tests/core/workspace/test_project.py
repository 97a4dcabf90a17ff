from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests._patience import PROCESS_S

from napari_cellclass.core.common.errors import (
    CancelledError,
    CellClassError,
    DatasetError,
    ImageError,
    ModelError,
    OutputError,
    ParamsError,
)
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle, write_bundle
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid_layout import grid_key
from napari_cellclass.core.workspace import outputs
from napari_cellclass.core.workspace.labels import ProjectLabels
from napari_cellclass.core.workspace.project import Project, ProjectBusyError
from napari_cellclass.core.workspace.records import Field

SCHEME = ClassScheme(("round", "long", "dead"))
SHAPE = (60, 80)


def write_image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, SHAPE, np.uint8)).save(path)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.create(tmp_path / "cells.cellproject", SCHEME, 10)
    for number, well in enumerate(("B03", "B04")):
        project.add_field(read_image(write_image(tmp_path / "images" / f"{well}_s1.png", number)))
    return project


@pytest.fixture
def bundle(ihc_model: Path) -> ModelBundle:
    return open_bundle(ihc_model)


def write_model(bundle: ModelBundle, path: Path) -> Path:
    """Write a model that differs from others in what says when it was made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    members = {name: bundle.member(name) for name in bundle.manifest.files}
    return write_bundle(path, bundle.manifest.model_copy(update={"created": path.name}), members).path


def table_of(project: Project, seed: int = 0, tile_px: int = 10) -> TileTable:
    grid = project.grid.model_copy(update={"tile_px": (tile_px, tile_px)}).lay(SHAPE)
    prob = np.random.default_rng(seed).dirichlet(np.ones(3), len(grid)).astype(np.float32)
    return TileTable(grid, SCHEME, prob, record={"model": {"id": f"model {seed}", "network": "compact"}})


def content_of(project: Project) -> tuple[object, ...]:
    labels = project.labels.fields_labelled()
    return project.fields, project.grid, project.rules, project.models, project.maps, project.labels.scheme, labels


def label(project: Project, field: Field, tiles: list[int], value: int) -> None:
    project.labels.annotation(field.image, project.grid.lay(SHAPE)).label(tiles, value)


def opened(project: Project) -> Project:
    project.close()
    return Project.open(project.path)


# -- back as it was left -------------------------------------------------------------------------------


def test_everything_is_back_as_it_was_left(project: Project, bundle: ModelBundle) -> None:
    first, second = project.fields
    project.set_grid(tile_px=20, overlap=0.5, edge="shift")
    project.set_rules(group_by="^(B..)", condition_by="_(s.)")
    project.change_field(second.key, group="by hand", channels=(0,), z=0)
    label(project, first, [1, 2], 0)
    project.labels.add_class("new", "#123456", "n")
    write_model(bundle, project.next_model_path())
    project.add_model(project.next_model_path().with_name("cells_v1.cellclass"))
    project.add_map(first.key, table_of(project), "m")
    before = content_of(project)
    found = opened(project)
    assert content_of(found) == before
    assert found.notes == ()
    assert found.labels.annotation(first.image, found.grid.lay(SHAPE)).labels[1:3].tolist() == [0, 0]
    assert [found.group_of(one) for one in found.fields] == ["B03", "by hand"]
    assert [found.condition_of(one) for one in found.fields] == ["s1", "s1"]
    assert found.labels.undo() is not None
    assert found.labels.scheme == SCHEME


def test_a_project_that_is_moved_with_its_images_finds_them(project: Project, tmp_path: Path) -> None:
    project.close()
    new = tmp_path / "elsewhere"
    new.mkdir()
    for name in ("cells.cellproject", "cells_project", "images"):
        shutil.move(tmp_path / name, new / name)
    found = Project.open(new / "cells.cellproject")
    assert found.missing() == ()
    assert all(field.path is not None and new in field.path.parents for field in found.fields)


def test_a_project_that_is_moved_alone_finds_its_images_where_they_were(project: Project, tmp_path: Path) -> None:
    project.close()
    new = tmp_path / "deep" / "elsewhere"
    new.mkdir(parents=True)
    for name in ("cells.cellproject", "cells_project"):
        shutil.move(tmp_path / name, new / name)
    assert Project.open(new / "cells.cellproject").missing() == ()


def test_a_renamed_project_file_keeps_its_folder_and_a_copy_of_both_is_independent(
    project: Project, tmp_path: Path
) -> None:
    label(project, project.fields[0], [3], 1)
    project.close()
    shutil.copytree(tmp_path / "cells_project", tmp_path / "copy_project")
    shutil.copy(tmp_path / "cells.cellproject", tmp_path / "copy.cellproject")
    (tmp_path / "cells.cellproject").rename(tmp_path / "new name.cellproject")
    renamed, copy = Project.open(tmp_path / "new name.cellproject"), Project.open(tmp_path / "copy.cellproject")
    assert renamed.folder == tmp_path / "cells_project"
    assert copy.folder == tmp_path / "copy_project"
    assert renamed.labels.fields_labelled() == copy.labels.fields_labelled() != {}


def test_file_names_that_are_not_utf_8_are_kept(tmp_path: Path) -> None:
    path = write_image(tmp_path / "plain.png", 3)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.png"))
    try:
        path.rename(odd)
    except OSError:
        odd = path.rename(tmp_path / "odd\u00ff.png")  # a system of Unicode names only
    with Project.create(tmp_path / "p.cellproject", SCHEME) as project:
        project.add_field(read_image(odd))
    assert Project.open(project.path).fields[0].path == odd


def test_without_the_folder_the_labels_are_those_of_the_file(project: Project, tmp_path: Path) -> None:
    label(project, project.fields[0], [1, 5], 2)
    label(project, project.fields[1], [7], 0)
    before = project.labels.snapshot()
    project.close()
    shutil.rmtree(tmp_path / "cells_project")
    found = Project.open(project.path)
    assert found.labels.snapshot() == before
    assert not found.labels.can_undo


def test_labels_of_work_without_a_project_are_taken_over_with_their_steps(tmp_path: Path) -> None:
    work = ProjectLabels(Journal(tmp_path / "untitled"), SCHEME)
    source = read_image(write_image(tmp_path / "a.png", 1))
    field = Field(key=source.image_id, image_id=source.image_id, name="a.png")
    project_grid = Project.create(tmp_path / "x.cellproject", SCHEME, 10).grid.lay(SHAPE)
    work.annotation(field.image, project_grid).label([1], 2)
    work.change_class(0, name="oval")
    project = Project.create(tmp_path / "p.cellproject", work.scheme, 10, work)
    added = project.add_field(source)
    found = opened(project)
    annotation = found.labels.annotation(added.image, project_grid)
    assert (annotation.labels[1], annotation.scheme.names[0]) == (2, "oval")
    annotation.undo()
    assert annotation.scheme == SCHEME


# -- fields --------------------------------------------------------------------------------------------


def test_an_image_is_one_field_however_often_and_from_wherever_it_is_added(project: Project, tmp_path: Path) -> None:
    first = project.fields[0]
    assert first.path is not None
    copy = tmp_path / "copy.png"
    shutil.copy(first.path, copy)
    assert project.add_field(read_image(copy)) == first
    first.path.unlink()
    moved = project.add_field(read_image(copy))
    assert (moved.key, moved.path, len(project.fields)) == (first.key, copy, 2)


def test_many_images_are_added_with_one_write_or_none_of_them(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_image(tmp_path / f"{number}.png", number) for number in range(1, 6)]
    written = []
    change = Project._change
    monkeypatch.setattr(Project, "_change", lambda *given, **named: (written.append(1), change(*given, **named)))
    added = project.add_fields([read_image(path) for path in paths])
    assert [one.path for one in added[1:]] == paths[1:]
    assert added[0] == project.fields[1]  # of these pixels one is there
    assert (len(project.fields), len(written)) == (6, 1)
    with pytest.raises(CancelledError):
        project.add_fields(
            [read_image(write_image(tmp_path / "n.png", 9)), read_image(paths[0])], task=Task(cancelled=lambda: True)
        )
    assert len(opened(project).fields) == 6


def test_a_field_that_is_removed_and_added_again_has_its_labels(project: Project) -> None:
    first = project.fields[0]
    assert first.path is not None
    label(project, first, [4], 1)
    project.remove_field(first.key)
    found = opened(project)
    again = found.add_field(read_image(first.path))
    assert found.labels.annotation(again.image, found.grid.lay(SHAPE)).labels[4] == 1


def test_an_image_that_was_changed_is_not_taken_for_the_field(project: Project) -> None:
    first, second = project.fields
    assert first.path is not None
    assert second.path is not None
    assert project.open_field(first.key).image_id == first.image_id
    shutil.copy(second.path, first.path)
    with pytest.raises(ImageError, match="has other pixels than when it was added"):
        project.open_field(first.key)
    first.path.unlink()
    with pytest.raises(ImageError, match="is missing; say where it is now"):
        project.open_field(first.key)


def test_a_rule_that_does_not_fit_a_name_is_refused(project: Project) -> None:
    with pytest.raises(DatasetError, match="does not match"):
        project.set_rules(group_by="^(C..)")
    with pytest.raises(DatasetError, match="regular expression"):
        project.set_rules(condition_by="(")
    assert project.rules.group_by is None


def test_images_of_one_name_in_two_folders_are_two_groups(project: Project, tmp_path: Path) -> None:
    project.add_field(read_image(write_image(tmp_path / "other" / "B03_s1.png", 9)))
    assert [project.group_of(one) for one in project.fields] == ["images/B03_s1.png", "B04_s1.png", "other/B03_s1.png"]


def test_an_impossible_value_is_refused_in_one_line(project: Project) -> None:
    for change in (
        lambda: project.set_grid(tile_px=0), lambda: project.set_grid(overlap=2), lambda: project.set_grid(size=3),
        lambda: project.change_field(project.fields[0].key, z=-1),
    ):  # fmt: skip
        with pytest.raises(ParamsError) as caught:
            change()
        assert "\n" not in str(caught.value)
    assert project.grid.tile_px == (10, 10)


# -- moved images --------------------------------------------------------------------------------------


def test_moved_and_renamed_images_are_found_beside_the_project(project: Project, tmp_path: Path) -> None:
    first, second = (field.path for field in project.fields)
    assert first is not None
    assert second is not None
    (tmp_path / "sub" / "deeper").mkdir(parents=True)
    first.rename(tmp_path / "sub" / "deeper" / first.name)
    second.rename(tmp_path / "sub" / "renamed.png")
    write_image(tmp_path / "sub" / second.name, 77)  # of the same name, but another image
    found = opened(project)
    assert len(found.missing()) == 2
    assert {field.path for field in found.find_moved()} == {
        tmp_path / "sub" / "deeper" / first.name, tmp_path / "sub" / "renamed.png",
    }  # fmt: skip
    assert opened(found).missing() == ()


def test_one_answer_finds_all_images_that_were_moved_likewise(tmp_path: Path) -> None:
    home, away = tmp_path / "home", tmp_path / "away" / "plate 7"
    with Project.create(home / "p.cellproject", SCHEME) as project:
        for number in range(6):
            name = f"day{number % 2}/f{number}.png"
            project.add_field(read_image(write_image(tmp_path / "plate" / name, number)))
        away.parent.mkdir()
        (tmp_path / "plate").rename(away)
        assert project.find_moved() == ()
        assert len(project.missing()) == 6
        field = project.fields[3]
        with pytest.raises(ImageError, match="has other pixels"):
            project.relocate(field.key, away / "day1" / "f1.png")
        with pytest.raises(ImageError, match="does not hold the image"):
            project.relocate(field.key, away / "day0")
        found = project.relocate(field.key, away / "day1" / "f3.png")
        assert len(found) == 6
    assert Project.open(project.path).missing() == ()


# -- models and maps -----------------------------------------------------------------------------------


def test_every_training_is_a_new_version_with_its_score(project: Project, bundle: ModelBundle) -> None:
    for number in (1, 2):
        path = project.next_model_path()
        assert path == project.models_folder / f"cells_v{number}.cellclass"
        assert project.add_model(write_model(bundle, path)).version == number
        assert project.add_model(path).version == number
    assert [one.version for one in project.models] == [1, 2]
    newest = project.newest_model
    assert newest is not None
    assert newest.score is not None
    assert newest.score.n == bundle.evaluation()["validation"]["n"]
    assert newest.score.value == bundle.evaluation()["validation"]["balanced_accuracy"]["value"]
    split = bundle.table("split.csv")
    assert newest.tiles == (split["split"] == "train").sum()
    assert set(newest.groups) == set(split["group"][split["split"] == "train"].astype(str))
    newest.path.unlink()
    assert project.newest_model == project.models[0]
    assert "cells_v2.cellclass is missing" in opened(project).notes[0]


def test_finished_models_are_taken_up_and_half_written_ones_are_not(project: Project, bundle: ModelBundle) -> None:
    write_model(bundle, project.next_model_path())
    folder = project.models_folder
    whole = (folder / "cells_v1.cellclass").read_bytes()
    (folder / "cells_v2.cellclass").write_bytes(whole[: len(whole) // 2])
    (folder / ".tmp-x.cellclass").write_bytes(whole)
    (folder / "cells_v3.partial.cellclass").write_bytes(whole)
    found = opened(project)
    assert [one.path.name for one in found.models] == ["cells_v1.cellclass"]
    assert "cells_v2.cellclass is left out" in found.notes[0]
    assert found.next_model_path().name == "cells_v3.cellclass"
    with pytest.raises(ModelError):
        found.add_model(folder / "cells_v2.cellclass")


def test_a_map_is_replaced_by_one_of_the_same_grid_and_kept_beside_one_of_another(project: Project) -> None:
    first, second = project.fields
    for table in (table_of(project, 0), table_of(project, 1), table_of(project, 2, tile_px=20)):
        project.add_map(first.key, table)
    project.add_map(second.key, table_of(project, 3))
    found = opened(project)
    assert [one.model_id for one in found.maps_of(first.key)] == ["model 1", "model 2"]
    assert [one.grid_key for one in found.maps_of(first.key)] == [
        grid_key(table_of(project, 0).grid), grid_key(table_of(project, 0, 20).grid),
    ]  # fmt: skip
    assert sorted(path.name for path in project.maps_folder.glob("*.csv")) == [
        "B03_s1.tiles.csv", "B03_s1_2.tiles.csv", "B04_s1.tiles.csv",
    ]  # fmt: skip


@pytest.mark.parametrize("at", ["to_csv", "write_json", "replace", "_change"])
def test_a_crash_while_a_map_is_replaced_leaves_the_old_or_the_new_one(
    project: Project, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    key = project.fields[0].key
    project.add_map(key, table_of(project, 0))

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    owner = {"to_csv": TileTable, "write_json": outputs, "replace": Path, "_change": Project}[at]
    with monkeypatch.context() as patch:
        patch.setattr(owner, at, crash)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # as after a kill
        with pytest.raises(KeyboardInterrupt):
            project.add_map(key, table_of(project, 1))
    found = opened(project)
    assert [one.model_id for one in found.maps_of(key)] == ["model 1" if at == "_change" else "model 0"]
    assert found.maps[0].sha256 == outputs.file_hash(found.maps[0].path)
    assert found.notes == ()
    assert list(project.maps_folder.glob(".tmp-*")) == []


def test_a_map_whose_file_was_removed_or_changed_is_told_and_dropped(project: Project) -> None:
    first, second = project.fields
    for field in (first, second):
        project.add_map(field.key, table_of(project))
    project.maps_of(first.key)[0].path.unlink()
    path = project.maps_of(second.key)[0].path
    record = path.with_name(path.name.replace(".tiles.csv", ".run.json"))
    record.write_text(record.read_text().replace(outputs.file_hash(path), "0" * 64))
    path.write_text("edited")
    found = opened(project)
    assert found.maps == ()
    assert len(found.notes) == 2


def test_a_map_must_say_which_model_made_it(project: Project) -> None:
    table = table_of(project)
    with pytest.raises(ParamsError, match="does not say which model"):
        project.add_map(project.fields[0].key, TileTable(table.grid, SCHEME, table.prob))


# -- several processes, crashes, disks -----------------------------------------------------------------


def test_a_second_process_is_told_may_read_and_may_wait(project: Project) -> None:
    label(project, project.fields[0], [1], 1)
    words = "import sys; from napari_cellclass.core.workspace.project import Project; from pathlib import Path; "
    path = str(project.path)
    done = subprocess.run(
        [sys.executable, "-c", words + "Project.open(Path(sys.argv[1]))", path],
        capture_output=True, text=True, timeout=PROCESS_S, check=False,
    )  # fmt: skip
    assert f"is open in another program (process {os.getpid()} on " in done.stderr.splitlines()[-1]
    with pytest.raises(ProjectBusyError):
        Project.open(project.path, wait_s=0.1)
    reader = Project.open(project.path, read_only=True)
    assert content_of(reader) == content_of(project)
    for change in (
        lambda: label(reader, reader.fields[0], [2], 1), reader.save, lambda: reader.set_grid(tile_px=5),
        lambda: reader.labels.add_class("x"), lambda: reader.remove_field(reader.fields[0].key),
    ):  # fmt: skip
        with pytest.raises(OutputError, match="for reading only"):
            change()
    child = subprocess.Popen(
        [sys.executable, "-c", words + "print('go', flush=True); Project.open(Path(sys.argv[1]), wait_s=600)", path],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    project.close()
    assert child.wait(timeout=PROCESS_S) == 0
    with pytest.raises(OutputError, match="for reading only"):
        project.save()


def test_a_project_that_cannot_be_written_to_can_be_read(project: Project) -> None:
    label(project, project.fields[0], [1], 1)
    project.close()
    (project.folder / ".lock").unlink()
    (project.folder / ".lock").mkdir()
    with pytest.raises(OutputError, match="open it for reading only"):
        Project.open(project.path)
    assert Project.open(project.path, read_only=True).labels.fields_labelled() == project.labels.fields_labelled()


@pytest.mark.skipif(sys.platform == "win32", reason="no modes")
def test_the_folder_is_as_open_to_others_as_any_other(project: Project) -> None:
    label(project, project.fields[0], [1], 1)
    plain = project.path.parent / "plain"
    plain.mkdir()
    (plain / "file").touch()
    log = project.labels.journal.path("labels")
    assert project.labels_folder.stat().st_mode == plain.stat().st_mode
    assert log.stat().st_mode == project.path.stat().st_mode == (plain / "file").stat().st_mode


def test_a_file_that_another_program_changed_is_not_written_over(project: Project) -> None:
    content = json.loads(project.path.read_text())
    content["rules"]["group_by"] = "^(B..)"
    project.path.write_text(json.dumps(content))
    with pytest.raises(OutputError, match="was changed by another program"):
        project.set_grid(tile_px=20)
    assert json.loads(project.path.read_text())["rules"]["group_by"] == "^(B..)"
    assert project.grid.tile_px == (10, 10)


def test_a_change_that_cannot_be_written_is_not_made(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before, text = content_of(project), project.path.read_text()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for change in (lambda: project.set_grid(tile_px=5), lambda: project.remove_field(project.fields[0].key)):
            with pytest.raises(OutputError, match="the disk is full"):
                change()
    assert (content_of(project), project.path.read_text()) == (before, text)
    project.set_grid(tile_px=5)
    assert opened(project).grid.tile_px == (5, 5)


def test_a_project_is_never_made_over_another(project: Project, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a project of that name exists"):
        Project.create(project.path, SCHEME)
    label(project, project.fields[0], [1], 1)
    project.close()
    project.path.unlink()
    with pytest.raises(OutputError, match="it is there already"):
        Project.create(project.path, SCHEME)
    with pytest.raises(ParamsError, match=r"ends in \.cellproject"):
        Project.create(tmp_path / "x.json", SCHEME)


WORKER = """
import sys
from pathlib import Path
import numpy as np
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.workspace.project import Project

project = Project.open(Path(sys.argv[1]))
scheme, shape = ClassScheme(("round", "long", "dead")), (60, 80)
annotations = [project.labels.annotation(field.image, project.grid.lay(shape)) for field in project.fields]
for step in range(100_000):
    annotations[step % 2].label(step // 2 % 48, (step // 96 + step) % 3)
    if step % 7 == 3:
        project.save()
    if step % 11 == 5:
        grid = project.grid.lay(shape)
        prob = np.random.default_rng(step).dirichlet(np.ones(3), len(grid)).astype(np.float32)
        project.add_map(project.fields[step % 2].key, TileTable(grid, scheme, prob), f"model {step}")
    if step % 13 == 7:
        project.set_rules(condition_by="_(s.)" if step % 2 else None)
    print(step, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("after", [1, 6, 40, 83])
def test_kill_9_at_any_moment_costs_at_most_the_last_label(project: Project, after: int) -> None:
    project.close()
    child = subprocess.Popen([sys.executable, "-c", WORKER, str(project.path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    printed = [int(child.stdout.readline()) for _ in range(after)]
    child.send_signal(signal.SIGKILL)
    printed += [int(line) for line in child.stdout.read().split()]
    child.wait(timeout=PROCESS_S)
    found = Project.open(project.path)
    assert found.notes == ()
    steps = 0
    while found.labels.undo() is not None:
        steps += 1
    assert steps - len(printed) in (0, 1)
    maps = [step for step in range(len(printed)) if step % 11 == 5]
    for number, field in enumerate(found.fields):
        made = [f"model {step}" for step in maps if step % 2 == number]
        there = [one.model_id for one in found.maps_of(field.key)]
        assert len(there) <= 1
        if made:
            assert int(there[0].split()[1]) >= int(made[-1].split()[1])
            assert outputs.file_hash(found.maps_of(field.key)[0].path) == found.maps_of(field.key)[0].sha256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged or not a project"),
        ("[1, 2]", "is not a project"),
        (
            '{"format": "napari-cellclass project", "schema_version": 2}',
            "has version 2, but this program reads 1; update napari-cellclass",
        ),
        ('{"format": "napari-cellclass project", "schema_version": 1}', "is damaged (folder"),
        ("[" * 100_000, "damaged or not a project"),
    ],
)
def test_a_damaged_or_newer_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.cellproject"
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        Project.open(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "p_project").exists()


def test_no_spoilt_value_of_the_file_breaks_opening_or_leads_out_of_its_folder(project: Project) -> None:
    project.add_map(project.fields[0].key, table_of(project))
    label(project, project.fields[0], [1], 1)
    project.close()
    whole = json.loads(project.path.read_text())
    spoilt = [None, 7, "x", "..", "a/b", "é" * 250, [], {}, [{}], [[1]], {"relative": 3}, -1]
    spoilt += [{"relative": text, "absolute": text} for text in ("x" * 5000, "a\0b", "/dev/null/x")]

    def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [path, *(one for key, item in inner for one in places(item, (*path, key)))]

    for place in places(whole)[1:]:
        for value in spoilt:
            content = json.loads(json.dumps(whole))
            target = content
            for key in place[:-1]:
                target = target[key]
            target[place[-1]] = value
            project.path.write_text(json.dumps(content))
            with contextlib.suppress(CellClassError):  # its text is one line by itself
                assert Project.open(project.path, read_only=True).folder.parent == project.path.parent
    project.path.write_text(json.dumps(whole))


def test_a_file_larger_than_the_limit_is_not_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_CELLCLASS_MAX_PROJECT_BYTES", "100")
    with pytest.raises(DatasetError, match="NAPARI_CELLCLASS_MAX_PROJECT_BYTES"):
        Project.open(project.path, read_only=True)
