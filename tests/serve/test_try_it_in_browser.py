"""The page in a browser: Debian's chromium, driven by Playwright.

To have them: `apt-get install chromium`, `pip install playwright axe-playwright-python`.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import PLACE, Running, png, running
from test_try_it import study, with_images

from medgraft.bundle.predict import predict_files, write_predictions
from medgraft.data.overrides import apply_overrides
from medgraft.serve.about import About
from medgraft.serve.limits import Limits
from medgraft.serve.run import Door
from medgraft.types import ImageTable, Source
from numpy_model import ByBrightness

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium"),
]

MARKUP = "<img src=x onerror=alert(1)>.png"
FILES = {MARKUP: 160, "=1+1.png": 20, "close.png": 101, "no image.png": -1}
LARGE = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of a model that lies in its study, with an audit that failed."""
    about = About(
        "FAIL", ("Corner (severe)",), "PASS", 80, study=study(tmp_path_factory.mktemp("s"))
    )
    with running(Limits(), about=about) as server:
        yield server


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    for name, grey in FILES.items():
        (tmp_path / name).write_bytes(png(grey) if grey >= 0 else b"x")
    return [tmp_path / name for name in FILES]


class Opened:
    """A tab at the page; what it asks of others, and what goes wrong in it, is kept."""

    def __init__(self, browser: Any, port: int, path: str = "/", **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": LARGE, **options})
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.on("request", self._asked)
        self.origin = f"http://127.0.0.1:{port}/"
        self.page.goto(self.origin.rstrip("/") + path)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.origin, "data:", "blob:")):
            self.wrong.append(request.url)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *error: object) -> None:
        self.context.close()
        assert self.wrong == []

    def says(self, place: str, text: str | re.Pattern[str], seconds: int = 30) -> None:
        playwright.expect(self.page.locator(place)).to_contain_text(text, timeout=1000 * seconds)

    def decides(self, key: str) -> None:
        """Press a key once the image has been there long enough to have been looked at."""
        self.page.wait_for_timeout(450)
        self.page.keyboard.press(key)

    def saved(self, button: str, to: Path) -> Path:
        with self.page.expect_download() as found:
            self.page.locator(button).click()
        found.value.save_as(to)
        return to


def test_images_are_answered_judged_and_taken_along(
    browser: Any, tried: Running, images: list[Path], tmp_path: Path
) -> None:
    with Opened(browser, tried.port) as tab:
        page = tab.page
        tab.says("#verdict", "FAIL")
        tab.says("#verdict-means", "Do not rely on its answers")
        tab.says("#offer-text", "the 20 closest calls. Drop the study’s folder to see them.")
        page.set_input_files("#files", images)
        tab.says("#state", "4 images, 1 not read.")
        names = page.locator("#list .name").all_inner_texts()
        assert names == ["close.png", MARKUP, "=1+1.png", "no image.png"]
        tab.says("#words", "Of 100 images that it answers like this, about 55 are 1.")
        tab.says(
            "#known", "In the study it is labelled 1. Models that had not seen it gave 1 52 %."
        )
        tab.decides("y")
        tab.says("#state", "You confirmed 1. 3 left.")
        tab.says("#case-name", MARKUP)
        page.keyboard.press("1")  # too soon: meant for the one before
        tab.says("#state", "You confirmed 1. 3 left.")
        tab.decides("1")  # the first class, which is called 0
        tab.says("#state", "You called it 0, not 1.")
        tab.decides("x")
        tab.says("#nothing", "It cannot be read, so there is nothing to say of it.")
        assert page.locator("#choices button").all_inner_texts() == ["Take back the last answer U"]
        for name in ("=1+1.png", MARKUP):
            page.keyboard.press("u")
            tab.says("#state", "Taken back.")
            tab.says("#case-name", name)
        tab.decides("1")
        tab.decides("x")
        overrides = tab.saved("#save-decided", tmp_path / "o.csv")
        tab.says("#tables-note", "3 images are in overrides.csv.")
        said = tab.saved("#save-said", tmp_path / "p.csv")
    ids = [MARKUP, "=1+1.png", "close.png", "other.png"]
    blank = np.full(4, "")
    table = ImageTable(
        np.array(ids), tuple(map(Source, ids)), blank, np.array([1, 0, 0, 0]), np.array(ids),
        blank, blank, ("0", "1"),
    )  # fmt: skip
    changed = apply_overrides(table, overrides)
    labels = dict(zip(changed.ids.tolist(), changed.labels.tolist(), strict=True))
    assert labels == {MARKUP: 0, "close.png": 1, "other.png": 0}
    expected = tmp_path / "expected.csv"
    write_predictions(
        expected, predict_files(ByBrightness(PLACE), list(map(str, images))), ("0", "1")
    )
    rows, rows_expected = (
        list(csv.reader(one.read_text(encoding="utf-8").splitlines())) for one in (said, expected)
    )
    assert rows[0] == rows_expected[0]
    for row, wanted in zip(rows[1:], rows_expected[1:], strict=True):
        assert row[0].lstrip("'") == Path(wanted[0]).name
        assert row[1] == wanted[1]
        assert [float(p or "nan") for p in row[2:4]] == pytest.approx(
            [float(p or "nan") for p in wanted[2:4]], abs=5e-5, nan_ok=True
        )
        assert bool(row[4]) == bool(wanted[4])
    assert rows[2][0] == "'=1+1.png"


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_nothing_bars_those_who_see_or_move_otherwise(
    colours: str, browser: Any, tried: Running, images: list[Path]
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python"
    )
    for size in (LARGE, PHONE):
        # axe is put into the page as a script of its own, which the page's policy forbids.
        options = {"viewport": size, "color_scheme": colours, "bypass_csp": True}
        with Opened(browser, tried.port, **options) as tab:
            tab.says("#verdict", "FAIL")
            tab.page.locator("#more > summary").click()
            for filled in (False, True):
                if filled:
                    tab.page.set_input_files("#files", images)
                    tab.says("#state", "not read")
                    tab.page.keyboard.press("h")
                    playwright.expect(tab.page.locator("#sliders")).to_be_visible(timeout=30_000)
                found = axe.Axe().run(tab.page)
                assert found.violations_count == 0, found.generate_report()
                width = tab.page.locator("html").evaluate("e => e.scrollWidth")
                assert width <= size["width"]


def test_it_goes_by_keyboard_alone(browser: Any, tried: Running, images: list[Path]) -> None:
    with Opened(browser, tried.port) as tab:
        page = tab.page
        tab.says("#verdict", "FAIL")
        with page.expect_file_chooser() as chooser:
            for _ in range(10):
                page.keyboard.press("Tab")
                if page.locator("#pick").evaluate("e => e === document.activeElement"):
                    break
            page.keyboard.press("Enter")
        chooser.value.set_files(images[:3])
        tab.says("#state", "3 images.")
        page.locator("#list button").first.focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        tab.says("#state", f"2 of 3: {MARKUP}, 1, > 99 %.")
        page.keyboard.press("h")
        tab.says("#heat-words", "No map at each depth: ")
        page.locator("#opacity").focus()
        page.keyboard.press("ArrowLeft")
        tab.says("#opacity-said", "65 %")
        tab.says("#heat-on", "Hide where it looks")
        page.keyboard.press("h")
        playwright.expect(page.locator("#heat-view")).to_be_hidden()
        page.locator("#keys").uncheck()
        page.keyboard.press("y")
        page.keyboard.press("j")
        tab.says("#case-name", MARKUP)
        page.locator("#choices button").first.focus()
        tab.decides("Enter")
        tab.says("#state", "You confirmed 1.")


def answers(route: Any, *, unlike: bool) -> None:
    """A model of three classes with sets, maps at five depths and names that are markup."""
    classes = ["<b>A</b>", "B", "C"]
    model = {
        "sha256": "0", "scenario": "probe", "classes": classes, "positive": None,
        "threshold": None, "threshold_rule": None,
    }  # fmt: skip
    row = {
        "index": 0, "id": "dicom:1", "label": classes[0], "set": classes[:2], "unlike": unlike,
        "probabilities": dict(zip(classes, (0.5, 0.2, 0.3), strict=True)), "remark": "",
        "error": None,
    }  # fmt: skip
    grey = (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJ"
        "RU5ErkJggg=="
    )
    maps = [
        {"tap": f"blocks.{k}", "block": k, "largest": 1.0, "image_map": grey} for k in range(1, 6)
    ]
    content = {
        "model": {
            "model": model, "alpha": 0.1, "knows_unlike": True, "no_depth": "", "learned_from": {},
            "audit": {"verdict": "PASS", "says": "s", "means": "m", "findings": []},
            "calibration": {"verdict": "FAIL", "says": ""},
            "limits": {"files": 64, "file_bytes": 10**6, "request_bytes": 10**7},
        },
        "cases": {"cases": []},
        "predict": {"model": model, "images": [row]},
        "explain": {"target": classes[0], "method": "gradcam", "maps": maps},
    }[re.split(r"[/?]", route.request.url.partition("/v1/")[2])[0]]  # fmt: skip
    route.fulfill(body=json.dumps(content), content_type="application/json")


def test_sets_strangeness_and_depth_are_told(
    browser: Any, tried: Running, images: list[Path], tmp_path: Path
) -> None:
    with Opened(browser, tried.port, "/health") as tab:
        page = tab.page
        page.route("**/v1/**", partial(answers, unlike=False))
        page.goto(tab.origin)
        tab.says("#verdict", "PASS")
        page.set_input_files("#files", images[0])
        tab.says("#state", "1 image.")
        tab.says("#words", "about 50 are <b>A</b>; these numbers do not come true")
        tab.says(
            "#set", "May also be: B. It leaves out C, though likelier than B, because about 90"
        )
        page.keyboard.press("h")
        tab.says("#depth-said", "block 5")
        page.keyboard.press("s")
        page.keyboard.press("s")
        tab.says("#depth-said", "block 3")
        tab.says("#heat-words", "Where <b>A</b> comes from (Grad-CAM, block 3)")
        page.route("**/v1/**", partial(answers, unlike=True))
        page.set_input_files("#files", images[2])
        tab.says("#state", "2 images, 1 not like those it learned from.")
        tab.says("#case-title", "Not like the images it learned from")
        playwright.expect(page.locator("#words")).to_be_hidden()
        page.locator("#answer > summary").click()
        tab.says("#words", "comes nearest to <b>A</b>. How often that is right is not known")
        playwright.expect(page.locator("#set")).to_be_hidden()
        tab.decides("3")
        tab.says("#ask-text", "Is it C all the same?")
        page.keyboard.press("Escape")
        playwright.expect(page.locator("#decided")).to_be_hidden()
        page.locator("#list button").nth(1).click()
        tab.decides("3")
        tab.says("#state", "You called it C, not <b>A</b>.")
        tab.decides("3")
        page.locator("#ask-yes").click()
        tab.says("#state", "You called it C, not <b>A</b>.")
        saved = tab.saved("#save-decided", tmp_path / "o.csv").read_text()
        assert saved.splitlines()[1].startswith("dicom:1,relabel,C,")


def test_images_of_the_study_are_judged_where_they_can_be_seen(
    browser: Any, tmp_path: Path
) -> None:
    """Its file as the study read it is shown; one that was changed since cannot be judged."""
    with (
        running(Limits(), about=About(study=with_images(tmp_path))) as server,
        Opened(browser, server.port) as tab,
    ):
        page = tab.page
        tab.says("#offer-text", "1 whose label may be wrong, and the 20 closest calls.")
        page.locator("#offer-add").click()
        tab.says("#case-title", "wrong.png")
        tab.says("#bars", "By models that had not seen it")
        playwright.expect(page.locator("#picture")).to_be_visible()
        tab.decides("2")
        tab.says("#state", "You called it 1.")
        tab.says("#case-title", "close.png")
        tab.says("#absent", "does not lie where the study read it, or was changed")
        tab.says("#nothing", "It cannot be seen here")
        assert page.locator("#choices button").all_inner_texts() == ["Take back the last answer U"]


def test_files_come_by_drop_and_paste_below_another_path(browser: Any) -> None:
    script = """([kind, to]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array([1])], "a.png", { type: "image/png" }));
        const event = kind === "drop" ? new DragEvent(kind, { dataTransfer: data, bubbles: true })
          : new ClipboardEvent(kind, { clipboardData: data, bubbles: true });
        document.querySelector(to).dispatchEvent(event);
    }"""
    with running(below="/x/try") as server, Opened(browser, server.port, "/x/try/") as tab:
        tab.says("#verdict", "not audited")
        tab.page.evaluate(script, ["drop", "#choose"])
        tab.says("#state", "1 image, 1 not read.")
        tab.page.evaluate(script, ["paste", "body"])
        tab.says("#state", "2 images, 2 not read.")


def test_a_key_is_asked_for_and_used(browser: Any, images: list[Path]) -> None:
    with running(door=Door("127.0.0.1", 0, "horse")) as server, Opened(browser, server.port) as tab:
        tab.page.locator("#key").fill("wrong")
        tab.page.keyboard.press("Enter")
        playwright.expect(tab.page.locator("#verdict")).to_be_hidden()
        tab.page.locator("#key").fill("horse")
        tab.page.keyboard.press("Enter")
        tab.says("#verdict", "not audited")
        tab.page.set_input_files("#files", images[0])
        tab.says("#state", "1 image.")


def test_without_javascript_it_says_so(tried: Running, browser: Any) -> None:
    options = ["--no-sandbox", "--blink-settings=scriptEnabled=false"]
    with browser.browser_type.launch(executable_path=CHROMIUM, args=options) as without:
        page = without.new_page()
        page.goto(f"http://127.0.0.1:{tried.port}/")
        playwright.expect(page.locator("noscript p")).to_be_visible()
