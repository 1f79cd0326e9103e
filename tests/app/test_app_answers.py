"""What the page answers where a person would be stopped or misled: in its own words, by buttons."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.opened import Opened, cells, images, opened
from app.test_app_reading import batch
from app.test_app_studies import begin, judging, told
from medgraft.app import folders
from medgraft.app.jobs import Job
from medgraft.app.plain_words import without_flags
from medgraft.app.reading_json import findings
from medgraft.app.run_state import STEPS, step
from medgraft.types import Finding

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Opened]:
    with opened(tmp_path / "home", STAND_IN) as found:
        yield found


def checked(page: Opened, read: dict[str, object]):
    path = f"/api/readings/{read['id']}/check"
    return page.until(lambda: page.post(path).json, lambda one: one["state"] != "running")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("If they are patients, pass --group 'regex:^(.+?)$'; if not, --no-groups.", ""),
        ("'patient' names each once; --no-groups turns it off.", "'patient' names each once."),
        ("Put each class in a folder (--layout 'class/image'), or give a table",
         "Put each class in a folder, or give a table"),
        ("1.5 mm. Look at them.", "1.5 mm. Look at them."),
    ],
)  # fmt: skip
def test_clauses_that_are_typed_are_left_out(text: str, kept: str):
    assert without_flags(text) == kept


def test_who_is_a_patient_is_answered_by_buttons():
    numbers = {"--group patient": 12, "--group 'regex:^(.+?)$'": 9}
    asked = Finding("possible_groups", "warn", "They may.", numbers, remedy="Pass --group patient.")
    (one,) = findings([asked])
    assert one["remedy"] == ""
    assert [way["words"] for way in one["ways"]] == [
        "Yes, by the column patient: 12 patients", "Yes, by the names of the files: 9 patients",
        "No, each image is another patient",
    ]  # fmt: skip
    assert [way["flags"] for way in one["ways"]] == [
        {"group": "patient"}, {"group": "regex:^(.+?)$"}, {"no_groups": True},
    ]  # fmt: skip


def test_another_reading_of_the_same_images_is_checked_anew(server: Opened, tmp_path: Path):
    folder = cells(tmp_path / "cells")
    for flags in ({}, {"no_groups": True}):
        assert checked(server, server.read(folder, flags))["state"] == "done"
    begun = [job.flags for job in server.app.studies.jobs.all("check")]
    assert sorted(map(len, begun)) == [0, 1]


def test_what_the_check_cannot_read_leaves_every_count(server: Opened, tmp_path: Path):
    folder = cells(tmp_path / "unreadable")
    whole = (folder / "a" / "a3.png").read_bytes()
    (folder / "a" / "a3.png").write_bytes(whole[: len(whole) // 2])
    read = server.read(folder)
    assert read["found"]["images"] == 24  # its header is sound
    for row in read["found"]["classes"][0]["pictures"]:
        assert server.get(f"/api/readings/{read['id']}/pictures/{row}").status in (200, 204)
    assert checked(server, read)["images"] == 23
    found = server.get(f"/api/readings/{read['id']}").json["found"]
    assert found["title"].startswith("23 images")
    assert [one["images"] for one in found["classes"]] == [11, 12]
    assert found["skipped"] == [["a/a3.png", "it is cut short"]]


def test_innermost_folders_are_offered(server: Opened, tmp_path: Path):
    names = [f"benign/naevus/{k}.png" for k in range(8)]
    names += [f"benign/keratosis/{k}.png" for k in range(6)]
    names += [f"melanoma/{k}.png" for k in range(9)]
    read = server.read(images(tmp_path / "moles", *names))
    assert read["state"] == "question"
    assert "pass" not in read["said"]
    last = read["choices"][-1]
    assert last["shows"].endswith("innermost folders: keratosis 6, melanoma 9, naevus 8")
    taken = server.read(tmp_path / "moles", last["flags"])["found"]
    assert {one["name"]: one["images"] for one in taken["classes"]} == {
        "keratosis": 6, "melanoma": 9, "naevus": 8,
    }  # fmt: skip


def test_too_few_images_for_the_audit_are_told_before_a_study(server: Opened, tmp_path: Path):
    few = server.read(cells(tmp_path / "few"))["found"]["audit"]
    assert few == {"name": "a", "images": 12, "wanted": 63, "given": False}
    names = [f"{part}/{label}/{k}.png" for part in ("train", "test") for label in "ab"
             for k in range(50)]  # fmt: skip
    assert server.read(images(tmp_path / "many", *names))["found"]["audit"] == {}


def test_a_folder_says_what_lies_below_and_what_is_not_listed(
    server: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cells(tmp_path / "mine" / "scan", 3)
    (tmp_path / "mine" / "moles.zip").write_bytes(b"x")
    found = server.get(f"/api/folders?path={tmp_path / 'mine'}").json
    assert (found["name"], found["below"], found["counted"], found["own"]) == (
        "mine", 6, True, False,
    )  # fmt: skip
    assert (found["other"], found["others"]) == (1, [[".zip", 1]])
    monkeypatch.setenv("HOME", str(tmp_path / "mine"))
    monkeypatch.setattr(folders, "COUNTING", -1.0)
    found = server.get("/api/folders").json
    assert (found["own"], found["counted"]) == (True, False)


@pytest.mark.parametrize(
    ("typed", "said"),
    [("C:\\Users\\me\\moles", "path of Windows"), ("moles", "no whole path")],
)
def test_a_path_that_leads_nowhere_says_why(server: Opened, typed: str, said: str):
    asked = server.post("/api/readings", {"data": typed})
    assert asked.status == 400
    assert said in asked.error


def test_a_study_is_deleted_with_its_copy_and_no_other(server: Opened, tmp_path: Path):
    copy = cells(server.home.data / "moles", 6)
    cells(server.home.data / "other", 6)
    first = begin(server, copy)
    told(server, first, "stopped")
    second = begin(server, copy)
    told(server, second, "stopped")
    shared = server.get(f"/api/studies/{first}/belongs").json["folders"]
    assert shared == [str(server.home.runs / "moles")]
    assert server.post(f"/api/studies/{first}/delete").status == 200
    assert copy.is_dir()
    assert server.post(f"/api/studies/{second}/delete").status == 200
    assert not copy.exists()
    assert (server.home.data / "other").is_dir()
    assert server.get("/api/runs").json["runs"] == []
    assert server.post(f"/api/studies/{second}/delete").status == 404
    run = server.home.runs / "several"  # of which one finding alone is not deleted
    (run / "findings" / "x").mkdir(parents=True)
    (run / "config.json").write_text("{}")
    part = server.home.id_of(run / "findings" / "x")
    server.app.studies.jobs.start(
        Job(
            part, "study", "x", ("x", "x", f"--out={tmp_path}"), "", {}, "", str(run / "findings/x")
        )
    )
    server.until(
        lambda: server.get(f"/api/studies/{part}").json, lambda one: one["state"] != "running"
    )
    assert "by hand" in server.post(f"/api/studies/{part}/delete").error
    elsewhere = begin(server, tmp_path / "waits")
    judging(server, elsewhere)
    refused = server.post(f"/api/studies/{elsewhere}/delete")
    assert "stop it first" in refused.error
    server.post(f"/api/studies/{elsewhere}/stop")
    told(server, elsewhere, "stopped")
    server.post(f"/api/studies/{elsewhere}/delete")
    assert (tmp_path / "waits").is_dir()


def test_the_date_of_a_study_is_that_of_its_beginning(server: Opened, tmp_path: Path):
    id = begin(server, tmp_path / "waits")
    judging(server, id)
    first = server.get("/api/runs").json["runs"][0]["when"]
    server.post(f"/api/studies/{id}/stop")
    told(server, id, "stopped")
    assert server.get("/api/runs").json["runs"][0]["when"] == first


def test_steps_are_counted_with_those_of_a_budget_only_where_there_is_one():
    names = [{"name": "read the images"}, {"name": "look at every image"}]
    assert step(names, budget=False) == {
        "number": 3, "of": 8, "words": "comparing them with everyday photographs",
    }  # fmt: skip
    assert step(names, budget=True)["number"] == 4
    assert step([{"name": name} for name in STEPS], budget=False)["number"] == 8


def test_steps_of_several_findings_are_not_counted_as_those_of_one(server: Opened, tmp_path: Path):
    id = begin(server, tmp_path / "waits")
    config = server.home.runs / "waits" / "config.json"
    server.until(config.is_file, bool)
    judging(server, id)
    assert server.get(f"/api/studies/{id}").json["step"]["number"] == 1
    config.write_text('{"findings": ["a", "b"]}', encoding="utf-8")
    assert server.get(f"/api/studies/{id}").json["step"] is None


def test_corrections_are_kept_with_those_before(server: Opened, tmp_path: Path):
    def dropped(*rows: str) -> str:
        text = "\n".join(["path,action,value,why", *rows, ""]).encode()
        asked = {"name": "said", "files": 1, "bytes": len(text)}
        id = server.post("/api/uploads", asked).json["id"]
        server.ask("POST", f"/api/uploads/{id}", batch(("said.csv", text)))
        return str(server.post(f"/api/uploads/{id}/end").json["data"])

    folder = cells(tmp_path / "cells")
    first = dropped("a/a0.png,exclude,,blurred", "a/a1.png,exclude,,blurred")
    read = server.read(folder, {"overrides": first})
    assert [one["images"] for one in read["found"]["classes"]] == [10, 12]
    id = server.post("/api/studies", {"reading": read["id"], "minutes": 0}).json["id"]
    second = dropped("a/a1.png,relabel,b,seen", "b/b0.png,exclude,,blurred")
    path = f"/api/studies/{id}/corrections"
    assert server.post(path, {"table": second}).status == 200
    read = server.read(folder, {"overrides": second})
    assert [one["images"] for one in read["found"]["classes"]] == [10, 12]  # b lost one, got one
    assert len(read["found"]["skipped"]) == 2
    mine = tmp_path / "mine.csv"
    mine.write_text("path,action,value,why\n", encoding="utf-8")
    assert "choose it again" in server.post(path, {"table": str(mine)}).error
    assert server.post(path, {"table": dropped()[:-4]}).status == 400
    told(server, id, "stopped")
    assert (
        str(server.home.data / "said") in server.get(f"/api/studies/{id}/belongs").json["folders"]
    )
