"""What a long function is given: where it reports its progress, and whether it is to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field, replace
from typing import TypeVar

from napari_cellclass.core.common.errors import CancelledError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Progress:
    """One report from a long function.

    Parameters
    ----------
    phase
        What is being done, in a word or two: ``"reading"``, ``"training"``, ``"classifying"``.
    done, total
        Steps finished and steps in all; ``total`` is 0 where it is unknown.
    metrics
        Numbers worth showing beside the bar, such as ``loss`` or ``tiles_per_s``.
    """

    phase: str
    done: int
    total: int
    metrics: Mapping[str, float] = field(default_factory=dict)

    def in_words(self) -> str:
        """Say what is being done, and how far it is where that is known: ``"reading 3 of 20"``."""
        return f"{self.phase} {self.done:,} of {self.total:,}" if self.total else self.phase


def _ignore(update: Progress) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Task:
    """A long function's way to report progress and to learn that it was cancelled.

    It holds functions of this process, so it is not sent to another one.

    Parameters
    ----------
    report
        Called with every progress report, in the thread of the function.
    cancelled
        Returns whether to end; called often, so it must be quick.
    """

    report: Callable[[Progress], None] = _ignore
    cancelled: Callable[[], bool] = _never

    def check(self, message: str = "cancelled") -> None:
        """Raise if the task was cancelled.

        Raises
        ------
        CancelledError
            With ``message``.
        """
        if self.cancelled():
            raise CancelledError(message)

    def progress(self, phase: str, done: int = 0, total: int = 0, **metrics: float) -> None:
        """Report progress; see :class:`Progress`."""
        self.report(Progress(phase, done, total, metrics))

    def track(self, items: Iterable[Item], phase: str, total: int | None = None, every: int = 1) -> Iterator[Item]:
        """Yield items, with a check before each and a report after each or, less often, after some.

        Parameters
        ----------
        items
            What a loop goes through.
        phase
            What the loop does, see :class:`Progress`.
        total
            How many items there are; by default their length, or unknown.
        every
            A report follows every so many items, and the last one.

        Raises
        ------
        CancelledError
            The task was cancelled.
        """
        if total is None:
            total = len(items) if isinstance(items, Sized) else 0
        for done, item in enumerate(items, 1):
            self.check(f"cancelled while {phase}")
            yield item
            if done % every == 0 or done == total:
                self.progress(phase, done, total)

    def mapped(self, change: Callable[[Progress], Progress]) -> Task:
        """Return a task whose reports are changed on their way to this one."""
        return replace(self, report=lambda update: self.report(change(update)))

    def silent(self) -> Task:
        """Return a task that is cancelled with this one and reports nothing."""
        return Task(cancelled=self.cancelled)


NO_TASK = Task()
"""The default of every ``task=``: reports are ignored, and it is never cancelled."""
