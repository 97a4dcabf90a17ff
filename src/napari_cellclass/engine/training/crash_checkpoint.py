"""The best model so far in a file, while training goes on."""

from __future__ import annotations

import time
from pathlib import Path

from napari_cellclass.core.models.paths import partial_path
from napari_cellclass.engine.training.training_run import TrainingRun
from napari_cellclass.engine.training.write_model import write_model

_TIME_FRACTION = 0.2
_SHORTEST_S = 10.0


class Checkpoint:
    """Callback that writes the best model so far to a file beside the final one, in case training is killed.

    The model of the first epoch is written at once; later ones so that writing takes at most a fifth of the time. None
    is written in the last ten seconds, as estimated: to train again takes little longer than to write.
    """

    def __init__(self, out: Path) -> None:
        self.path = partial_path(out)
        self._epoch = 0
        self._due = 0.0

    def __call__(self, run: TrainingRun) -> None:
        """Write the model of the best epoch, if it is new and writing is due."""
        start = time.perf_counter()
        if run.best is None or run.best.epoch == self._epoch or start < self._due or run.seconds_left < _SHORTEST_S:
            return
        current = run.model.get_weights()
        run.model.set_weights(run.best.weights)
        try:
            write_model(run, run.best.epoch, run.best.val_prob, self.path, unfinished=True)
        finally:
            run.model.set_weights(current)
        self._epoch = run.best.epoch
        end = time.perf_counter()
        self._due = end + (end - start) * (1 / _TIME_FRACTION - 1)

    def remove(self, finished: bool) -> None:
        """Delete the file: training has ended, and its result was reported.

        Where its model was written, one that an earlier training has left when it was killed goes too.
        """
        if self._epoch or finished:
            self.path.unlink(missing_ok=True)
