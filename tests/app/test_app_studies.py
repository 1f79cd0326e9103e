"""Studies that the page starts: processes of their own, watched, ended, gone on with."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.opened import PROGRAM, Opened, cells, opened
from dicom_files import data_set, written
from medgraft.app.run_state import each_finding

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Opened]:
    with opened(tmp_path / "home", STAND_IN) as found:
        yield found


def begin(page: Opened, data: Path, minutes: int = 0, *, beside: bool = False) -> str:
    read = page.read(cells(data))
    content = {"reading": read["id"], "minutes": minutes, "beside": beside}
    asked = page.post("/api/studies", content)
    assert asked.status == 200, asked.body
    return str(asked.json["id"])


def judging(page: Opened, id: str) -> None:
    """Wait until it has judged something: before that it may not hear that it is stopped."""
    page.until(lambda: page.get(f"/api/studies/{id}").json, lambda one: one["scenarios"])


def told(page: Opened, id: str, state: str):
    return page.until(
        lambda: page.get(f"/api/studies/{id}").json, lambda one: one["state"] == state
    )


def test_a_study_is_watched_stopped_and_gone_on_with(page: Opened, tmp_path):
    id = begin(page, tmp_path / "waits", 60)
    judging(page, id)
    found = page.get(f"/api/studies/{id}").json
    assert found["state"] == "running"
    assert found["budget"] == "60m"
    assert found["step"] == {"number": 1, "of": 10, "words": "timing a few images"}
    assert found["scenarios"][0]["name"] == "blocks.6 · svm (tf_efficientnet_lite0)"
    (task,) = found["tasks"]
    assert 9 < task["left"] < 30  # two of four in ten seconds
    assert [one["state"] for one in page.get("/api/runs").json["runs"]] == ["running"]
    page.post(f"/api/studies/{id}/stop")
    assert told(page, id, "stopped")["resumable"]
    page.post(f"/api/studies/{id}/resume")
    page.post(f"/api/studies/{id}/resume")  # a second page: nothing is begun twice
    job = page.app.studies.jobs.get(id)
    assert job.words[-1] == "--resume"
    assert f"--out={page.home.runs / 'waits'}" in job.words
    assert page.post("/api/studies/nowhere/stop").status == 404


def test_a_study_goes_on_when_the_server_ends_and_a_new_one_finds_it(tmp_path):
    with opened(tmp_path / "home", STAND_IN) as page:
        id = begin(page, tmp_path / "waits")
        judging(page, id)
        pid = page.app.studies.jobs.get(id).pid
        mine = page.app.studies.jobs._mine.pop(id)  # as of a server that is gone
    assert mine.poll() is None
    assert os.getsid(pid) == pid  # the terminal's Ctrl-C, and its end, do not reach it
    with opened(tmp_path / "home", STAND_IN) as page:
        assert told(page, id, "running")["tasks"]
        os.kill(pid, 0)
        page.post(f"/api/studies/{id}/stop")
        mine.wait(20)
        assert told(page, id, "stopped")["error"] == ""


def test_what_stops_a_study_is_told_in_its_own_words(page: Opened, tmp_path):
    id = begin(page, tmp_path / "fails")
    assert told(page, id, "failed")["error"] == "class a has 1 patient; 2 are needed; add images"
    assert page.get("/api/runs").json["runs"][0]["state"] == "failed"


def test_a_second_study_of_the_same_data_has_a_folder_of_its_own(page: Opened, tmp_path):
    first = begin(page, tmp_path / "waits")
    read = page.read(tmp_path / "waits", {"no_groups": True})
    asked = page.post("/api/studies", {"reading": read["id"], "minutes": 60})
    assert asked.json == {"running": {"id": first, "name": "waits"}}  # nothing was begun
    second = begin(page, tmp_path / "waits", beside=True)
    assert first != second
    names = {page.get(f"/api/studies/{id}").json["name"] for id in (first, second)}
    assert names == {"waits", "waits-2"}
    for id in (first, second):
        page.post(f"/api/studies/{id}/stop")
        told(page, id, "stopped")


def test_nobody_of_dicom_gives_a_study_its_name(page: Opened, tmp_path):
    folder = tmp_path / "DOE_JANE"
    for k in range(24):
        pixels = np.full((16, 16), 10 * k, np.uint8)
        (folder / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        content = written(data_set(pixels, PatientID=f"P{k}", PatientName="DOE^JANE"))
        (folder / "ab"[k % 2] / f"DOE{k}").write_bytes(content)
    read = page.read(folder)
    assert read["state"] == "read", read
    assert "DOE" not in json.dumps(read["found"])
    id = page.post("/api/studies", {"reading": read["id"], "minutes": 0}).json["id"]
    assert page.get(f"/api/studies/{id}").json["name"] == "dicom"


def test_the_check_is_begun_once_and_ends_when_a_study_begins(page: Opened, tmp_path):
    read = page.read(cells(tmp_path / "data"))
    path = f"/api/readings/{read['id']}/check"
    done = page.until(lambda: page.post(path).json, lambda one: one["state"] != "running")
    assert [one["title"] for one in done["findings"]] == ["Near copies"]
    job = page.app.studies.jobs.all("check")[0]
    page.post(path)
    assert page.app.studies.jobs.all("check") == [job]
    waits = page.read(cells(tmp_path / "waits", 11))
    path = f"/api/readings/{waits['id']}/check"
    assert page.post(path).json["state"] == "running"
    time.sleep(0.2)
    begin(page, tmp_path / "waits-too", 30)
    stopped = page.until(lambda: page.post(path).json, lambda one: one["state"] != "running")
    assert stopped["state"] in ("stopped", "done")
    for job in page.app.studies.jobs.all("study"):
        page.app.studies.jobs.stop(job)


def test_of_several_findings_one_study_is_listed_and_leads_to_each(page: Opened, tmp_path):
    id = begin(page, tmp_path / "cells")
    run = page.home.runs / "cells"
    page.until(lambda: page.get(f"/api/studies/{id}").json["state"], lambda s: s != "running")
    for name in "ab":
        shutil.copytree(run, run / "findings" / name, ignore=lambda *_: ["findings"])
        (run / "findings" / name / "report.html").write_text("<h1>x</h1>")
    assert [one["name"] for one in page.get("/api/runs").json["runs"]] == ["cells"]
    found = each_finding(run, page.home)
    assert [one["name"] for one in found] == ["a", "b"]
    report = page.get(f"/runs/{found[0]['id']}/files/report.html")
    assert report.status == 200


@pytest.mark.parametrize("minutes", [-1, 10_081, "60", True, None])
def test_a_budget_that_is_none_is_refused(page: Opened, tmp_path, minutes):
    read = page.read(cells(tmp_path / "data"))
    asked = page.post("/api/studies", {"reading": read["id"], "minutes": minutes})
    assert asked.status == 400
    assert list(page.home.jobs.iterdir()) == []


def test_only_pages_and_texts_of_a_run_are_shown_and_in_a_box(page: Opened, tmp_path):
    id = begin(page, tmp_path / "data")
    run = page.home.runs / "data"
    page.until(lambda: (run / "config.json").is_file(), bool)
    (run / "report.html").write_text("<script>1</script>")
    (run / "model").mkdir()
    (run / "model" / "x.safetensors").write_bytes(b"1")
    (run / "out.html").symlink_to(tmp_path / "secret.html")
    (tmp_path / "secret.html").write_text("secret")
    report = page.get(f"/runs/{id}/files/report.html")
    assert report.headers["content-security-policy"].startswith(
        "sandbox allow-scripts allow-popups;"
    )
    assert "connect-src" not in report.headers["content-security-policy"]  # default-src is 'none'
    for path in (
        "model/x.safetensors",
        "../data/run.jsonl",
        "run.jsonl",
        "out.html",
        "%2e%2e/x.json",
    ):
        assert page.get(f"/runs/{id}/files/{path}").status == 404, path
    assert page.get("/runs/nowhere/files/report.html").status == 404
    assert page.get("/checks/check-..%2f..%2fx/data.html").status == 404


def test_a_model_that_cannot_be_tried_says_why(page: Opened, tmp_path):
    id = begin(page, tmp_path / "data")
    page.until(lambda: (page.home.runs / "data" / "config.json").is_file(), bool)
    path = f"/runs/{id}/try/"
    said = page.until(lambda: page.get(path), lambda one: b"being loaded" not in one.body)
    assert said.status == 400
    assert b"cannot be tried" in said.body
    assert b"data" in said.body
    assert page.get(f"/runs/{id}/try").headers["location"] == path
    assert page.post(f"{path}v1/predict").status == 400


@pytest.mark.slow
def test_a_real_study_from_the_page_is_tried_and_compared(tmp_path):
    with opened(tmp_path / "home", PROGRAM) as page:
        ids = [begin(page, tmp_path / name) for name in ("first", "second")]
        for id in ids:
            done = page.until(
                lambda id=id: page.get(f"/api/studies/{id}").json,
                lambda one: one["state"] != "running",
                300,
            )
            assert done["state"] == "finished", done
        assert b"<h1" in page.get(f"/runs/{ids[0]}/files/report.html").body
        assert b"being loaded" in page.get(f"/runs/{ids[0]}/try/").body
        page.get(f"/runs/{ids[0]}/try/health")  # comes when it is
        tried = page.get(f"/runs/{ids[0]}/try/")
        assert b"being loaded" not in tried.body
        assert tried.headers["content-security-policy"].startswith("default-src 'none'")
        picture = next((tmp_path / "first" / "b").iterdir()).read_bytes()
        body = (b'--x\r\nContent-Disposition: form-data; name="files"; filename="i"\r\n\r\n'
                + picture + b"\r\n--x--\r\n")  # fmt: skip
        answer = page.ask("POST", f"/runs/{ids[0]}/try/v1/predict", body,
                          Content_Type="multipart/form-data; boundary=x")  # fmt: skip
        assert answer.json["images"][0]["label"] in ("a", "b")
        assert page.get(f"/runs/{ids[1]}/try/health").json == {"status": "ok"}
        compared = page.get(f"/compare?a={ids[0]}&b={ids[1]}")
        assert b"<h1" in compared.body
