"""Commands, Python and links of the documentation, as its readers meet them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))
RUN = (DOCS / "start.md", *sorted((DOCS / "how").glob("*.md")), DOCS / "troubleshooting.md")
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def blocks(page: Path, language: str | None = None) -> Iterator[str]:
    """The fenced blocks of a page, of one language or of all."""
    for _, name, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if language is None or name == language:
            yield text


def commands(page: Path, *, shown_to_run: bool = False) -> list[list[str]]:
    """The words of every medgraft command in a page's blocks, without remarks.

    shown_to_run : only those behind a `$`, which a reader may type as they stand.
    """
    found = []
    for text in blocks(page, "console" if shown_to_run else None):
        for line in text.replace("\\\n", " ").splitlines():
            line = re.sub(r"\s#\s.*$", "", line.strip().removeprefix("$ "))
            if line.startswith("medgraft "):
                found.append(shlex.split(line)[1:])
    return found


def links(page: Path) -> list[str]:
    """Where a page leads to, but for other sites and for places on itself."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = (target.partition("#")[0] for target in LINK.findall(text))
    return [one for one in targets if one and "://" not in one]
