"""The description of the package: the README, with links that also lead somewhere on PyPI."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURES = (".png", ".webp")


class ReadmeHook(MetadataHookInterface):
    """Gives the README, whose links are relative in the repository, as the description of a package."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add ``readme`` to the metadata."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": with_whole_links(text, metadata["urls"]["Repository"]),
        }


def with_whole_links(text: str, repository: str) -> str:
    """Put the address of the repository before relative links: of a picture itself, of a document its page.

    Parameters
    ----------
    text
        Markdown.
    repository
        Address of the repository on GitHub.
    """

    def whole(match: re.Match[str]) -> str:
        kind = "raw" if match[1].endswith(PICTURES) else "blob"
        return f"]({repository}/{kind}/main/{match[1]})"

    return re.sub(r"\]\((?!https?:|#)([^)\s]+)\)", whole, text)
