"""The notebook of the documentation runs from its first cell to its last, and is stored as it ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from scripts import docs_site
from tests._patience import PROCESS_S

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOK = DOCS / "notebooks" / "quick-start.ipynb"


def printed(cells: list[Any]) -> list[str]:
    """What cells print or end with, as text."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return ["".join(text) for text in texts]


@pytest.mark.training
def test_the_notebook_runs_and_shows_what_is_stored_in_it(tmp_path: Path) -> None:
    stored = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=PROCESS_S, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    kinds = [
        [output.output_type for output in cell.get("outputs", ()) if output.get("name") != "stderr"]
        for cell in notebook.cells
    ]
    assert kinds == [[output["output_type"] for output in cell.get("outputs", ())] for cell in stored["cells"]]
    found = "\n".join(printed(notebook.cells))
    accuracy = [float(line.split()[2]) for line in found.splitlines() if line.startswith("balanced accuracy 0.")]
    assert accuracy
    assert min(accuracy) > 0.85
    assert "AnnData object with n_obs × n_vars = 256" in found
    assert (
        sum("image/jpeg" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ()))
        == 2
    )


def test_the_stored_notebook_is_small_and_names_no_folder_of_who_ran_it() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 200_000
    cells = json.loads(text)["cells"]
    assert not [
        one for one in printed(cells) if any(part in one for part in ("/home/", "/tmp/", "site-packages", "\\Users\\"))
    ]
    assert all(output.get("name") != "stderr" for cell in cells for output in cell.get("outputs", ()))


def test_the_page_of_a_notebook_has_its_text_code_and_figures() -> None:
    page = docs_site.notebook_page(NOTEBOOK)
    assert page.startswith("# Quick start in a notebook\n")
    assert "```python\nimport tempfile" in page
    assert page.count("![figure](data:image/jpeg;base64,") == 2
    assert "balanced accuracy on held-out regions" in page
