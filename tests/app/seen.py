"""A page in a browser that the tests look at: sound in each size and scheme, and photographed.

`MEDGRAFT_PICTURES=DIR` keeps a picture of each step of a walk in every mode.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.opened import Opened

SIZES = {"wide": {"width": 1200, "height": 800}, "narrow": {"width": 375, "height": 740}}
MODES = (("wide", "light"), ("wide", "dark"), ("narrow", "light"), ("narrow", "dark"))


class Seen:
    """One page in a browser; what it logs and asks for is looked at when it closes."""

    def __init__(self, page: Any, server: Opened) -> None:
        self.page, self.server = page, server
        self.wrong: list[str] = []
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        page.on("request", self._asked)

    def _asked(self, request: Any) -> None:
        own = f"http://127.0.0.1:{self.server.key.port}/"
        if not request.url.startswith((own, "data:", "blob:")):
            self.wrong.append(f"asked: {request.url}")

    def step(self, name: str) -> None:
        """What is shown is sound in every mode; a picture of each where they are asked for."""
        for size, scheme in MODES:
            self.page.set_viewport_size(SIZES[size])
            self.page.emulate_media(color_scheme=scheme)
            self.is_sound()
            if folder := os.environ.get("MEDGRAFT_PICTURES"):
                path = Path(folder) / f"{name}-{size}-{scheme}.png"
                self.page.screenshot(path=str(path), full_page=True)
        self.page.set_viewport_size(SIZES["wide"])
        self.page.emulate_media(color_scheme="light")

    def opens(self, words: str) -> Seen:
        """What a link or button opens in another tab."""
        with self.page.context.expect_page() as found:
            self.page.get_by_role("link", name=words).or_(
                self.page.get_by_role("button", name=words)
            ).first.click()
        return Seen(found.value, self.server)

    def dropped(self, path: Path, at: str) -> None:
        """Drop a file or folder of this machine on an element, as a hand does."""
        box = self.page.locator(at).bounding_box()
        assert box is not None
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        driver = self.page.context.new_cdp_session(self.page)
        for kind in ("dragEnter", "dragOver", "drop"):
            driver.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})
        driver.detach()

    def at(self, path: str) -> None:
        self.page.goto(f"http://127.0.0.1:{self.server.key.port}/#{path}")

    def until(self, text: str, seconds: float = 60) -> None:
        self.page.get_by_text(text).first.wait_for(timeout=1000 * seconds)

    def is_sound(self) -> None:
        """No violation that axe knows, nothing wider than the window, nothing wrong so far."""
        axe = pytest.importorskip(
            "axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python"
        )
        found = axe.Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()
        wide = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1]
        assert self.page.evaluate("document.querySelectorAll('[onerror]').length") == 0
        assert self.wrong == []


@contextmanager
def looked(
    browser: Any, server: Opened, size: str = "wide", scheme: str = "light"
) -> Iterator[Seen]:
    """The page opened by its address."""
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme)
    context.set_default_timeout(30_000)
    try:
        page = context.new_page()
        seen = Seen(page, server)
        page.goto(server.key.address)
        page.get_by_role("heading", name="Which images?").wait_for()
        assert "token" not in page.url
        yield seen
    finally:
        context.close()
