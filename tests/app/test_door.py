"""Who gets in: the one with the address, from this page; nobody else, whatever they ask."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from opened import Opened

from medgraft.app.door import Guard, Key


def test_the_token_becomes_a_cookie_and_leaves_the_address(page: Opened):
    entered = page.get(f"/?token={page.key.token}", Cookie=None, Origin=None)
    assert entered.status == 200
    assert b'content="0; url=/"' in entered.body
    assert page.key.token.encode() not in entered.body
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert page.get("/", Cookie=cookie.partition(";")[0]).body.startswith(b"<!doctype html>")


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/api/state", "/runs/x/try/"])
@pytest.mark.parametrize("cookie", [None, "medgraft-1=x", "garbled; =;"])
def test_a_stranger_gets_nothing(page: Opened, path: str, cookie: str | None):
    for method in ("GET", "POST"):
        assert page.ask(method, path, Cookie=cookie).status == 401
    assert page.get("/?token=guessed", Cookie=cookie).status == 401


def test_another_name_for_this_machine_gets_nothing(page: Opened):
    for host in ("evil.example", f"evil.example:{page.key.port}", "127.0.0.1", "127.0.0.1:1"):
        assert page.get("/api/state", Host=host).status == 421
    assert page.get("/api/state", Host=f"localhost:{page.key.port}").status == 200


@pytest.mark.parametrize("origin", [None, "null", "http://127.0.0.1:1", "https://evil.example"])
def test_another_page_in_the_same_browser_changes_nothing(page: Opened, origin: str | None):
    for path in ("/api/readings", "/api/leave", "/runs/x/try/v1/predict"):
        assert page.post(path, Origin=origin).status == 403
    for site in ("cross-site", "same-site"):
        assert page.get("/api/runs", Sec_Fetch_Site=site).status == 403


def test_every_answer_has_a_policy_that_forbids_other_sources(page: Opened):
    for path in ("/", "/api/state", "/nowhere", "/api/studies/x"):
        headers = page.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"


def test_secrets_are_no_part_of_what_is_shown():
    key = Key(1)
    assert key.token not in repr(key)
    assert key.cookie not in repr(key)
    assert Guard is not None


def test_a_second_start_finds_the_first_and_its_file_is_private(page: Opened, tmp_path):
    from medgraft.app import run

    file = tmp_path / run.OPEN_FILE
    run._write_private(file, run._leading_to(page.key.address))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run._running(file) == page.key.address
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    text = file.read_text(encoding="utf-8").replace(f'"pid": {os.getpid()}', f'"pid": {gone.pid}')
    file.write_text(text, encoding="utf-8")
    assert run._running(file) == ""
