"""``SECURITY.md`` promises nothing that no test holds."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_promise_names_a_test_that_exists() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(rows) > 10
    for row in rows:
        found = re.search(r"`(tests/[\w/]+\.py)::(test_\w+)` \|$", row)
        assert found, f"a promise without a test: {row}"
        file = ROOT / found[1]
        assert file.is_file(), row
        assert re.search(rf"^def {found[2]}\(", file.read_text(encoding="utf-8"), re.MULTILINE), row
