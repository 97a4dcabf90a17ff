"""What MkDocs needs beside the pages in ``docs``: documents of the repository as pages, and the command line as one.

MkDocs calls the functions named ``on_...`` while it builds the site (``hooks`` in ``mkdocs.yml``).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import posixpath
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMAND_LINE = "reference/command-line.md"
# Pages whose text is a document elsewhere in the repository.
PAGES = {
    "changelog.md": "CHANGELOG.md",
    "developers/architecture.md": "ARCHITECTURE.md",
    "developers/contributing.md": "CONTRIBUTING.md",
    "developers/security.md": "SECURITY.md",
    "developers/benchmarks.md": "benchmarks/RESULTS.md",
}
# Notebooks in docs, and the pages that show them with their stored outputs.
NOTEBOOKS = {"notebooks/quick-start.md": "notebooks/quick-start.ipynb"}
_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
# Roles of docstrings, such as :class:`~a.b.Name`.
_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):(?=<code>)")
_SHORT = re.compile(r"<code>~(?:\w+\.)*(\w+)</code>")
_log = logging.getLogger("mkdocs.hooks.docs_site")


def repository_url() -> str:
    """Give the address of the repository, which stands in ``pyproject.toml`` alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"]).rstrip("/")


def on_config(config: Any) -> Any:
    """Take the addresses from ``pyproject.toml``."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    config.repo_url, config.site_url = urls["Repository"], urls["Documentation"]
    config.repo_name = "/".join(config.repo_url.rstrip("/").split("/")[-2:])
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are no files in ``docs``."""
    from mkdocs.structure.files import File

    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for page, source in NOTEBOOKS.items():
        files.append(File.generated(config, page, content=notebook_page(ROOT / "docs" / source)))
    files.append(File.generated(config, COMMAND_LINE, content=command_line_page()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Lead links to documents of the repository to their pages, and those to other files to the repository."""
    return plain_bars(relink(markdown, page.file.src_uri, str(config.repo_url).rstrip("/")))


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Write names with roles of docstrings, such as ``:class:`~a.b.Name```, as code."""
    return _SHORT.sub(r"<code>\1</code>", _ROLE.sub("", html))


def relink(markdown: str, page: str, repository: str) -> str:
    """Rewrite the relative links of a page.

    Parameters
    ----------
    markdown
        Text of the page.
    page
        Path of the page in the site, such as ``how-to/groups.md``.
    repository
        Address of the repository.
    """
    source = PAGES.get(page, f"docs/{page}")
    pages = {document: uri for uri, document in PAGES.items()}

    def lead(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        inside = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if inside is not None:
            return match[1] + posixpath.relpath(inside, posixpath.dirname(page) or ".") + match[3]
        if not path.startswith("..") and (ROOT / path).exists():
            return f"{match[1]}{repository}/blob/main/{path}{match[3]}"
        _log.warning("%s links to %s, which is not there", page, match[2])
        return match[0]

    return _LINK.sub(lead, markdown)


def plain_bars(markdown: str) -> str:
    """Write bars in the code of tables as they are: GitHub wants a backslash before them, MkDocs would show it."""

    def row(match: re.Match[str]) -> str:
        return re.sub(r"`[^`]*`", lambda code: code[0].replace(r"\|", "|"), match[0])

    return re.sub(r"^\|.*$", row, markdown, flags=re.M)


def command_line_page() -> str:
    """Describe every verb and its settings, as the parser of the program has them."""
    from napari_cellclass.cli.main import build_parser

    os.environ["COLUMNS"] = "100"  # of the usage lines
    parser = build_parser()
    verbs = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {action.dest: action.help or "" for action in verbs._choices_actions}
    lines = [_HEAD, "| command | what it does |", "|---|---|"]
    lines += [f"| [`{verb}`](#{verb}) | {_cell(helps[verb])} |" for verb in verbs.choices]
    for verb, one in verbs.choices.items():
        lines += ["", f"## {verb}", "", one.description or "", ""]
        usage = one.format_usage().removeprefix("usage: ").rstrip()
        lines += ["```text", *(line.removeprefix(" " * 7) for line in usage.splitlines()), "```", ""]
        lines += ["| setting | values | what it is |", "|---|---|---|", *_rows(one)]
    return "\n".join([*lines, "", _TAIL])


def notebook_page(path: Path) -> str:
    """Show a notebook as a page: its text, its code, and the outputs that are stored in it."""
    parts: list[str] = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        parts += [one for output in cell.get("outputs", ()) if (one := _output(output))]
    title, *rest = parts
    return "\n\n".join([title, f"[The notebook]({path.name}) itself, to run.", *rest]) + "\n"


def _output(output: dict[str, Any]) -> str:
    """Show one output of a cell: a picture, a table, or text."""
    data = output.get("data", {})
    for kind in ("image/jpeg", "image/png"):
        if kind in data:
            return f"![figure](data:{kind};base64,{''.join(data[kind]).strip()})"
    text = "".join(data.get("text/plain", output.get("text", ""))).rstrip()
    return f"```text\n{text}\n```" if text else ""


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Give a row for each setting of a verb."""
    for action in parser._actions:
        if action.help is argparse.SUPPRESS or "--help" in action.option_strings:
            continue
        names = action.option_strings or [str(action.metavar)]
        values = "" if action.nargs == 0 or not action.option_strings else str(action.metavar or "")
        names_cell = ", ".join(f"`{name}`" for name in names)
        yield f"| {names_cell} | {f'`{values}`' if values else ''} | {_cell(action.help or '')} |"


def _cell(text: str) -> str:
    """Write a text as a cell of a table."""
    plain = " ".join(text.replace("%%", "%").split())
    return re.sub(r"([|<>*_])", r"\\\1", plain) if "`" not in plain else plain.replace("|", r"\|")


_HEAD = """# Command line

    napari-cellclass COMMAND ...

This page is made from the program itself when the site is built; `napari-cellclass COMMAND --help` prints the same.
Names in capitals stand for a value; settings without values are switches.
"""

_TAIL = """## What all commands have in common

`--settings FILE.json` reads settings from a file, see [settings files](../how-to/settings-files.md). `--quiet` prints
nothing but errors. In place of data, `check`, `train`, `classify`, `evaluate` and `info` take a
[project](../how-to/projects.md), `NAME.cellproject`, too.

`--progress jsonl` prints one JSON object per line, for programs, and no other text on standard output. Its `event` is

- `progress`, with `phase`, `done`, `total` and `metrics`, such as `tiles_per_s`, or `loss` and `accuracy` of an epoch;
- `done`, the last line where all went well, with what was made: `out` or `models`, and numbers of the verb;
- `error`, with `message` and `exit_code`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | some images failed; each is named, by `classify` in `report.json` |
| 2 | nothing could be done; one line says what was wrong and what to do |
| 130 | interrupted; finished results are kept |
| 141 | the program that read the output has ended |
"""
