"""Command lines with strange names, run one after the other in this process."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
from pathlib import Path

import job_files
import numpy as np
import watch as watching
from PIL import Image

from napari_cellclass.cli.main import main as command_line
from napari_cellclass.core.common.errors import CellClassError

NAMES = (
    "two words",
    "'single'",
    '"double"',
    "[0-9]",
    "a,b;c",
    "Größe µm 細胞 🔬",
    "new\nline",
    "tab\there",
    "$(touch evil)",
    "`touch evil`",
    "%s%n{0}{x}",
    "*?",
    "~",
    "-rf",
    "--out",
    "=1+1",
    "@x",
    "+x",
    "#x",
    "a\\b",
    "x" * 200,
    "\u202eoverride",
    "trailing ",
    " leading",
    "..x",
    "nul",
    "con",
    "a&b|c>d",
    "\x1b[31mred",
    "é" + "e\u0301",
)
VERBS = (
    "info", "slice", "check", "train", "classify", "slides", "evaluate", "experiment", "", "x", "--help", "--version",
)  # fmt: skip
FLAGS = (
    "--out",
    "--model",
    "--tile-px",
    "--tiles",
    "--group-by",
    "--seed",
    "--epochs",
    "--rescale",
    "--rotate",
    "--overlap",
    "--edge",
    "--classes",
    "--channels",
    "--workers",
    "--engine",
    "--test",
    "--prefix",
    "--progress",
    "--quiet",
)
VALUES = (
    "",
    "0",
    "-1",
    "1e400",
    "nan",
    "inf",
    "1" * 400,
    "(",
    "(?P<",
    "a" * 255,
    "\u0661",
    "5:",
    ":",
    "-5:5:5",
    "null",
    "[]",
    "{}",
    "a,a",
    ",",
    "\udcff",
    "/",
    "/dev/null",
    ".",
    "..",
    "C:\\x",
)


def run(words: list[str], expected: tuple[int, ...]) -> str:
    """Run a command line; complain of whatever a user must not see."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = command_line(words)
        except SystemExit as ended:  # --help and --version
            code = int(ended.code or 0)
    text = err.getvalue()
    if code not in expected:
        raise AssertionError(f"exit code {code} of {words!r}: {text[-300:]}")
    if "Traceback" in text or "unexpected" in text.replace("unexpected or missing", "").replace("is unexpected", ""):
        raise AssertionError(f"{words!r}: {text[-400:]}")
    told = text.strip() or (words[0] == "check" and out.getvalue().strip().splitlines()[-1])  # its findings are output
    if code == 2 and len(str(told).splitlines()) != 1:
        raise AssertionError(f"not one line of {words!r}: {text[-400:]}")
    if code == 2:
        raise CellClassError(str(told))  # refused, as it should be
    return "taken"


def job(watch: watching.Watch, folder: Path, rng: random.Random, count: int) -> None:
    """Use every name as an image, a folder and a model; then words at random."""
    rng_pixels = np.random.default_rng(0)
    model = job_files.good_bundle(folder)
    for number, name in enumerate(NAMES):
        place = folder / str(number) / name
        (place / "a").mkdir(parents=True)
        (place / "b").mkdir()
        for kind in ("a", "b"):
            for field in range(3):
                pixels = rng_pixels.integers(0, 256, (16, 16)).astype(np.uint8)
                Image.fromarray(pixels).save(place / kind / f"{name}{field}.png")
        mine = place / f"{name}.cellclass"
        shutil.copy(model, mine)
        for words in (
            ["info", str(mine)],
            ["check", str(place), "--tile-px", "8", "--out", str(place / "out" / f"{name}.json")],
            ["slice", str(place / "a" / f"{name}0.png"), "--out", str(place / name), "--tile-px", "8"],
            ["info", f"{mine}.no"],
            ["slice", str(place / "none.png"), "--out", str(place / "o2")],
            [
                "classify",
                str(place / "a" / f"{name}0.png"),
                "--model",
                str(place / "a" / f"{name}0.png"),
                "--out",
                str(place / "o3"),
            ],
        ):
            watch.run("name", repr(words)[:150], lambda words=words: run(words, (0, 1, 2)))
    for number in range(count):
        words = [rng.choice(VERBS)]
        for _ in range(rng.randint(0, 5)):
            words += [rng.choice(FLAGS)] if rng.random() < 0.5 else [rng.choice((*VALUES, *NAMES))]
        words = [word if word not in ("..", ".", "/") else str(folder / "nowhere") for word in words]
        watch.run("words", f"{number} {words!r}"[:150], lambda words=words: run(words, (0, 1, 2)))


if __name__ == "__main__":
    watching.main(job)
