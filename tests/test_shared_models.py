"""What many tests share is made first, by one process of tests, while the others do what needs none of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from napari_cellclass.core.models.bundle import open_bundle

pytestmark = pytest.mark.training


@pytest.mark.parametrize("name", ["ihc_model", "int8_model"])
def test_a_model_that_tests_share_is_whole(name: str, request: pytest.FixtureRequest) -> None:
    bundle = open_bundle(request.getfixturevalue(name))
    assert all(bundle.member(member) for member in bundle.manifest.files)


@pytest.mark.parametrize("script", ["keras_job.py", "training_job.py", "texture_job.py", "networks_job.py"])
def test_a_script_whose_results_tests_share_has_run(script: str, job_folder: Callable[[str], Path]) -> None:
    assert (job_folder(script) / "results.json").stat().st_size > 2
