"""Build wheel and sdist as they would be uploaded, and try them: contents, description, and a tour in new environments.

The wheel is installed with the lowest versions of all dependencies that ``pyproject.toml`` allows, and with the newest;
in both the manifest is validated and ``napari-cellclass demo`` run without a display. Takes some minutes, several GB on
the disk, and a network.

    python scripts/check_dist.py [--out dist] [--python PYTHON] [--environments lowest newest] [--tests tests/core]
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "napari_cellclass"
# What a user may install; what only developers do is tried in the test-suite.
EXTRAS = ("all", "anndata", "cluster", "int8", "onnx", "umap")
# Files that no code imports, so that nothing but this would notice that they are missing.
NEEDED = (
    "napari.yaml",
    "py.typed",
    "__init__.pyi",
    "core/interchange/qupath_classify.groovy",
    "core/samples/realfield.py",
    "core/samples/synthetic.py",
)
LICENCES = ("LICENSE", "NOTICE")
NOT_INSTALLED = ("tests", "benchmarks", "docs", "scripts")
IN_SDIST = (
    "pyproject.toml", "README.md", "hatch_build.py", "CHANGELOG.md", "LICENSE", "NOTICE", "tests", "docs", "src",
)  # fmt: skip
DEMO_FILES = ("overlay.png", "tiles.csv", "tiles.geojson", "evaluation.json", "demo.cellclass")
_HIDDEN = ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONPATH")
_BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[\w,-]*\])?\s*(?:>=|==)\s*([\w.]+)")


class DistError(Exception):
    """What is wrong with the distribution, in a line."""


def project() -> dict[str, Any]:
    """Give the table ``project`` of ``pyproject.toml``."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def lower_bounds(table: dict[str, Any]) -> dict[str, str]:
    """Give the lowest version of every dependency, optional ones too.

    Parameters
    ----------
    table
        As :func:`project` gives it.

    Raises
    ------
    DistError
        A dependency has no lower bound, or two.
    """
    own, bounds = f"{table['name']}[", {}
    for text in [*table["dependencies"], *(one for extra in table["optional-dependencies"].values() for one in extra)]:
        if text.startswith(own):
            continue
        found = _BOUND.fullmatch(text)
        if not found:
            raise DistError(f"{text!r} in pyproject.toml has no lower bound of the form NAME>=VERSION")
        if bounds.setdefault(found[1], found[2]) != found[2]:
            raise DistError(f"{found[1]} has two lower bounds: {bounds[found[1]]} and {found[2]}")
    return bounds


def constraints(table: dict[str, Any]) -> str:
    """Write the lowest versions as a file of constraints for pip; a bound has to be a release."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(lower_bounds(table).items()))


# -- contents ---------------------------------------------------------------------------------------


def check_wheel(path: Path, table: dict[str, Any]) -> None:
    """Look into a wheel.

    Raises
    ------
    DistError
        A file is missing, or one is there that has no place in it, or the version is another.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        info = f"{PACKAGE}-{table['version']}.dist-info"
        needed = [f"{PACKAGE}/{name}" for name in NEEDED]
        needed += [f"{info}/licenses/{name}" for name in LICENCES]
        needed += [f"{PACKAGE}/{path.relative_to(ROOT / 'src' / PACKAGE).as_posix()}" for path in modules()]
        missing = sorted(set(needed) - set(names))
        if missing:
            raise DistError(f"{path.name} lacks {', '.join(missing)}")
        tops = {name.split("/")[0] for name in names}
        if tops != {PACKAGE, info}:
            raise DistError(f"{path.name} would install {', '.join(sorted(tops - {PACKAGE, info}))}, too")
        stray = [name for name in names if set(name.split("/")) & {*NOT_INSTALLED, "__pycache__"}]
        if stray:
            raise DistError(f"{path.name} holds {', '.join(stray[:3])}, which belongs to no installation")
        entries = archive.read(f"{info}/entry_points.txt").decode()
        for name in ("[napari.manifest]", "[console_scripts]"):
            if name not in entries:
                raise DistError(f"{path.name} has no entry point {name}")
        sizes = {one.filename: one.file_size for one in archive.infolist()}
        if not sizes[f"{PACKAGE}/core/interchange/qupath_classify.groovy"]:
            raise DistError(f"the script for QuPath in {path.name} is empty")


def modules() -> list[Path]:
    """Give the modules of the package."""
    return sorted((ROOT / "src" / PACKAGE).rglob("*.py"))


def check_sdist(path: Path, table: dict[str, Any]) -> None:
    """Look into an sdist.

    Raises
    ------
    DistError
        Something is missing that is needed to build or test.
    """
    top = f"{PACKAGE}-{table['version']}"
    with tarfile.open(path) as archive:
        names = archive.getnames()
    missing = [one for one in IN_SDIST if not any(f"{name}/".startswith(f"{top}/{one}/") for name in names)]
    if missing:
        raise DistError(f"{path.name} lacks {', '.join(missing)}")


def contents(path: Path) -> dict[str, str]:
    """Give the SHA-256 of every file in a wheel but of its list of files, which is compared with them.

    Raises
    ------
    DistError
        The list names another hash than that of the file.
    """
    with zipfile.ZipFile(path) as archive:
        record = next(name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        listed = {row[0] for row in csv.reader(io.StringIO(archive.read(record).decode())) if row}
        if listed != set(archive.namelist()):
            raise DistError(f"RECORD of {path.name} is not the list of its files")
        return {n: hashlib.sha256(archive.read(n)).hexdigest() for n in archive.namelist() if n != record}


# -- building and trying ----------------------------------------------------------------------------


def run(*words: str | Path, env: dict[str, str] | None = None) -> None:
    """Run a command.

    Raises
    ------
    DistError
        It failed; its output was shown.
    """
    print("$", *words, flush=True)
    done = subprocess.run([str(word) for word in words], cwd=ROOT, env=env, check=False)
    if done.returncode:
        raise DistError(f"exit code {done.returncode} of: {' '.join(map(str, words))}")


def build(out: Path, table: dict[str, Any]) -> Path:
    """Build sdist and, from it, the wheel, and look at both; give the wheel."""
    if out.is_dir():
        for old in [*out.glob(f"{PACKAGE}-*.whl"), *out.glob(f"{PACKAGE}-*.tar.gz")]:
            old.unlink()
    run(sys.executable, "-m", "build", "--outdir", out, ROOT)  # the wheel out of the sdist
    (wheel,), (sdist,) = list(out.glob("*.whl")), list(out.glob("*.tar.gz"))
    check_wheel(wheel, table)
    check_sdist(sdist, table)
    with tempfile.TemporaryDirectory() as scratch:
        run(sys.executable, "-m", "build", "--wheel", "--outdir", scratch, ROOT)
        (direct,) = Path(scratch).glob("*.whl")
        one, other = contents(wheel), contents(direct)
        differing = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
        if differing:
            raise DistError(f"the wheel from the sdist differs from that of the sources in {', '.join(differing[:5])}")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    return wheel


def try_wheel(wheel: Path, which: str, python: str, tests: Sequence[str], table: dict[str, Any]) -> None:
    """Install the wheel into an environment of its own, validate the manifest, and run the demo without a display."""
    with tempfile.TemporaryDirectory(prefix=f"cellclass-{which}-") as folder:
        scratch = Path(folder)
        run(python, "-m", "venv", scratch / "env")
        inner = scratch / "env" / ("Scripts" if os.name == "nt" else "bin")
        extras = [*EXTRAS, "test"] if tests else list(EXTRAS)
        words: list[str | Path] = [inner / "python", "-m", "pip", "install", "--quiet"]
        if which == "lowest":
            (scratch / "constraints.txt").write_text(constraints(table), encoding="utf-8")
            words += ["--constraint", scratch / "constraints.txt"]
        run(*words, f"{wheel}[{','.join(extras)}]")
        run(inner / "python", "-m", "pip", "check")
        env = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
        code = f"import {PACKAGE} as c; assert c.__version__ == {table['version']!r}, c.__version__"
        run(inner / "python", "-I", "-c", code, env=env)
        run(inner / "npe2", "validate", table["name"], env=env | {"QT_QPA_PLATFORM": "offscreen"})
        run(inner / "napari-cellclass", "demo", "--out", scratch / "demo", env=env)
        missing = [one for one in DEMO_FILES if not (scratch / "demo" / one).is_file()]
        if missing:
            raise DistError(f"the demo did not write {', '.join(missing)}")
        if tests:
            run(inner / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, env=env)
    print(f"{which}: installed, validated, demo run", flush=True)


def main() -> int:
    """Build and try; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for wheel and sdist")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environments")
    parser.add_argument(
        "--environments", nargs="*", choices=["lowest", "newest"], default=["lowest", "newest"],
        help="which ones; none: only build and look",
    )  # fmt: skip
    parser.add_argument("--tests", nargs="*", default=[], help="tests to run in the environments, such as tests/core")
    given = parser.parse_args()
    try:
        table = project()
        lower_bounds(table)
        wheel = build(given.out.resolve(), table)
        for which in given.environments:
            try_wheel(wheel, which, given.python, given.tests, table)
    except DistError as error:
        print(f"check_dist: {error}", file=sys.stderr)
        return 1
    print(f"{wheel.name} and its sdist are fit for upload: {wheel.parent}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
