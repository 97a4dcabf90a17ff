from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests._models import JOBS
from tests._patience import PROCESS_S
from tests._program import forking

from napari_cellclass.core.models.bundle import open_bundle


@pytest.mark.training
def test_tensorboard_reads_the_history_that_the_model_holds(ihc_model: Path) -> None:
    words = forking([sys.executable, str(JOBS / "read_events_job.py"), str(ihc_model.parent / "log" / "ihc")])
    done = subprocess.run(words, capture_output=True, text=True, timeout=PROCESS_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    events = json.loads(done.stdout.splitlines()[-1])
    model = open_bundle(ihc_model)
    history = model.table("history.csv")
    assert "logdir" not in model.manifest.training  # a model does not depend on where its training was followed
    assert {kind for *_, kind in events} == {"scalars"}
    for part, before in (("train", ""), ("validation", "val_")):
        for name in ("loss", "accuracy"):
            values = [(step, value) for where, tag, step, value, _ in events if (where, tag) == (part, f"epoch_{name}")]
            assert [step for step, _ in values] == list(range(1, 26))
            assert np.allclose([value for _, value in values], history[f"{before}{name}"], atol=1e-5)
