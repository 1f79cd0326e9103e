"""The page itself: what it is made of, and what a person meets in a browser."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.opened import PROGRAM, Opened, cells, images, opened
from app.seen import looked
from app.test_app_studies import begin, told
from medgraft.app.server import PAGES

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
EVIL = "<img src=x onerror=alert(1)>"


def test_the_page_makes_elements_of_text_alone_and_asks_nobody_else():
    for file in PAGES.iterdir():
        text = file.read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "style=", "<script>"):
            assert word not in text, (file.name, word)
        assert not re.search(r"(https?|wss?):|url\(|['\"`(]//", text), file.name


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Opened]:
    with opened(tmp_path / "home", STAND_IN) as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize(("size", "scheme"), [("wide", "light"), ("narrow", "dark")])
def test_every_view_is_sound(browser: Any, server: Opened, tmp_path: Path, size: str, scheme: str):
    odd = images(
        tmp_path / EVIL,
        *(f"{label}/{k}.png" for label in (EVIL, "b") for k in range(12)),
    )
    layers = images(
        tmp_path / "d",
        *(f"{o}/{c}/{p}_{i}.png" for o in "xy" for c in "uv" for p in "PQ" for i in (1, 2)),
    )
    with looked(browser, server, size, scheme) as seen:
        seen.until("None yet")
        seen.is_sound()
        seen.page.get_by_role("button", name="Choose a folder or table").click()
        seen.page.get_by_role("button", name=re.compile("^Use “")).wait_for()
        seen.is_sound()
        seen.page.keyboard.press("Escape")
        seen.at(f"/data?data={odd}")
        seen.until("12 images")
        seen.until("Near copies")
        seen.is_sound()
        seen.at(f"/data?data={layers}")
        seen.until("Which is right?")
        seen.page.get_by_text("Read it in another way").click()
        seen.is_sound()
        seen.at(f"/data?data={tmp_path / 'gone'}")
        seen.until("There is nothing at")
        seen.is_sound()
        seen.at(f"/data?data={cells(tmp_path / 'waits')}")
        seen.page.get_by_role("button", name="Start the study").click()
        seen.until("1 scenario judged")
        seen.is_sound()
        seen.page.get_by_role("button", name="Stop").click()
        seen.until("was stopped")
        seen.is_sound()
        seen.at("/study/nowhere")
        seen.until("no such run")
        seen.is_sound()


@pytest.mark.slow
def test_all_of_it_by_the_keyboard(browser: Any, server: Opened, tmp_path: Path):
    cells(tmp_path / "all" / "waits")
    with looked(browser, server) as seen:
        page = seen.page

        def tab_to(name: str) -> None:
            for _ in range(60):
                page.keyboard.press("Tab")
                here = page.evaluate(
                    "document.activeElement.innerText || document.activeElement.id"
                )
                if name in here:
                    return
            raise AssertionError(f"no way by Tab to {name!r}")

        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.innerText") == "Skip to the content"
        page.evaluate(f"sessionStorage.setItem('folder', '{tmp_path / 'all'}')")
        tab_to("Choose a folder")
        page.keyboard.press("Enter")
        page.locator("button.entry:focus", has_text="waits").wait_for()
        page.keyboard.press("Enter")
        page.locator("button.entry:focus", has_text=re.compile("^a$")).wait_for()
        tab_to("Use “")
        page.keyboard.press("Enter")
        seen.until("12 images")
        tab_to("budget-0")
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.id") == "budget-60"
        tab_to("Start the study")
        page.keyboard.press("Enter")
        seen.until("1 scenario judged")
        assert "being studied, 1 scenario judged" in page.locator("#say").inner_text()
        tab_to("Stop, and report")
        page.keyboard.press("Enter")
        seen.until("was stopped")
        assert seen.wrong == []


@pytest.mark.slow
def test_reloaded_and_opened_twice_in_the_middle_of_a_study(
    browser: Any, server: Opened, tmp_path: Path
):
    with looked(browser, server) as one, looked(browser, server) as other:
        one.at(f"/data?data={cells(tmp_path / 'waits')}")
        one.page.get_by_role("button", name="Start the study").click()
        one.until("1 scenario judged")
        one.page.reload()
        one.until("1 scenario judged")
        other.at("/")
        other.page.get_by_role("link", name="waits").click()
        other.until("1 scenario judged")
        other.page.get_by_role("button", name="Stop").click()
        one.until("was stopped")
        one.page.get_by_role("button", name="Go on").click()
        assert [*one.wrong, *other.wrong] == []


@pytest.mark.slow
def test_it_asks_before_a_second_study_before_it_ends_and_before_it_deletes(
    browser: Any, server: Opened, tmp_path: Path
):
    data = cells(server.home.data / "waits")
    with looked(browser, server) as seen:
        page = seen.page
        seen.at(f"/data?data={data}")
        seen.until("The audit of what decides will stay undecided: a has 12 images in all")
        page.get_by_role("button", name="Start the study").click()
        seen.until("Step 1 of 8: reading the images")
        seen.at(f"/data?data={data}")
        page.get_by_role("button", name="Start the study").click()
        seen.until("Already running: waits")
        page.get_by_role("button", name="Quit medgraft").click()
        seen.until("Quit while a study runs?")
        seen.is_sound()
        page.keyboard.press("Escape")
        page.get_by_role("link", name="Show it").click()
        page.get_by_role("button", name="Stop").click()
        seen.until("was stopped")
        page.get_by_role("button", name="Delete this study").click()
        page.get_by_role("button", name="Keep it").click()
        assert data.is_dir()
        page.get_by_role("button", name="Delete this study").click()
        seen.until(str(data))
        seen.is_sound()
        page.get_by_role("button", name="Delete it").click()
        seen.until("None yet")
        assert not data.exists()
        page.get_by_role("button", name="Quit medgraft").click()  # nothing runs: not asked
        seen.until("medgraft has ended")
        assert seen.wrong == []


@pytest.mark.slow
def test_corrections_that_were_saved_are_read_by_a_button(
    browser: Any, server: Opened, tmp_path: Path
):
    id = begin(server, tmp_path / "cells")
    told(server, id, "stopped")
    run = server.home.runs / "cells"
    finished = {**server.app.studies.told(id), "state": "finished", "model": True, "files": []}
    server.app.studies.told = lambda _: finished  # type: ignore[method-assign]
    table = tmp_path / "corrections.csv"
    table.write_text("path,action,value,why\na/a0.png,exclude,,blurred\n", encoding="utf-8")
    with looked(browser, server) as seen:
        seen.at(f"/study/{id}")
        seen.until("Use these corrections")
        seen.page.set_input_files("#corrections", table)
        seen.until("23 images. From the outermost")
        seen.until("excluded by corrections.csv: blurred")
        assert run.is_dir()
        assert seen.wrong == []


@pytest.mark.slow
def test_what_the_check_cannot_read_is_named_and_no_fault_is_logged(
    browser: Any, server: Opened, tmp_path: Path
):
    folder = cells(tmp_path / "unreadable")
    for name in ("a0.png", "a3.png"):
        content = (folder / "a" / name).read_bytes()
        (folder / "a" / name).write_bytes(content[: len(content) // 4])
    with looked(browser, server) as seen:
        logged: list[str] = []
        seen.page.on("console", lambda message: logged.append(message.text))
        seen.at(f"/data?data={folder}")
        seen.until("23 images. From the outermost")  # the stand-in names one of the two
        seen.until("it is cut short")
        seen.page.get_by_text("cannot be read", exact=True).wait_for()
        pictures = seen.page.locator(".classes img").evaluate_all("all => all.map(one => one.src)")
        assert all(one.endswith("?of=23") for one in pictures)  # rows are others than before
        assert logged == []


@pytest.mark.slow
def test_columns_that_disagree_are_told_apart_on_their_buttons(
    browser: Any, server: Opened, tmp_path: Path
):
    names = [f"{k}.png" for k in range(20)]
    folder = images(tmp_path / "data", *(f"photos/{name}" for name in names))
    rows = [f"{name},{'ab'[k % 2]},{'ab'[k % 2 if k > 2 else 0]}" for k, name in enumerate(names)]
    text = "\n".join(["file,diagnosis,histology", *rows, ""])
    (folder / "list.csv").write_text(text, encoding="utf-8")
    with looked(browser, server) as seen:
        seen.at(f"/data?data={folder}")
        for column in ("diagnosis", "histology"):
            seen.until(f"the column {column}")
        assert "pass one" not in seen.page.inner_text("main")
        seen.page.get_by_text("the column histology").click()
        seen.until("20 images")
        assert seen.wrong == []


@pytest.mark.slow
def test_a_folder_is_copied_from_the_browser(browser: Any, server: Opened, tmp_path: Path):
    folder = cells(tmp_path / "dropped")
    with looked(browser, server) as seen:
        seen.page.set_input_files("#folder", folder)
        seen.until("24 images. From the outermost")
        assert len(list((server.home.data / "dropped").glob("*/*.png"))) == 24
        shutil.rmtree(server.home.data / "dropped")  # vanished
        seen.page.get_by_role("button", name="Read it anew").click()
        seen.until("There is nothing at")
        assert seen.wrong == []


@pytest.mark.slow
def test_who_has_no_javascript_is_told(browser: Any, server: Opened):
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(server.key.address)
        page.get_by_role("heading", name="This page needs JavaScript").wait_for()
        assert "token" not in page.url
    finally:
        context.close()


@pytest.mark.slow
def test_from_a_folder_to_a_report_and_a_new_image(browser: Any, shared: Path, tmp_path: Path):
    """The whole of it on real cells, with the real command."""
    folder = tmp_path / "cells"
    for name in ("lung_aca", "lung_n"):
        files = sorted((shared / "data" / "lc25000_lung_unique" / "train" / name).iterdir())[:40]
        (folder / name).mkdir(parents=True)
        for file in files:
            shutil.copy(file, folder / name / file.name)
    with opened(tmp_path / "home", PROGRAM) as server, looked(browser, server) as seen:
        began = time.monotonic()
        page = seen.page
        page.fill("#path", str(folder))
        page.keyboard.press("Enter")
        seen.until("80 images. From the outermost")
        page.get_by_role("button", name="Start the study").click()
        page.get_by_role("link", name="Read the report").wait_for(timeout=600_000)
        seen.until("on the test images, which chose nothing")
        seen.is_sound()
        with page.context.expect_page() as report:
            page.get_by_role("link", name="Read the report").click()
        report.value.get_by_role("heading", level=1).first.wait_for()
        with page.context.expect_page() as tried:
            page.get_by_role("link", name="Try it on new images").click()
        new = tried.value.locator("input[type=file]").first
        new.wait_for(state="attached", timeout=120_000)
        new.set_input_files(sorted((folder / "lung_n").iterdir())[:3])
        said = tried.value.locator("#list .answer").filter(has_text="lung_n")
        said.first.wait_for(timeout=60_000)  # any: one of them may be unlike what was learned
        assert time.monotonic() - began < 900
