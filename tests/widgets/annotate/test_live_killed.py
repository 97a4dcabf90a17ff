"""A napari that is killed while the live map is made has all labels, and no file that is half written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests._killed import START, kill_child, labels_of

from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.workspace.project import Project

HALF = """
import time
from napari_cellclass.runs.live.field_features import FieldFeatures
put = FieldFeatures.put
def put_half(self, tile_indices, features):
    put(self, tile_indices[:50], features[:50])
    time.sleep(3600)
FieldFeatures.put = put_half
"""

STREAM = (
    HALF
    + START
    + """
label(12, [Qt.Key.Key_1, Qt.Key.Key_2])
live = dock.label.live.predictions
wait(lambda: live.session is not None and any(one.known.any() for one in live.session.fields.values()))
print("working", flush=True)
wait(lambda: False)
"""
)

KEEP = (
    START
    + """
label(12, [Qt.Key.Key_1, Qt.Key.Key_2])
panel = dock.label.live
wait(lambda: panel.predictions.current is not None and panel.predictions.current.fit is not None)
wait(panel.keep.button.isVisible)
click(panel.keep.button)
phases = []
panel.keep.job.progressed.connect(lambda update: phases.append(update.phase))
wait(lambda: "computing features" in phases or not panel.keep.job.running)
print("working" if panel.keep.job.running else "too late", flush=True)
wait(lambda: False)
"""
)


@pytest.mark.gui
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("script", [STREAM, KEEP], ids=["features stream in", "a model is made of the labels"])
def test_a_napari_killed_at_the_live_map_has_all_labels_and_no_half_file(tmp_path: Path, script: str) -> None:
    kill_child(script, "working", tmp_path)
    with Project.open(tmp_path / "study.cellproject") as project:
        assert (labels_of(project) != UNLABELLED).sum() == 12
        kept = [version.path for version in project.models]  # where the last step was quicker than the kill
    assert not list(tmp_path.rglob(".tmp-*"))
    for model in {*kept, *tmp_path.rglob("*.cellclass")}:
        assert len(open_bundle(model).golden[0])
