"""Pictures of `medgraft app` for the documentation, on the demo's made radiographs.

Needs Chromium and Playwright; takes ten minutes. Writes docs/pictures/page-*.png.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from medgraft.data.phantom import write_phantoms

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
WIDE: Any = {"width": 1000, "height": 700}
NARROW: Any = {"width": 375, "height": 700}
MINUTES = "20"  # of the study
LONGEST = 1_800_000  # milliseconds that are waited for anything
COLOURS = 128  # of a picture: enough for the page, and a third of the bytes


@contextmanager
def page_of(home: Path) -> Iterator[str]:
    """A server of its own; its address."""
    command = [sys.executable, "-m", "medgraft.cli", "app", "--no-browser", "--home", str(home)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        server.terminate()
        server.wait()


def taken(page: Any, name: str, *, whole: bool = False) -> None:
    """What the window shows, or all of the page."""
    path = PICTURES / f"page-{name}.png"
    page.screenshot(path=str(path), full_page=whole)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def walk(page: Any, address: str, data: Path) -> None:
    """From the first view to the last, with a picture of each."""
    page.goto(address)
    page.get_by_text("None yet").wait_for()
    page.fill("#path", str(data))
    page.keyboard.press("Enter")
    page.get_by_role("link", name="All of it, with the pictures").wait_for(timeout=LONGEST)
    page.wait_for_timeout(1000)
    taken(page, "data", whole=True)
    page.get_by_label("My own time").check()
    page.fill("#minutes", MINUTES)
    page.get_by_role("button", name="Start the study").click()
    page.locator(".scenarios li").nth(3).wait_for(state="attached", timeout=LONGEST)
    taken(page, "study")
    page.get_by_role("link", name="Read the report").wait_for(timeout=LONGEST)
    page.wait_for_timeout(1000)
    taken(page, "finished")
    with page.context.expect_page() as found:
        page.get_by_role("link", name="Try it on new images").click()
    try_it(found.value, data)
    page.get_by_role("link", name="medgraft").click()
    page.locator(".runs").wait_for()
    page.evaluate("document.activeElement.blur()")
    taken(page, "start")


def try_it(page: Any, data: Path) -> None:
    """Six images, and where the model looks in the first."""
    page.locator("#verdict-word:visible").wait_for(timeout=LONGEST)
    images = [sorted((data / name).iterdir())[k] for name in ("lesion", "normal") for k in range(3)]
    page.set_input_files("#files", images)
    said = page.locator("#state", has_text=re.compile(r"^6 images[,.]"))
    said.wait_for(timeout=LONGEST)
    page.keyboard.press("h")
    page.locator("#heat:visible").wait_for(timeout=LONGEST)
    page.mouse.move(0, 0)
    taken(page, "try", whole=True)


def main() -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    folder = Path(tempfile.gettempdir()) / "anna"  # it is seen in the pictures
    folder.mkdir()
    with page_of(folder / "medgraft") as address, sync_playwright() as driver:
        data = folder / "radiographs"
        write_phantoms(data, n_patients=160, seed=0)
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(viewport=WIDE).new_page()
        walk(page, address, data)
        dark = browser.new_context(viewport=NARROW, color_scheme="dark", device_scale_factor=2)
        phone = dark.new_page()
        phone.goto(address)
        phone.locator(".runs a").first.click()
        phone.locator(".facts").first.wait_for()
        taken(phone, "phone")
        browser.close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
