"""Run command lines one after the other and tell what left this network namespace: ``job_verbs.py LINES.json``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


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
    before, ends = sent(), []
    for line in json.loads(Path(sys.argv[1]).read_text()):
        done = subprocess.run(line, check=False, capture_output=True, text=True)
        ends.append((done.returncode, done.stderr[-500:]))
    after = sent()
    print(json.dumps({"ends": ends, "sent": {name: after[name] - before[name] for name in after}}))


if __name__ == "__main__":
    main()
