"""Run hostile inputs one after the other in this process, and tell of everything that must not happen."""

from __future__ import annotations

import faulthandler
import json
import os
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HANG_SECONDS = 30
MEMORY_BYTES = 2 << 30
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Watch:
    """What became of every input: read, refused, or something that a user must never see.

    Parameters
    ----------
    folder
        The only place where anything may be written; ``last`` in it names the input under way.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.outside: list[str] = []
        self.called: list[str] = []
        self.slowest = 0.0
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes) and args[2] & _WRITES:
            self._check(args[0])
        elif event in ("os.rename", "os.mkdir", "os.symlink", "os.link"):
            self._check(args[1] if event != "os.mkdir" else args[0])
        elif event in (
            "socket.connect",
            "socket.getaddrinfo",
            "subprocess.Popen",
            "os.system",
            "os.exec",
            "pickle.find_class",
        ):
            self.called.append(f"{event} {args!r}"[:200])

    def _check(self, path: str | bytes) -> None:
        real = os.path.realpath(os.fsdecode(path))  # heard in the midst of other people's calls
        if not real.startswith((str(self.folder), "/dev/", "/proc/")) and "__pycache__" not in real:
            self.outside.append(real)

    def run(self, kind: str, name: str, action: Callable[[], Any]) -> None:
        """Do one thing with one input."""
        from napari_cellclass.core.common.errors import CellClassError

        (self.folder / "last").write_text(f"{kind}: {name}")
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        began = time.monotonic()
        try:
            outcome = action()
        except CellClassError as error:
            outcome = "refused"
            if "\n" in str(error) or not str(error):
                self.wrong.append(f"{kind} {name}: not one line: {error!r}")
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            outcome = "wrong"
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "napari_cellclass" in f.filename]
            where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
            self.wrong.append(f"{kind} {name}: {type(error).__name__}{where}: {str(error)[:200]}")
        faulthandler.cancel_dump_traceback_later()
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.counts[f"{kind} {outcome if outcome in ('refused', 'wrong') else 'taken'}"] += 1

    def report(self) -> dict[str, Any]:
        """Give what is to be judged."""
        return {
            "counts": dict(self.counts), "wrong": self.wrong, "outside": self.outside, "called": self.called,
            "slowest": round(self.slowest, 2), "peak_mb": peak_kib() >> 10,
        }  # fmt: skip


def status_kib(name: str) -> int:
    """Give a line of what Linux tells of this process, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def peak_kib() -> int:
    """Give the most memory that this process held; Linux's ru_maxrss would count what its parent held at its start."""
    return status_kib("VmHWM") if sys.platform == "linux" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def limit_memory() -> None:
    """Allow this process 2 GiB more than it has; Linux only."""
    now = status_kib("VmSize") * 1024
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, now + MEMORY_BYTES))


def main(job: Callable[[Watch, Path, random.Random, int], None]) -> None:
    """Run a job as ``python JOB.py FOLDER SEED COUNT`` and print its report as the last line."""
    folder, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    watch = Watch(folder)
    job(watch, folder, random.Random(seed), count)
    print(json.dumps(watch.report()))
