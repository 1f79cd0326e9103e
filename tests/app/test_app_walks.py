"""From a folder to a report, a new image and a comparison: skin photographs, and DICOM.

Chromium and Playwright are needed (apt install chromium; pip install playwright). With
MEDGRAFT_PICTURES=DIR each step leaves a picture in every mode.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.opened import PROGRAM, Opened, opened
from app.seen import Seen, looked
from dicom_files import data_set, written
from medgraft.data.phantom import write_phantoms

pytestmark = pytest.mark.slow
EACH = 29  # images of a class of skin7
LONGEST = 1800  # seconds that a study may take on a busy machine
PERSON = "DOE^JANE"


def skin(shared: Path, folder: Path) -> Path:
    """A part of skin7 as it is published: two folders of images, and a table."""
    source = shared / "data" / "skin7"
    with (source / "metadata.csv").open(encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    taken: dict[str, int] = {}
    kept = []
    for row in rows:
        taken[row[2]] = taken.get(row[2], 0) + 1
        if taken[row[2]] <= EACH:
            (found,) = source.glob(f"images_part_*/{row[1]}.jpg")
            (folder / found.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(found, folder / found.parent.name)
            kept.append(row)
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *kept])
    return folder


def clinic(folder: Path, plain: Path) -> Path:
    """Made radiographs as DICOM: months, then classes, then files without a suffix."""
    write_phantoms(plain, n_patients=40, seed=0)
    for number, file in enumerate(sorted(plain.rglob("*.png"))):
        pixels = np.asarray(Image.open(file).convert("L"))
        patient = file.stem.split("_")[0]
        ds = data_set(
            pixels, PatientID=patient, PatientName=PERSON, Modality="DX",
            StudyInstanceUID=f"1.2.3.{int(re.sub(r'[^0-9]', '', patient) or 0)}",
        )  # fmt: skip
        place = folder / ("xy"[number % 2]) / ("uv"[file.parent.name == "lesion"])
        place.mkdir(parents=True, exist_ok=True)
        (place / f"IM{number:04d}").write_bytes(written(ds))
    return folder


def choose(seen: Seen, folder: Path) -> None:
    """Through the dialog, from the folder above."""
    page = seen.page
    page.evaluate(f"sessionStorage.setItem('folder', '{folder.parent}')")
    page.get_by_role("button", name="Choose a folder or table").click()
    page.get_by_role("button", name=folder.name, exact=True).click()
    page.get_by_text(re.compile("folders")).first.wait_for()
    seen.step("2-choose")
    page.get_by_role("button", name=re.compile("^Use “")).click()


def study(seen: Seen) -> None:
    """Wait for the check, begin, look on, and see the end."""
    page = seen.page
    page.get_by_role("link", name="All of it, with the pictures").wait_for(timeout=1000 * LONGEST)
    seen.step("4-checked")
    page.get_by_role("button", name="Start the study").click()
    page.locator(".scenarios li").first.wait_for(state="attached", timeout=1000 * LONGEST)
    seen.step("5-under-way")
    page.get_by_role("link", name="Read the report").wait_for(timeout=1000 * LONGEST)
    seen.until("on the test images, which chose nothing")
    seen.step("6-finished")
    report = seen.opens("Read the report")
    report.page.get_by_role("heading", level=1).first.wait_for()
    assert report.wrong == []
    report.page.close()


def look(page: Any) -> None:
    """Show the heatmap; a machine that is busy may refuse the first time, and says so."""
    for _ in range(5):
        page.keyboard.press("h")
        page.wait_for_function(
            "() => !document.querySelector('#sliders').hidden"
            " || document.querySelector('#heat-words').textContent.includes('What helps')",
            timeout=180_000,
        )  # fmt: skip
        if page.locator("#sliders").is_visible():
            return
        page.keyboard.press("h")
    raise AssertionError(page.locator("#heat-words").inner_text())


def tried(seen: Seen, images: Sequence[Path], saved: Path) -> list[list[str]]:
    """Drop images on *Try it*, look where it looks, judge them, and take the table along."""
    tab = seen.opens("Try it on new images")
    page = tab.page
    page.locator("#verdict-word:visible").wait_for(timeout=180_000)
    tab.step("7-try-it")
    for image in images:
        tab.dropped(image, "#choose")
    page.get_by_text(re.compile(rf"^{len(images)} images")).first.wait_for(timeout=180_000)
    page.wait_for_function("n => [...document.querySelectorAll('#list .answer')]"
                           ".filter(e => e.textContent !== 'waits').length === n",
                           arg=len(images), timeout=180_000)  # fmt: skip
    tab.step("8-answered")
    if page.locator("#unlike").is_visible():  # its answer is folded away, and no key confirms it
        assert not page.locator("#words").is_visible()
        page.keyboard.press("j")
        page.locator("#words:visible").wait_for()
    look(page)
    before = page.locator("#heat").evaluate("one => one.toDataURL()")
    page.locator("#depth").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("was => document.querySelector('#heat').toDataURL() !== was", arg=before)
    page.locator("#opacity").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#heat").evaluate("one => one.style.opacity") == "0.65"
    assert page.locator("#words").inner_text()
    tab.step("9-where-it-looks")
    page.wait_for_timeout(450)
    page.keyboard.press("y")
    tab.until("You confirmed")
    page.wait_for_timeout(450)  # an image has to have been looked at
    page.keyboard.press("1")
    page.wait_for_timeout(450)  # an image has to have been looked at
    page.keyboard.press("x")
    tab.step("10-judged")
    with page.expect_download() as found:
        page.locator("#save-decided").click()
    found.value.save_as(saved)
    with page.expect_download() as found:
        page.locator("#save-said").click()
    found.value.save_as(saved.with_name(f"said-{saved.name}"))
    unsaved = [one for one in tab.wrong if not one.startswith("dialog: ")]
    assert unsaved == []
    page.close()
    with saved.open(encoding="utf-8") as file:
        return list(csv.reader(file))


def compared(seen: Seen, server: Opened, run: str) -> None:
    """Beside a second run: a copy that somebody put there."""
    shutil.copytree(server.home.runs / run, server.home.runs / f"{run} of yesterday")
    page = seen.page
    seen.at("/")
    page.get_by_label("Compare").first.check()
    page.get_by_label("Compare").nth(1).check()
    seen.step("11-runs")
    both = seen.opens("Compare the two")
    both.page.get_by_role("heading", level=1).wait_for()
    both.page.close()


def test_skin_photographs_with_a_table(browser: Any, shared: Path, tmp_path: Path):
    folder = skin(shared, tmp_path / "skin")
    with opened(tmp_path / "home", PROGRAM) as server, looked(browser, server) as seen:
        seen.step("1-start")
        choose(seen, folder)
        seen.until("metadata.csv gives the labels: column dx")
        seen.step("3-read")
        study(seen)
        noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / "=noise.png")
        images = [*sorted(folder.glob("images_part_1/*.jpg"))[:3], tmp_path / "=noise.png"]
        rows = tried(seen, images, tmp_path / "o.csv")
        assert rows[0] == ["path", "action", "value", "why"]
        assert len(rows) == 4
        said = (tmp_path / "said-o.csv").read_text(encoding="utf-8").splitlines()
        assert any(line.startswith("'=noise.png,") for line in said)
        compared(seen, server, "skin")
        assert seen.wrong == []


def test_dicom_with_a_question_and_no_names(browser: Any, tmp_path: Path):
    folder = clinic(tmp_path / "clinic", tmp_path / "plain")
    with opened(tmp_path / "home", PROGRAM) as server, looked(browser, server) as seen:
        choose(seen, folder)
        seen.until("Which is right?")
        seen.step("3-question")
        seen.page.get_by_role("button", name=re.compile("then the class, then the images")).click()
        seen.until("From the outermost")
        seen.step("3-read")
        study(seen)
        assert "DOE" not in seen.page.content()
        images = sorted(folder.glob("x/*/IM*"))[:4]
        rows = tried(seen, images, tmp_path / "o.csv")
        assert all(not row[0].startswith("IM") for row in rows[1:])
        compared(seen, server, "dicom")
        assert seen.wrong == []
    for file in (tmp_path / "home" / "runs").rglob("*"):
        assert not (file.is_file() and PERSON.encode() in file.read_bytes()), file
