"""A project in place of data: trained, classified, evaluated and described by the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests._models import write_grain
from tests._patience import PROCESS_S, wait_until
from tests._program import Call, line, preloaded

from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.workspace.project import Project

pytestmark = pytest.mark.training
SHORT = ("--epochs", 2, "--texture", "off", "--standardise", "none")


def labelled_project(folder: Path, name: str = "cells") -> Path:
    """A project of six fields of 4 tiles each, three of each of two classes; the class names are not in order."""
    write_grain(folder / "images", 48, 3)
    with Project.create(folder / f"{name}.cellproject", ClassScheme(("spots", "grain", "unused")), 24) as project:
        for path in sorted((folder / "images").glob("*/*.png")):
            field = project.add_field(read_image(path))
            annotation = project.labels.annotation(field.image, project.grid.lay((48, 48)))
            annotation.label([0, 1, 2, 3], project.labels.scheme.index(path.parent.name))
    return project.path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with such a project that was trained once; what was printed is in ``printed.txt``."""
    folder = tmp_path_factory.mktemp("trained")
    done = preloaded("train", labelled_project(folder), *SHORT, "--progress", "none")
    assert done.returncode == 0, done.stderr
    (folder / "printed.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    shutil.copytree(trained, tmp_path / "work")
    path = tmp_path / "work" / "cells.cellproject"
    path.write_text(path.read_text().replace(str(trained), str(path.parent)))
    return path


def read(path: Path) -> Project:
    return Project.open(path, read_only=True)


def test_train_writes_the_next_version_into_the_project_with_its_score(trained: Path) -> None:
    project = read(trained / "cells.cellproject")
    (model,) = project.models
    assert model.path == project.models_folder / "cells_v1.cellclass"
    assert model.classes == ("spots", "grain")
    assert model.tile_px == (24, 24)
    assert model.score is not None
    assert (model.score.n, model.score.groups, model.tiles) == (8, 2, 16)
    assert set(model.groups) < {f"{letter}{number}.png" for letter in "gs" for number in range(3)}
    assert len(model.images) == len(model.groups) == 4
    assert f"version 1 of cells, balanced accuracy {model.score}" in (trained / "printed.txt").read_text()
    assert project.notes == ()


def test_the_settings_beside_a_version_train_the_next_one_on_what_is_labelled_then(project: Path) -> None:
    with Project.open(project) as opened:
        opened.set_rules(group_by="(.)[.]png")
    settings = project.parent / "cells_project/models/cells_v1_settings.json"
    content = json.loads(settings.read_text())
    assert Path(content["data"]).name == "cells.cellproject"
    settings.write_text(json.dumps(content | {"data": str(project)}))
    done = preloaded("train", "--settings", settings, "--quiet")
    assert done.returncode == 0, done.stderr
    first, second = read(project).models
    assert (second.version, second.path.name) == (2, "cells_v2.cellclass")
    assert set(second.groups) < {"0", "1", "2"}
    assert first.path.exists()


def test_classify_maps_all_fields_with_the_newest_model_and_records_the_maps(project: Path, call: Call) -> None:
    with Project.open(project) as opened:
        opened.set_grid(overlap=0.5)
    done = call("classify", project)
    assert done.returncode == 0, done.stderr
    assert "6 maps were added to cells" in done.stdout
    opened = read(project)
    (model,) = opened.models
    assert {one.model_id for one in opened.maps} == {model.model_id}
    assert {one.field for one in opened.maps} == {field.key for field in opened.fields}
    assert all("step 12x12" in one.grid_key for one in opened.maps)
    assert all(one.path.parent == opened.maps_folder / "cells_v1" for one in opened.maps)
    again = call("classify", project)
    assert "6 of 6 images classified, 6 of them before" in again.stdout
    settings = opened.maps_folder / "cells_v1" / "settings.json"
    assert "6 of them before" in call("classify", "--settings", settings).stdout
    assert read(project).maps == opened.maps
    other = project.with_name("other.cellclass")
    shutil.copy(model.path, other)
    assert call("classify", project, "--model", other, "--overlap", 0).returncode == 0
    assert len(read(project).maps) == 12


def test_classify_that_is_killed_leaves_the_finished_maps_in_the_project(project: Path) -> None:
    with Project.open(project) as opened:
        for number in range(40):
            path = project.parent / "more" / f"m{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.random.default_rng(number).integers(0, 255, (480, 480), np.uint8)).save(path)
            opened.add_field(read_image(path))
        folder = opened.maps_folder
    child = subprocess.Popen(line("classify", project, "--quiet"))
    wait_until(lambda: len(list(folder.glob("**/*.run.json"))) > 2)
    child.kill()
    child.wait(timeout=PROCESS_S)
    finished = {path.name.removesuffix(".run.json") for path in folder.glob("**/*.run.json")}
    with Project.open(project) as opened:
        assert {one.path.name.removesuffix(".tiles.csv") for one in opened.maps} == finished
        assert opened.notes == ()
    assert len(finished) < 46


def test_planes_and_channels_of_a_project_are_those_of_its_fields(trained: Path, tmp_path: Path, call: Call) -> None:
    (model,) = read(trained / "cells.cellproject").models
    stack = np.random.default_rng(1).integers(0, 255, (2, 3, 48, 48), np.uint8)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZCYX"})
    with Project.create(tmp_path / "p.cellproject", ClassScheme(("spots", "grain"))) as project:
        for z, channel in ((0, 2), (1, 0)):
            project.add_field(read_image(path, z=z).select([channel]), z=z, channels=[channel])
        project.add_model(model.path)
    done = call("classify", project.path)
    assert done.returncode == 0, done.stderr
    found = read(project.path)
    assert sorted((one.z, one.path.name) for one in found.maps) == [(0, "stack.tiles.csv"), (1, "stack_2.tiles.csv")]
    assert {one.field for one in found.maps} == {field.key for field in found.fields}


def test_evaluate_takes_the_labelled_tiles_that_were_not_trained_on_or_says_that_there_are_none(
    project: Path, call: Call
) -> None:
    (model,) = read(project).models
    done = call("evaluate", project)
    assert done.returncode == 0, done.stderr
    assert "8 tiles of 2 groups" in done.stdout
    assert "2 of 2 images were held out of the training of the model" in done.stdout
    assert "are from the training of the model" not in done.stdout
    result = json.loads((project.parent / "cells_project/evaluations/cells_v1/evaluation.json").read_text())
    assert result["n"] == 8
    with Project.open(project) as opened:
        for field in opened.fields:
            if field.image_id not in model.images:
                opened.remove_field(field.key)
    refused = call("evaluate", project)
    assert refused.returncode == 2
    assert "cells_v1.cellclass was trained on all groups with labelled tiles" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_project_that_is_open_elsewhere_is_told_and_may_be_evaluated_and_shown(project: Path, call: Call) -> None:
    with Project.open(project):
        for words in (("train", project), ("classify", project)):
            done = call(*words)
            assert done.returncode == 2
            assert "is open in another program" in done.stderr
            assert len(done.stderr.splitlines()) == 1
        assert call("evaluate", project).returncode == 0
        assert call("info", project).returncode == 0


def test_moved_images_are_found_before_work_begins(project: Path, call: Call) -> None:
    (project.parent / "new").mkdir()
    (project.parent / "images" / "grain").rename(project.parent / "new" / "name")
    (project.parent / "images" / "spots" / "s0.png").unlink()
    done = call("classify", project)
    assert "g0.png was found at" in done.stdout
    assert "s0.png is missing; open cells.cellproject in napari" in done.stderr
    assert done.returncode == 1
    assert len(read(project).maps) == 5


def test_info_tells_what_a_project_holds(project: Path, call: Call) -> None:
    done = call("info", project)
    assert done.returncode == 0
    for text in (
        "cells.cellproject: 6 fields, 1 model, 0 maps", "tiles     24 x 24 px, overlap 0, edge drop",
        "class     spots: 12 labelled tiles in 3 fields", "field     g0.png: 4 labelled tiles, group g0.png",
        "model     1: cells_v1.cellclass, 16 training tiles, balanced accuracy ",
    ):  # fmt: skip
        assert text in done.stdout
    assert json.loads(call("info", project, "--json-lines").stdout)["format"] == "napari-cellclass project"


def test_what_a_project_lacks_is_said_in_one_line(tmp_path: Path, call: Call) -> None:
    path = labelled_project(tmp_path)
    with Project.open(path) as project:
        project.set_grid(tile_px=12)
    empty = Project.create(tmp_path / "empty.cellproject", ClassScheme(("a", "b")), 24)
    empty.close()
    for words, message in (
        (("classify", path), "has no model yet; train one with napari-cellclass train"),
        (("evaluate", path), "has no model yet"),
        (("train", path), "no tile is labelled on tiles of 12 x 12 px, but 24 of other sizes are"),
        (("train", empty.path), "no tile is labelled; label tiles of at least two classes"),
        (("train", path, "--tile-px", 24), "says where each tile lies; drop --tile-px"),
        (("train", path, "--z", 1), "the fields of a project have their own; drop it"),
        (("classify", path, tmp_path, "--model", "m", "--out", "o"), "a project stands alone"),
        (("train", tmp_path / "none.cellproject"), "No such file"),
        (("experiment", path), "--out is needed"),
        (("info", path, "--verify"), "--verify is for models"),
    ):
        done = call(*words)
        assert done.returncode == 2, words
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_an_image_that_was_changed_since_it_was_labelled_is_not_trained_on(tmp_path: Path, call: Call) -> None:
    path = labelled_project(tmp_path)
    image = tmp_path / "images" / "grain" / "g0.png"
    Image.fromarray(np.full((48, 48), 7, np.uint8)).save(image)
    done = call("train", path)
    assert done.returncode == 2
    assert "g0.png has other pixels than when it was labelled" in done.stderr


def test_a_model_of_a_project_says_so(trained: Path) -> None:
    manifest = open_bundle(trained / "cells_project" / "models" / "cells_v1.cellclass").manifest
    assert Path(manifest.training["data"]).name == "cells.cellproject"
