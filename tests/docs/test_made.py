"""Pictures, the notebook and the sample report: made by the code, shown where they belong."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from pages import DOCS, ROOT, blocks
from PIL import Image

import notebook
import sample_report
from pictures.__main__ import FOLDER, PICTURES, draw
from pictures.world import new_world

CONCEPTS = sorted((DOCS / "concepts").glob("*.md"))


def test_every_concept_is_short_cites_its_source_and_shows_a_picture_that_is_made() -> None:
    shown = []
    for page in CONCEPTS:
        text = page.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 50, f"{page.name} is more than two screens"
        assert "\n**From:** " in text, f"{page.name} cites nothing"
        shown += re.findall(r"!\[[^\]]{20,}\]\(\.\./pictures/concepts/([\w-]+)\.png\)", text)
    assert sorted(shown) == sorted(PICTURES)
    assert sorted(file.stem for file in FOLDER.glob("*")) == sorted(PICTURES)


def test_the_page_of_the_notebook_holds_its_code() -> None:
    cells = nbformat.read(notebook.NOTEBOOK, as_version=4).cells
    code = [f"{cell.source}\n" for cell in cells if cell.cell_type == "code"]
    assert list(blocks(notebook.PAGE, "python")) == code
    assert not any(cell.get("outputs") for cell in cells), "clear its outputs: the page holds them"


def test_the_site_puts_the_sample_report_where_the_page_links_to() -> None:
    [link] = re.findall(r'href="([^"]+)"', (DOCS / "sample.md").read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"experiments/sample_report.py site/{link}\n" in makefile


@pytest.mark.slow
def test_the_pictures_are_drawn(tmp_path: Path) -> None:
    world = new_world(24)
    for path in draw(world, tmp_path):
        with Image.open(path) as image:
            drawn = np.asarray(image.convert("L"))
        assert drawn.shape[1] > 1000
        assert drawn.std() > 10, f"{path.name} is blank"


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    text = notebook.page(notebook.run(), tmp_path)
    assert "recommended: " in text
    assert list(tmp_path.glob("*.png"))


@pytest.mark.slow
def test_the_sample_report_is_one_file_of_a_page_s_size(tmp_path: Path) -> None:
    target = tmp_path / "sample" / "report.html"
    sample_report.write(target, "--patients", "24")
    text = target.read_text(encoding="utf-8")
    assert "For a paper" in text
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]+"', text) == []
