"""Use the program for long in one process and watch what it holds: memory, open files, threads.

Two parts: many small fields through the command line's own code, and one field classified, cleared and classified
again in a napari window. Memory is to be flat (the last third at most 5 % above the first, after a tenth to
warm up), open files and threads are not to grow; a line says so, and the exit code is 1 where it is not.

    sh scripts/xvfb.sh .venv/bin/python benchmarks/soak.py [--fields 5000] [--times 200] [--model M.cellclass]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

_FIELD_PX = 96
_GROWTH = 0.05


@dataclass
class Held:
    """What this process holds, sample after sample."""

    megabytes: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def sample(self) -> None:
        """Look once, after what is garbage has been collected."""
        gc.collect()
        process = psutil.Process()
        self.megabytes.append(process.memory_info().rss / 2**20)
        self.files.append(process.num_fds() if hasattr(process, "num_fds") else process.num_handles())
        self.threads.append(process.num_threads())

    def judged(self, what: str) -> bool:
        """Print how it went; whether it was flat."""
        start = len(self.megabytes) // 10
        warm = self.megabytes[start:]
        third = max(1, len(warm) // 3)
        first, last = float(np.median(warm[:third])), float(np.median(warm[-third:]))
        growth = last / first - 1
        files = max(self.files[-third:]) - max(self.files[start : start + third])
        threads = max(self.threads[-third:]) - max(self.threads[start : start + third])
        flat = growth <= _GROWTH and files <= 0 and threads <= 0
        print(
            f"{what}: memory {first:.0f} MB in the first third, {last:.0f} MB in the last ({growth:+.1%}); "
            f"open files {self.files[start]} to {self.files[-1]}, threads {self.threads[start]} to {self.threads[-1]}: "
            f"{'flat' if flat else 'GROWS'}"
        )
        return flat


def small_model(folder: Path) -> Path:
    """Train one epoch of the smallest network in a child process."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 160)):
        (folder / "data" / name).mkdir(parents=True)
        for i in range(4):
            pixels = rng.normal(level, 20, (64, 64)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "data" / name / f"{name}{i}.png")
    model = folder / "m.cellclass"
    words = ["train", folder / "data", "--out", model, "--tile-px", 32, "--epochs", 1, "--quiet"]
    subprocess.run([sys.executable, "-m", "napari_cellclass", *map(str, words)], check=True)
    return model


def fields(folder: Path, count: int) -> Iterator[Path]:
    """Write small fields, one at a time, over each other's files."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (_FIELD_PX + 64, _FIELD_PX + 64)).astype(np.uint8)
    for i in range(count):
        path = folder / f"field{i % 50}.png"
        dy, dx = divmod(i % 4096, 64)
        Image.fromarray(pixels[dy : dy + _FIELD_PX, dx : dx + _FIELD_PX]).save(path)
        yield path


def soak_command_line(model: Path, folder: Path, count: int) -> Held:
    """Classify fields in this process, a command per field, as scripts do that import the program."""
    from napari_cellclass.cli.main import main as command_line

    held = Held()
    out = folder / "out"
    for i, path in enumerate(fields(folder, count)):
        for old in out.glob("*"):
            old.unlink()
        words = ["classify", str(path), "--model", str(model), "--out", str(out), "--quiet"]
        with contextlib.redirect_stdout(io.StringIO()):
            code = command_line(words)
        if code:
            raise SystemExit(f"field {i} ended with exit code {code}")
        if i % max(1, count // 100) == 0:
            held.sample()
    return held


def soak_window(model: Path, times: int) -> Held:
    """Classify a field in a window, clear the map, and again."""
    import napari

    from _stalls import wait

    viewer = napari.Viewer()
    rng = np.random.default_rng(2)
    image = viewer.add_image(rng.integers(0, 256, (640, 640)).astype(np.uint8), name="field")
    _, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    widget = dock.show_page("Classify field")
    widget.set_model(model)
    wait(lambda: widget.model is not None)
    held = Held()
    for _ in range(times):
        widget.run()
        wait(lambda: not widget.job.running)
        labels = dock.workspace.layers.layers if dock.workspace.layers is not None else []
        made = [layer for layer in viewer.layers if layer is not image and layer not in labels]
        if not made:
            raise SystemExit(f"no map: {widget.message.text()}")
        for layer in made:
            viewer.layers.remove(layer)
        held.sample()
    viewer.close()
    return held


def main() -> int:
    """Print what was held; 1 where it grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=5000)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.model or small_model(folder)
        flat = True
        if options.fields:
            held = soak_command_line(model, folder, options.fields)
            flat &= held.judged(f"command line, {options.fields:,} fields")
        if options.times:
            flat &= soak_window(model, options.times).judged(f"window, {options.times} times")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
