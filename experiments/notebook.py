"""`make notebook`: run docs/notebook/paper-table.ipynb, write what it shows as docs/notebook.md."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOK = DOCS / "notebook" / "paper-table.ipynb"
PAGE = DOCS / "notebook.md"
PICTURES = DOCS / "pictures" / "notebook"
NOTE = "*A [notebook](notebook/paper-table.ipynb), run and written here by `make notebook`.*"


def run(path: Path = NOTEBOOK) -> Any:
    """The notebook after a run from top to bottom, in an empty folder.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell failed.
    """
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": folder}}).execute()
    return notebook


def page(notebook: Any, pictures: Path) -> str:
    """Its cells as Markdown, what they print below each; pictures are written beside the page."""
    head, *cells = notebook.cells
    title, _, rest = head.source.partition("\n")
    parts = [title, NOTE, rest.strip()]
    for number, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        parts.extend(_shown(cell, pictures, number))
    return "\n\n".join(parts) + "\n"


def _shown(cell: Any, pictures: Path, number: int) -> Iterator[str]:
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream" and output.name == "stdout":
            yield f"```text\n{output.text.rstrip()}\n```"
        elif "image/png" in data:
            pictures.mkdir(parents=True, exist_ok=True)
            file = pictures / f"cell{number}.png"
            file.write_bytes(base64.b64decode(data["image/png"]))
            yield f"![What the cell above draws](pictures/notebook/{file.name})"
        elif "text/plain" in data:
            yield f"```text\n{data['text/plain']}\n```"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(run(), PICTURES), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
