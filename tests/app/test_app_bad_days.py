"""What goes wrong around the page: too many files, pages closed, folders gone, other users."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.opened import PROGRAM, Opened, cells, opened
from app.seen import looked
from app.test_app_reading import batch
from app.test_app_studies import begin, told

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
EVIL = "<img src=x onerror=alert(1)>"
NOBODY = 65534  # the usual number of a user without rights


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Opened]:
    with opened(tmp_path / "home", STAND_IN) as found:
        yield found


@pytest.mark.slow
def test_fifty_thousand_files_are_dropped(server: Opened):
    n, each = 50_000, 250
    asked = {"name": "many", "files": n, "bytes": n}
    id = server.post("/api/uploads", asked).json["id"]
    for first in range(0, n, each):
        files = [(f"many/{k % 9}/{k}.png", b"x") for k in range(first, first + each)]
        sent = server.ask("POST", f"/api/uploads/{id}", batch(*files))
    assert sent.json["files"] == n
    folder = Path(server.post(f"/api/uploads/{id}/end").json["data"])
    assert sum(1 for one in folder.rglob("*") if one.is_file()) == n
    found = server.get(f"/api/folders?path={folder / '0'}").json
    assert found["pictures"] == 5556
    asked["files"] = 100_001
    assert "choose the folder instead" in server.post("/api/uploads", asked).error


@pytest.mark.slow
def test_a_folder_that_vanished_before_its_study_is_told(tmp_path: Path):
    with opened(tmp_path / "home", PROGRAM) as page:
        read = page.read(cells(tmp_path / "cells"))
        shutil.rmtree(tmp_path / "cells")
        id = page.post("/api/studies", {"reading": read["id"], "minutes": 0}).json["id"]
        failed = told(page, id, "failed")
        assert str(tmp_path / "cells") in failed["error"]
        assert "Traceback" not in failed["error"]
        assert failed["resumable"]  # for the folder may come back


def test_a_check_that_did_not_work_is_begun_again(server: Opened, tmp_path: Path):
    read = server.read(cells(tmp_path / "fails"))
    path = f"/api/readings/{read['id']}/check"
    failed = server.until(lambda: server.post(path).json, lambda one: one["state"] != "running")
    assert failed["state"] == "failed"
    assert server.post(path).json["state"] == "failed"
    assert server.post(path, {"again": True}).json["state"] == "running"


@pytest.mark.slow
def test_a_page_that_is_closed_ends_no_study(browser: Any, server: Opened, tmp_path: Path):
    with looked(browser, server) as seen:
        seen.at(f"/data?data={cells(tmp_path / 'waits')}")
        seen.page.get_by_role("button", name="Start the study").click()
        seen.until("1 scenario judged")
    with looked(browser, server) as seen:
        seen.page.get_by_text("running", exact=True).wait_for()
        seen.page.get_by_role("link", name="waits").click()
        seen.until("1 scenario judged")
        seen.page.get_by_role("button", name="Stop").click()
        seen.until("was stopped")
        assert seen.wrong == []


@pytest.mark.slow
def test_a_run_whose_folder_has_markup_for_a_name(browser: Any, server: Opened, tmp_path: Path):
    id = begin(server, tmp_path / "cells")
    run = server.home.runs / "cells"
    server.until(lambda: server.get(f"/api/studies/{id}").json["state"], lambda s: s != "running")
    for name in (EVIL, f"{EVIL} 2"):
        shutil.copytree(run, server.home.runs / name)
    with looked(browser, server) as seen:
        seen.page.get_by_role("link", name=EVIL, exact=True).click()
        seen.until("was stopped")
        seen.is_sound()
        seen.at("/")
        seen.until(f"{EVIL} 2")
        seen.is_sound()


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="becomes another user: needs root"
)
def test_another_user_of_the_machine_gets_nothing(server: Opened, request: pytest.FixtureRequest):
    from medgraft.app import run

    file = server.home.folder / run.OPEN_FILE
    run._write_private(file, run._leading_to(server.key.address))
    modes = {folder: folder.stat().st_mode for folder in server.home.folder.parents}
    for folder, mode in modes.items():
        if mode & 0o007 != 0o007 and folder != Path("/"):
            folder.chmod(mode | 0o005)  # so that the home's own mode decides
            request.addfinalizer(partial(folder.chmod, mode))
    code = (
        "import http.client, pathlib\n"
        f"for path in ({str(file)!r}, {str(server.home.runs)!r}):\n"
        "    try: list(pathlib.Path(path).iterdir()), print('seen')\n"
        "    except PermissionError: print('refused')\n"
        f"asked = http.client.HTTPConnection('127.0.0.1', {server.key.port})\n"
        "asked.request('GET', '/api/runs'); print(asked.getresponse().status)\n"
        "own = pathlib.Path('/proc').glob('[0-9]*/cmdline')\n"
        f"print(any({server.key.token!r}.encode() in one.read_bytes() for one in own))\n"
    )
    # Given by standard input: its own command line would hold the token.
    done = subprocess.run(
        [shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable, "-I", "-"],
        input=code, capture_output=True, text=True, user=NOBODY, group=NOBODY, cwd="/", check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["refused", "refused", "401", "False"]
