"""Run command lines one after the other and tell what left this network namespace: ``job_verbs.py LINES.json``.

Those of Python modules run in forks of one process that has imported Keras where whatever calls anybody is counted,
too: the import takes longer than most verbs. Nothing else is imported there that could call: each verb does so itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

FORK_SERVER = Path(__file__).parents[1] / "_fork_server.py"


def sent() -> dict[str, int]:
    """Count what Linux was asked to send from this namespace, by whatever code, even where there was no way out."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    counts = {
        f"{k[0]}{name}": int(v)
        for k, n in zip(lines[::2], lines[1::2], strict=True)
        for name, v in zip(k[1:], n[1:], strict=True)
    }
    return {name: counts[name] for name in ("Ip:OutRequests", "Ip:OutNoRoutes", "Tcp:ActiveOpens", "Udp:OutDatagrams")}


def main() -> None:
    """Run the lines; print exit codes, the ends of their errors, and the counts."""
    lines = Path(sys.argv[1])
    before, ends = sent(), []
    given: list[list[str]] = json.loads(lines.read_text())
    if any("-m" in line for line in given):
        socket, nothing = str(lines.with_suffix(".socket")), subprocess.DEVNULL
        words = [sys.executable, "-P", str(FORK_SERVER), socket, "--serve-keras", str(os.getpid())]
        subprocess.run(words, check=True, stdin=nothing, stdout=nothing, stderr=nothing)
        fork = [sys.executable, "-I", "-S", str(FORK_SERVER), socket]
        given = [[*fork, *line[1:]] if "-m" in line else line for line in given]
    for line in given:
        done = subprocess.run(line, check=False, capture_output=True, text=True)
        ends.append((done.returncode, done.stderr[-500:]))
    after = sent()
    print(json.dumps({"ends": ends, "sent": {name: after[name] - before[name] for name in after}}))


if __name__ == "__main__":
    main()
