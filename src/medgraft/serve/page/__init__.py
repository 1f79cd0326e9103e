"""The page at `/`: plain HTML, CSS and modules, which are served as they lie here."""

from __future__ import annotations

from pathlib import Path

KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
INDEX = "index.html"


def page_files() -> dict[str, tuple[bytes, str]]:
    """Content and media type of each file by the path it is asked for at, the page at ''."""
    files = sorted(file for file in Path(__file__).parent.iterdir() if file.suffix in KINDS)
    return {
        "" if file.name == INDEX else file.name: (file.read_bytes(), KINDS[file.suffix])
        for file in files
    }
