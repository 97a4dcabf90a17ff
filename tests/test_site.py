"""The site and the README: the commands in them are the program's and do what they say, and nothing leads nowhere."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from scripts import docs_site
from tests._patience import PROCESS_S
from tests._program import Call, preloaded

import napari_cellclass
from napari_cellclass.cli.main import VERBS, build_parser
from napari_cellclass.cli.parser import checked_params
from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.params.base import flag_of

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
TEXTS = [README, *sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "decisions")]
PROGRAM = "napari-cellclass "
# Links, not those within code.
LINK = re.compile(r"\]\(([^)\s]+)\)")


def site() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return found


def navigation(entry: Any) -> Iterator[str]:
    """Give the pages of a part of the navigation, in its order."""
    if isinstance(entry, str):
        yield entry
    else:
        for inner in entry.values() if isinstance(entry, dict) else entry:
            yield from navigation(inner)


PAGES = list(navigation(site()["nav"]))


def commands(path: Path) -> list[str]:
    """Give the lines of a document that call the program, without their comments."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line.startswith(PROGRAM) and " ..." not in line]


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("path", [path for path in TEXTS if commands(path)], ids=lambda path: path.stem)
def test_every_command_in_a_document_is_one_that_the_program_takes(path: Path) -> None:
    for line in commands(path):
        try:
            values = vars(build_parser().parse_args(words(line)))
            params, _ = VERBS[values.pop("verb")]
            if "settings" not in values and "cellproject" not in line:
                checked_params(params, values)
        except CellClassError as error:
            pytest.fail(f"{path.name}: {line}: {error}")


def runnable() -> Iterator[tuple[str, str, str]]:
    """Give page, kind and text of every block to be run, in the order of the navigation."""
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8") if (DOCS / page).exists() else ""
        for found in re.finditer(r"^<!-- run -->\n\n(```python\n(.*?)^```$|(?:    [^\n]+\n)+)", text, re.M | re.S):
            yield page, "python" if found[2] else "commands", found[2] or found[1]


def test_the_walks_of_the_documents_can_be_walked(
    ihc_model: Path, ihc_field_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    shutil.copytree(ihc_model.parent, tmp_path / "demo")
    (tmp_path / "demo" / "ihc.cellclass").rename(tmp_path / "demo" / "demo.cellclass")
    shutil.copy(ihc_field_file, tmp_path / "demo" / "ihc.png")
    monkeypatch.chdir(tmp_path)
    blocks = list(runnable())
    assert len(blocks) >= 15
    for page, kind, text in blocks:
        if kind == "python":
            exec(compile(text, page, "exec"), {"__name__": page})
            continue
        for line in filter(None, map(str.strip, text.splitlines())):
            assert line.startswith(PROGRAM), f"{page}: {line}"
            run = preloaded if words(line)[0] == "train" else call
            done = run(*words(line))
            assert done.returncode == 0, f"{page}: {line}: {done.stderr}"
    what_the_pages_promise(tmp_path)


def what_the_pages_promise(folder: Path) -> None:
    """Look for files that the pages name as written by their commands."""
    promised = [
        "demo_map/ihc.tiles.csv", "demo_map/ihc.geojson", "demo_map/ihc.run.json", "demo_map/fields.csv",
        "stack_map/stack.ome_z0.tiles.csv", "stack_map/stack.ome_z2.tiles.csv", "stack_map/planes.png",
        "maps/fields.csv", "maps/wells.csv", "maps/plate.png", "maps/report.json", "maps/conditions.png",
        "maps/conditions_results.csv", "maps/conditions.txt", "figures/evaluation.json", "figures/tiles.csv",
        "figures/classes.csv", "figures/confusion.svg", "figures/reliability.png", "figures/fields.csv",
        "figures/panel_01.png", "figures/kit/methods.md", "maps/settings.json", "tiles/tiles.csv", "plate.npz",
    ]  # fmt: skip
    assert [name for name in promised if not (folder / name).is_file()] == []


def anchors(path: Path) -> set[str]:
    """Give the anchors of the headings of a document, as Markdown makes them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    plain = [re.sub(r"[^\w\s-]", "", re.sub(r"[`*]", "", title)).strip().lower() for title in titles]
    return {re.sub(r"[-\s]+", "-", title.encode("ascii", "ignore").decode()) for title in plain}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_of_a_document_leads_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        if ":" in name:
            continue
        other = (path.parent / name).resolve() if name else path
        page = other.relative_to(DOCS).as_posix() if other.is_relative_to(DOCS) else ""
        if page == docs_site.COMMAND_LINE:
            assert anchor in {*VERBS, ""}, f"{path.name}: {target}"
            continue
        if page in docs_site.NOTEBOOKS:
            page = docs_site.NOTEBOOKS[page]
            other = DOCS / page
        if page in docs_site.PAGES:
            other = ROOT / docs_site.PAGES[page]
        assert other.exists(), f"{path.name}: {target}"
        assert not anchor or anchor in anchors(other), f"{path.name}: {target}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_menu_that_a_document_names_is_there(path: Path) -> None:
    manifest = yaml.safe_load((ROOT / "napari.yaml").read_text(encoding="utf-8"))
    parts = manifest["contributions"]
    titles = {one["command"]: one["display_name"] for one in parts["widgets"]}
    menus = {f"Plugins > Cell Class > {title}" for title in titles.values()}
    menus |= {f"File > Open Sample > Cell Class > {one['display_name']}" for one in parts["sample_data"]}
    for menu in ("Annotate", "Classify"):
        menus |= {
            f"Layers > {menu} > {titles[one['command']]}" for one in parts["menus"][f"napari/layers/{menu.lower()}"]
        }
    text = re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))
    named = re.findall(
        r"\*((?:Plugins > Cell Class|Layers > (?:Annotate|Classify)|File > Open Sample > Cell Class) ?[^*]*)\*", text
    )
    assert [name for name in named if name not in menus | {"File > Open Sample > Cell Class"}] == []


def test_every_extra_is_described() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"]) - {"test", "docs", "dist", "dev"}  # those are for developers
    text = (DOCS / "getting-started" / "install.md").read_text(encoding="utf-8")
    assert [name for name in sorted(extras) if f"| `{name}` |" not in text] == []


def test_every_sample_is_described() -> None:
    manifest = yaml.safe_load((ROOT / "napari.yaml").read_text(encoding="utf-8"))
    text = (DOCS / "getting-started" / "sample-data.md").read_text(encoding="utf-8")
    samples = [one["display_name"] for one in manifest["contributions"]["sample_data"]]
    assert samples
    assert [name for name in samples if f"| {name} |" not in text] == []


def test_every_page_has_its_place_in_the_navigation() -> None:
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if not re.match(r"\d{4}-", path.name)}
    assert sorted(PAGES) == sorted({*there, *docs_site.PAGES, *docs_site.NOTEBOOKS, docs_site.COMMAND_LINE})


def test_the_reference_has_every_setting_of_every_command() -> None:
    text = docs_site.command_line_page()
    for verb, (params, _) in VERBS.items():
        part = text.partition(f"\n## {verb}\n")[2].partition("\n## ")[0]
        assert [name for name in params.model_fields if f"`{flag_of(params, name)}`" not in part] == [], verb


def test_the_reference_has_every_name_of_the_python_interface() -> None:
    text = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    listed = ", ".join(re.findall(r"^      members: \[(.+)\]$", text, re.M)).split(", ")
    assert sorted(listed) == sorted(set(napari_cellclass.__all__) - {"__version__"})


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("concepts/live.md", "[a](../decisions/0046-figures-from-tiles-drawn-at-random.md)", None),
        ("concepts/live.md", "[a](../../benchmarks/RESULTS.md#x)", "[a](../developers/benchmarks.md#x)"),
        ("developers/architecture.md", "[a](docs/decisions/README.md)", "[a](../decisions/README.md)"),
        ("credits.md", "[a](../NOTICE)", "[a](https://e.org/r/blob/main/NOTICE)"),
        ("credits.md", "[a](https://e.org/x)", None),
        ("credits.md", "[a](#x)", None),
        ("index.md", "![a](images/check.png)", None),
    ],
)
def test_links_of_the_repository_lead_to_its_pages(page: str, link: str, expected: str | None) -> None:
    assert docs_site.relink(link, page, "https://e.org/r") == (expected or link)


def test_bars_in_the_code_of_a_table_are_shown_without_a_backslash() -> None:
    given = "| `a\\|b` | c \\| d |\n\n`e\\|f` is no table"
    assert docs_site.plain_bars(given) == "| `a|b` | c \\| d |\n\n`e\\|f` is no table"


def test_links_of_the_readme_are_whole_in_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    hatchling = types.ModuleType("hatchling.metadata.plugin.interface")
    hatchling.MetadataHookInterface = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, hatchling.__name__, hatchling)
    for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.delitem(sys.modules, "hatch_build", raising=False)
    build = importlib.import_module("hatch_build")
    given = "![a](docs/images/b.webp) [c](docs/d.md#e) [f](https://g.org) [h](#i)"
    whole = build.with_whole_links(given, "https://r")
    assert (
        whole
        == "![a](https://r/raw/main/docs/images/b.webp) [c](https://r/blob/main/docs/d.md#e) [f](https://g.org) [h](#i)"
    )
    readme = build.with_whole_links(README.read_text(encoding="utf-8"), docs_site.repository_url())
    assert {target.partition(":")[0] for target in LINK.findall(readme)} == {"https"}


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    told = {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        line, cwd=ROOT, env=os.environ | told, capture_output=True, text=True, timeout=PROCESS_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "site" / "reference" / "command-line" / "index.html").read_text(encoding="utf-8")
    assert "--novelty-rate" in text
    assert not re.search(r'(src|href)="https?://[^"]*(fonts|cdn|unpkg)', text)


def test_the_citation_is_of_this_version_and_leads_where_the_package_does() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [cited[name] for name in ("title", "version", "license")] == [
        project[name] for name in ("name", "version", "license")
    ]
    assert (cited["repository-code"], cited["url"]) == (project["urls"]["Repository"], project["urls"]["Documentation"])


def test_the_readme_is_short_and_its_pictures_are_small() -> None:
    assert README.stat().st_size <= 6144
    pictures = [ROOT / target for target in LINK.findall(README.read_text(encoding="utf-8")) if "images/" in target]
    assert pictures
    for path in pictures:
        assert path.stat().st_size < 4 << 20
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 10
