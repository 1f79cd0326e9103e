"""Files and folders that are really dropped on the page."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from app.opened import cells, opened
from app.seen import looked
from two_lesions import write_lesions

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
EVIL = "<img src=x onerror=alert(1)>"
MADE = """() => {
    const data = new DataTransfer();
    data.items.add(new File(["path,label\\n"], "labels.csv", { type: "text/csv" }));
    const dropped = new DragEvent("drop", { dataTransfer: data, bubbles: true });
    document.querySelector(".drop").dispatchEvent(dropped);
}"""


@pytest.mark.slow
def test_a_folder_is_dropped_whole(browser: Any, tmp_path: Path):
    folder = cells(tmp_path / "cells")
    (folder / "a" / "a0.png").rename(folder / "a" / f"{EVIL.replace('/', '')}.png")
    (folder / ".DS_Store").write_bytes(b"x")
    with opened(tmp_path / "home", STAND_IN) as server, looked(browser, server) as seen:
        seen.dropped(folder, ".drop")
        seen.until("24 images, read as class/image")
        kept = [one for one in (server.home.data / "cells").rglob("*") if one.is_file()]
        assert len(kept) == 24
        seen.is_sound()


@pytest.mark.slow
def test_several_findings_that_are_dropped_are_checked(browser: Any, tmp_path: Path):
    write_lesions(tmp_path / "chests", 24)
    with opened(tmp_path / "home", STAND_IN) as server, looked(browser, server) as seen:
        seen.dropped(tmp_path / "chests", ".drop")
        seen.until("columns a, b, drain")
        seen.until("Near copies")
        assert seen.page.get_by_text("An hour").count() == 0  # no budget for several
        seen.page.get_by_text("Read it in another way").click()
        seen.page.get_by_label("marked as uncertain").select_option("positive")
        seen.page.get_by_role("button", name="Read it so").click()
        seen.page.wait_for_url(re.compile("uncertain"))
        seen.until("Near copies")
        seen.is_sound()
        (job,) = (one for one in server.app.studies.jobs.all("check") if one.flags)
        assert "--uncertain=positive" in job.words


@pytest.mark.slow
def test_files_that_a_page_made_and_nothing_at_all_are_told(browser: Any, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with opened(tmp_path / "home", STAND_IN) as server, looked(browser, server) as seen:
        seen.dropped(tmp_path / "empty", ".drop")
        seen.until("There is no file in what was dropped")
        assert list(server.home.data.iterdir()) == []
        seen.page.evaluate(MADE)
        seen.until("How it was read")
        assert (server.home.data / "labels" / "labels.csv").is_file()
        assert seen.wrong == []


@pytest.mark.slow
def test_a_second_drop_while_one_is_copied_keeps_both_apart(browser: Any, tmp_path: Path):
    folder = cells(tmp_path / "cells", 3)
    with opened(tmp_path / "home", STAND_IN) as server:
        for name in ("cells", "cells-2"):
            with looked(browser, server) as seen:
                seen.dropped(folder, ".drop")
                seen.until("6 images, read as class/image")
                assert (server.home.data / name).is_dir()
