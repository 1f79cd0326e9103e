"""Follow every link inside the built site: pages, places on them, pictures, files to download.

`make site` runs it: `python packaging/check_links.py site`. Links to other sites are not followed.
Links into the source (`../src/…`) have no page here; the files must be in this checkout.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and the places on it that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the links and the ids of a tag."""
        for name, value in attrs:
            if name in {"href", "src"} and value:
                self.links.append(value)
            elif name in {"id", "name"} and value:
                self.places.add(value)


def dead(site: Path) -> Iterator[tuple[Path, str]]:
    """Pages with links that lead nowhere."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links are from the root of a server
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("data:"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir() and target.is_relative_to(site):
                target /= "index.html"
            place = unquote(parts.fragment)
            if not target.exists() or (place and place not in pages.get(target, page).places):
                yield path, link


def main() -> None:
    """Exit with the links that lead nowhere."""
    site = Path(sys.argv[1]).resolve()
    found = [f"{path.relative_to(site)}: {link}" for path, link in dead(site)]
    if found:
        sys.exit("links that lead nowhere:\n" + "\n".join(found))


if __name__ == "__main__":
    main()
