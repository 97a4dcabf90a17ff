"""What the documents name is there: modules, packages, functions, tests, benchmarks, pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "napari_cellclass"
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
TEXTS = [ROOT / "ARCHITECTURE.md", *DECISIONS]


def missing(name: str) -> bool:
    """Tell whether a name of a document leads nowhere."""
    test = re.fullmatch(r"(tests/[\w/]+\.py)::(test_\w+)", name)
    if test:
        file = ROOT / test[1]
        return not (file.is_file() and f"\ndef {test[2]}(" in file.read_text(encoding="utf-8"))
    if re.fullmatch(r"(tests|benchmarks|scripts|docs)/[\w/.]+", name):
        return not (ROOT / name).exists()
    if re.fullmatch(r"(core|engine|runs|report|viewer|widgets|cli)(/\w+)*(\.py)?", name):
        return not (SOURCE / name).exists()
    return False


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_what_a_document_names_is_there(path: Path) -> None:
    names = re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8"))
    assert [name for name in names if missing(name)] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_what_a_document_names_in_a_module_is_defined_there(path: Path) -> None:
    text = re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))
    found = re.findall(r"`([\w.]+)` (?:of |\()`([\w/]+\.py)`", text)
    assert len(found) > 20 or path.name != "ARCHITECTURE.md"
    for name, module in found:
        assert re.search(rf"\b(def|class) {name.split('.')[-1]}\b", (SOURCE / module).read_text(encoding="utf-8")), name


def test_every_package_has_its_line_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    inner = {path.parent.relative_to(SOURCE).as_posix() for path in SOURCE.glob("*/*/__init__.py")}
    lines = [name for name in inner if not name.startswith("widgets/")]
    assert [name for name in sorted(lines) if f"| `{name}` |" not in text] == []
    assert [
        name
        for name in sorted(inner - set(lines))
        if f"`{name.split('/')[1]}`" not in text and name != "widgets/common"
    ] == []


def test_every_decision_is_listed_and_has_its_three_parts() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    records = [path for path in DECISIONS if path.name != "README.md"]
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text(encoding="utf-8")
        title = re.match(r"# (\d{4}): (.+)\n", text)
        assert title, path.name
        assert f"- [{title[1]}]({path.name}) {title[2]}\n" in index
        assert all(f"\n## {part}\n" in text for part in ("Context", "Decision", "Evidence")), path.name


def test_every_picture_and_document_that_is_linked_is_there() -> None:
    for path in [*ROOT.glob("*.md"), *DECISIONS]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_term_of_the_glossary_has_its_name_in_the_code() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| [a-z0-9R]", line)]
    assert len(rows) >= 40
    for term, meaning, code in rows:
        found = re.fullmatch(r"`([\w.]+)` \(`([\w/]+\.py)`\)", code)
        assert found, f"{term}: {code}"
        assert meaning
        assert re.search(rf"\b{found[1].split('.')[-1]}\b", (SOURCE / found[2]).read_text(encoding="utf-8")), term
    terms = [term for term, _, _ in rows]
    assert len(set(terms)) == len(terms)
