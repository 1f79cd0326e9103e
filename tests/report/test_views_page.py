"""The page of views: what it shows of whom, its words from the presets' table, loads nothing."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_report_page import Page

from medgraft.data.augment import PRESETS, Draw, Preset
from medgraft.data.ingest import load
from medgraft.errors import DataError, ScenarioError
from medgraft.report.pages.views import describe, name_draw, views_page
from medgraft.types import ImageTable, Source

N_CLASSES = 3


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """Three classes, two splits, four smooth colour pictures in each cell."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("NORMAL", "<b>ill", "odd & rare"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
                coarse.resize((60, 50)).save(folder / f"{split}{i}.png")
    return load(root)


@pytest.fixture(scope="module")
def html(table: ImageTable, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "views.html"
    views_page(table, ["xray", "microscopy"], 2, 6, 48, path)
    return path.read_text(encoding="utf-8").replace("\u00a0", " ")


def test_the_page_loads_nothing_and_its_links_lead_somewhere(html: str) -> None:
    page = Page(html)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {a["href"] for a in page.all("a")} == {"#xray", "#microscopy", "#clahe"}
    assert not page.all("script")
    assert not page.all("link")
    assert all(str(one["src"]).startswith("data:image/webp;base64,") for one in page.all("img"))
    assert all(one["alt"] for one in page.all("img"))
    assert all(b <= a + 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    assert "://" not in re.sub(r"data:[^\"]+", "", html)


def test_each_preset_shows_every_example_and_its_views_and_clahe_beside_raw(html: str) -> None:
    page = Page(html)
    examples = 2 * N_CLASSES
    assert len(page.all("img")) == 2 * examples * (1 + 6) + 2 * examples
    assert page.words.count("xray.v6") == examples
    assert "xray.v7" not in page.words
    assert page.words.count(" raw ") == examples
    assert "odd & rare" in page.words
    assert "<b>ill" in page.words  # escaped


def test_the_test_split_is_not_shown(html: str) -> None:
    assert "train/NORMAL/train" in html
    assert "test/NORMAL" not in html


def test_the_same_table_gives_the_same_page(html: str, table: ImageTable, tmp_path: Path) -> None:
    views_page(table, ["xray", "microscopy"], 2, 6, 48, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8").replace("\u00a0", " ") == html


def test_the_words_come_from_the_table(html: str) -> None:
    words = Page(html).words
    for name in ("xray", "microscopy"):
        for line in (PRESETS[name].why, *describe(PRESETS[name])):
            assert line in words
    odd = Preset("", turn=3, shift=0.07, zoom=(0.5, 2), gamma=(0.25, 4), tint=0.11, black=True)
    assert describe(odd) == (
        "Turned by up to 3° either way.",
        "Zoomed from 0.5 to 2 times.",
        "Past its edge the picture is black.",
        "Shifted by up to 7 % of the side, down and across.",
        "Gamma from 0.25 to 4.",
        "In colour images red, green and blue each up to 11 % stronger or weaker.",
        "Never mirrored.",
    )
    assert describe(Preset("")) == ("Never mirrored or turned.",)
    strong = Preset("", aspect=1.3, detail=48, noise=0.06, boxes=2, box=0.3)
    assert describe(strong) == (
        "Stretched or squeezed sideways, up to 1.3 times.",
        "Past its edge the picture is reflected.",
        "Fine detail lost: shrunk, to 48 pixels a side at the least, and enlarged again.",
        "Noise added, of up to 6 % of white.",
        "Up to 2 boxes covered with the picture's mean grey or colour, each up to 30 % of the "
        "side.",
        "Never mirrored or turned.",
    )


def test_whatever_a_preset_may_vary_is_described() -> None:
    """Each field, changed alone, changes the words: none was forgotten."""
    changes = {
        "symmetries": ("half turn",), "turn": 5, "shift": 0.1, "zoom": (0.9, 1.1),
        "brightness": (0.9, 1.1), "contrast": (0.9, 1.1), "gamma": (0.9, 1.1),
        "saturation": (0.9, 1.1), "tint": 0.1, "aspect": 1.2, "detail": 48, "noise": 0.1,
        "boxes": 1,
    }  # fmt: skip
    depend = {"why", "inside", "black", "box"}  # on others
    assert {field.name for field in dataclasses.fields(Preset)} == {*changes, *depend}
    plain = describe(Preset(""))
    for name, value in changes.items():
        assert describe(dataclasses.replace(Preset(""), **{name: value})) != plain, name


def test_only_presets_for_chests_are_said_never_to_mirror() -> None:
    never = {name for name in PRESETS if "mirrored" in describe(PRESETS[name])[-1]}
    assert never == {"xray", "xray-strong"}


def test_a_draw_in_words() -> None:
    assert name_draw(Draw()) == "as it is"
    drawn = Draw("half turn", turn=12.4, zoom=0.9, brightness=0.95)
    assert name_draw(drawn).replace("\u00a0", " ") == "half turn, 12° left, zoom 0.90, light −5 %"
    drawn = Draw(detail=0.42, boxes=((0, 0, 0.1, 0.1),))
    assert name_draw(drawn).replace("\u00a0", " ") == "detail 42 %, 1 box"


def test_what_cannot_be_read_is_named_and_the_rest_shown(table: ImageTable, tmp_path: Path) -> None:
    sources = tuple(
        Source("gone.png") if id.startswith("train/NORMAL/") else source
        for id, source in zip(table.ids, table.sources, strict=True)
    )
    broken = dataclasses.replace(table, sources=sources)
    views_page(broken, ["natural"], 1, 1, 32, tmp_path / "v.html")
    words = Page((tmp_path / "v.html").read_text(encoding="utf-8")).words
    assert "1 image could not be used." in words
    assert "the file is missing" in words
    gone = dataclasses.replace(table, sources=(Source("gone.png"),) * len(table))
    with pytest.raises(DataError, match=r"none of the example .* missing"):
        views_page(gone, ["natural"], 1, 1, 32, tmp_path / "w.html")
    assert not (tmp_path / "w.html").exists()


@pytest.mark.parametrize(("presets", "numbers"), [(["mri"], (1, 1, 32)), (["xray"], (0, 1, 32))])
def test_senseless_requests_are_refused(
    table: ImageTable, tmp_path: Path, presets: list[str], numbers: tuple[int, int, int]
) -> None:
    with pytest.raises(ScenarioError, match=r"xray|1 or more"):
        views_page(table, presets, *numbers, tmp_path / "v.html")


def test_a_table_of_test_images_alone_is_refused(table: ImageTable, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not looked at"):
        views_page(table.test, ["xray"], 1, 1, 32, tmp_path / "v.html")
