"""The best model so far in a file, while training goes on."""

from __future__ import annotations

import time
from pathlib import Path

from napari_cellclass.core.models.paths import partial_path
from napari_cellclass.engine.training.run import TrainingRun
from napari_cellclass.engine.training.write_model import write_model

_TIME_FRACTION = 0.2


class Checkpoint:
    """The best model so far in a file beside the one to come, for the case that training is killed.

    The first epoch's is written at once; later ones so that writing takes a fifth of the time at most.
    """

    def __init__(self, out: Path) -> None:
        self.path = partial_path(out)
        self._epoch = 0
        self._due = 0.0

    def __call__(self, run: TrainingRun) -> None:
        """Write the best epoch's model, where it is new and it is time."""
        start = time.perf_counter()
        if run.best is None or run.best.epoch == self._epoch or start < self._due:
            return
        now = run.model.get_weights()
        run.model.set_weights(run.best.weights)
        try:
            write_model(run, run.best.epoch, run.best.val_prob, self.path, unfinished=True)
        finally:
            run.model.set_weights(now)
        self._epoch = run.best.epoch
        end = time.perf_counter()
        self._due = end + (end - start) * (1 / _TIME_FRACTION - 1)

    def remove(self) -> None:
        """Take the file away: training has ended in a way that was told."""
        if self._epoch:
            self.path.unlink(missing_ok=True)
