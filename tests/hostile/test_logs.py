"""What is kept beside the results: crash logs without pixels."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_cellclass.cli import main as cli
from napari_cellclass.core.images import source as images
from napari_cellclass.core.params.prepare import SliceParams


def test_a_crash_log_holds_no_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    pixels = np.full((32, 32), 237, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "secret.png")
    asked: list[SliceParams] = []

    def defect(params: SliceParams, reporter: object) -> int:
        asked.append(params)
        source = images.SourceImage(pixels[..., None], "secret.png")
        read = source.read(0, 0, 32, 32)
        return int(read["no such field"][0])

    monkeypatch.setitem(cli.VERBS, "slice", (SliceParams, defect))
    assert cli.main(["slice", str(tmp_path / "secret.png"), "--out", str(tmp_path / "out")]) == 2
    assert len(asked) == 1
    assert "this is a defect" in capsys.readouterr().err
    (log,) = (tmp_path / "state").rglob("crash-*.log")
    text = log.read_text()
    assert "Traceback" in text
    assert "no such field" in text or "IndexError" in text
    assert "237" not in text
    assert pixels.tobytes()[:64] not in log.read_bytes()
    if sys.platform != "win32":
        assert stat.S_IMODE(log.stat().st_mode) & 0o077 == 0, "others may read where the user's images lie"
