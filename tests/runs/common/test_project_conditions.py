from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.plates.conditions import Assignment
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.runs.common.project_data import project_conditions, project_images

NAMES = ("day1_drug.png", "day1_control.png", "day2_drug.png", "day2_control.png")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of four fields, of which one was given its condition and group by hand."""
    rng = np.random.default_rng(0)
    with Project.create(tmp_path / "p.cellproject", ClassScheme(("a", "b")), 8) as project:
        for name in NAMES:
            Image.fromarray(rng.integers(0, 255, (16, 16)).astype(np.uint8)).save(tmp_path / name)
            by_hand = {"condition": "drug 2", "group": "day 2"} if name == NAMES[2] else {}
            project.add_field(read_image(tmp_path / name), **by_hand)
        project.set_rules(condition_by="_([a-z]+)", group_by="(day.)")
    return project.path


def test_fields_of_a_project_have_its_conditions_and_their_groups_as_replicates(project: Path) -> None:
    given = project_conditions(project)
    assert list(given.stems) == [one.stem for one in project_images(project)]
    assert list(given.stems.values()) == [
        Assignment("drug", "day1"), Assignment("control", "day1"), Assignment("drug 2", "day 2"),
        Assignment("control", "day2"),
    ]  # fmt: skip


def test_a_field_that_is_its_own_group_is_no_replicate(project: Path) -> None:
    with Project.open(project) as opened:
        opened.set_rules(group_by=None)
    assert [one.replicate for one in project_conditions(project).stems.values()] == ["", "", "day 2", ""]


def test_a_field_that_no_rule_matches_has_no_condition_and_can_be_classified(project: Path) -> None:
    Image.fromarray(np.eye(16, dtype=np.uint8)).save(project.parent / "other.png")
    with Project.open(project) as opened:
        opened.add_field(read_image(project.parent / "other.png"))
    given = project_conditions(project)
    assert given.stems["other"] == Assignment()
    assert given.order == ("drug", "control", "drug 2")
