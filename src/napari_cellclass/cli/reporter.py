"""Progress, messages and errors of a verb, for people or for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

from napari_cellclass.core.common.task import Progress, Task
from napari_cellclass.core.params.base import Params
from napari_cellclass.core.params.shared import ReportingParams


class Reporter:
    """Shows progress, messages and errors to people or, as JSON lines, to programs.

    Parameters
    ----------
    params
        Parameters of the verb; ``progress`` and ``quiet`` select a bar, JSON lines or nothing.
    """

    def __init__(self, params: Params) -> None:
        self.quiet = isinstance(params, ReportingParams) and params.quiet
        self.style = params.progress if isinstance(params, ReportingParams) and not self.quiet else "none"
        self.verbose = self.style != "jsonl" and not self.quiet
        self._bar: Any = None
        self._phase = ""
        self.task = Task(self.report)

    def report(self, update: Progress) -> None:
        """Show a progress report."""
        if self.style == "jsonl":
            self.event("progress", phase=update.phase, done=update.done, total=update.total, metrics=update.metrics)
        elif self.style == "bar" and update.phase != "epoch":
            self._draw(update)

    def _draw(self, update: Progress) -> None:
        from tqdm import tqdm

        if self._bar is None or self._phase != update.phase or update.done < self._bar.n:
            self.close()
            self._bar = tqdm(total=update.total or None, desc=update.phase, file=sys.stderr, leave=True, disable=None)
            self._phase = update.phase
        shown = {k: f"{v:.3g}" for k, v in update.metrics.items() if k not in ("seconds_left", "tiles_per_s")}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(update.done - self._bar.n)

    def close(self) -> None:
        """End the bar, so that text can follow."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text: str) -> None:
        """Print a message for people."""
        self.close()
        if self.verbose:
            print(text)

    def warn(self, text: str) -> None:
        """Print a warning for people, on standard error."""
        if not self.quiet:
            self.close()
            print(f"napari-cellclass: warning: {text}", file=sys.stderr)

    def fail(self, text: str) -> None:
        """Print an error of a part of the work on standard error, even when quiet."""
        self.close()
        print(f"napari-cellclass: {text}", file=sys.stderr)

    def event(self, event: str, **content: Any) -> None:
        """Print one JSON line for programs, in JSON-lines mode only."""
        if self.style == "jsonl":
            print(json.dumps({"event": event, **content}, default=str), flush=True)
