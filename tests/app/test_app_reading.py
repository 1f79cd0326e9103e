"""Data chosen, dropped and read by way of the page."""

from __future__ import annotations

import json

import pytest

from app.opened import Opened, cells, images
from medgraft.app.uploads import parts_of
from medgraft.errors import DataError
from two_lesions import write_lesions

EVIL = "<img src=x onerror=alert(1)>"


def batch(*files: tuple[str, bytes]) -> bytes:
    names = json.dumps([[path, len(content)] for path, content in files]).encode()
    return len(names).to_bytes(4, "big") + names + b"".join(content for _, content in files)


def test_folders_are_listed_with_what_may_be_chosen(page: Opened, tmp_path):
    cells(tmp_path / "scan")
    images(tmp_path, "one.png", "two.png")
    (tmp_path / "labels.csv").write_text("path,label\n", encoding="utf-8")
    (tmp_path / EVIL).mkdir()
    (tmp_path / ".hidden").mkdir()
    found = page.get(f"/api/folders?path={tmp_path}").json
    assert [one["name"] for one in found["folders"]] == [EVIL, "scan"]
    assert [one["name"] for one in found["tables"]] == ["labels.csv"]
    assert found["pictures"] == 2
    assert found["above"][-1]["path"] == str(tmp_path)
    assert page.get("/api/folders").status == 200
    for path in (f"{tmp_path}/gone", "~nosuchuser/x"):
        gone = page.get(f"/api/folders?path={path}")
        assert gone.status == 400
        assert "no folder" in gone.error
    assert page.post("/api/readings", {"data": "~nosuchuser/x"}).status == 400


def test_how_a_folder_was_read_is_told_with_pictures(page: Opened, tmp_path):
    read = page.read(cells(tmp_path / "cells"))
    assert read["state"] == "read"
    found = read["found"]
    assert found["title"] == "24 images, read as class/image"
    assert [(one["name"], one["images"]) for one in found["classes"]] == [("a", 12), ("b", 12)]
    assert len(found["classes"][0]["pictures"]) == 4
    for row in found["classes"][0]["pictures"]:
        picture = page.get(f"/api/readings/{read['id']}/pictures/{row}")
        assert picture.body[8:12] == b"WEBP"
    assert page.get(f"/api/readings/{read['id']}/pictures/99").status == 404
    again = page.post("/api/readings", {"data": str(tmp_path / "cells")}).json
    assert again["id"] == read["id"]  # a second page, or a reload: nothing is read twice
    assert again["state"] == "read"


def test_a_question_comes_with_choices_and_each_is_taken(page: Opened, tmp_path):
    names = [f"{o}/{c}/{p}_{i}.png" for o in "xy" for c in "uv" for p in "PQ" for i in (1, 2)]
    read = page.read(images(tmp_path / "d", *names))
    assert read["state"] == "question"
    assert len(read["choices"]) == 2
    for choice in read["choices"]:
        taken = page.read(tmp_path / "d", choice["flags"])
        assert taken["found"]["layout"] == choice["flags"]["layout"]


def test_what_cannot_be_read_says_why(page: Opened, tmp_path):
    gone = page.read(tmp_path / "gone")
    assert (gone["state"], "There is nothing at" in gone["error"]) == ("gone", True)
    folder = cells(tmp_path / "cells")
    assert "--page" in page.read(folder, {"page": "x"})["error"]
    assert "--layout" in page.read(folder, {"layout": "class/nonsense"})["error"]
    for flags in ({"out": "x"}, {"layout": 3}, {"ids": str(tmp_path / "ids.csv")}):
        assert page.post("/api/readings", {"data": str(folder), "flags": flags}).status == 400
    assert page.post("/api/readings", {"data": ""}).status == 400
    assert page.ask("POST", "/api/readings", b"{").status == 400


def test_corrections_are_taken(page: Opened, tmp_path):
    table = tmp_path / "corrections.csv"
    table.write_text("path,action,value,why\na/a0.png,exclude,,blurred\n", encoding="utf-8")
    read = page.read(cells(tmp_path / "cells"), {"overrides": str(table)})
    assert [one["images"] for one in read["found"]["classes"]] == [11, 12]


def test_grades_are_put_in_order(page: Opened, tmp_path):
    folder = images(tmp_path / "cells", *(f"{label}/{k}.png" for label in "abc" for k in range(6)))
    read = page.read(folder, {"order": "c,a,b"})
    assert [one["name"] for one in read["found"]["classes"]] == ["c", "a", "b"]


def test_names_that_count_up_are_proposed_as_grades(page: Opened, tmp_path):
    names = [f"{label}/{k}.png" for label in ("mild", "none", "severe") for k in range(6)]
    folder = images(tmp_path / "graded", *names)
    assert page.read(folder)["found"]["grades"] == "proposed"
    read = page.read(folder, {"ordered": True})["found"]
    assert read["grades"] == "taken"
    assert [one["name"] for one in read["classes"]] == ["none", "mild", "severe"]
    assert page.read(cells(tmp_path / "cells"))["found"]["grades"] == ""


def test_several_findings_are_told_with_what_is_uncertain(page: Opened, tmp_path):
    table = write_lesions(tmp_path / "data", 12)
    head, *rows = table.read_text(encoding="utf-8").splitlines()
    name, _, *marks = rows[0].split(",")
    text = "\n".join([head, ",".join([name, "-1", *marks]), *rows[1:]])
    table.write_text(text, encoding="utf-8")
    found = page.read(table)["found"]
    assert found["several"]
    assert [one["name"] for one in found["classes"]] == ["a", "b", "drain"]
    assert found["classes"][0]["uncertain"] == 1
    assert page.read(table, {"uncertain": "positive"})["found"]["several"]


def test_a_folder_that_changes_is_read_again_when_asked(page: Opened, tmp_path):
    folder = cells(tmp_path / "cells")
    assert page.read(folder)["found"]["images"] == 24
    images(folder, "a/more.png")
    assert page.read(folder)["found"]["images"] == 24
    assert page.read(folder, again=True)["found"]["images"] == 25


# ------------------------------------------------------------------- dropped


def test_what_is_dropped_is_copied_and_read(page: Opened, tmp_path):
    source = cells(tmp_path / "cells")
    files = [(f"cells/{one.parent.name}/{one.name}", one.read_bytes()) for one in
             sorted(source.glob("*/*.png"))]  # fmt: skip
    asked = {"name": "cells", "files": len(files), "bytes": sum(len(c) for _, c in files)}
    id = page.post("/api/uploads", asked).json["id"]
    for start in (0, 10, 20):
        sent = page.ask("POST", f"/api/uploads/{id}", batch(*files[start : start + 10]))
    assert sent.json["files"] == 24
    path = page.post(f"/api/uploads/{id}/end").json["data"]
    assert path == str(page.home.data / "cells")
    assert page.read(path)["found"]["title"] == "24 images, read as class/image"
    assert page.post(f"/api/uploads/{id}/end").status == 404
    assert [one for one in page.home.data.iterdir() if one.name.startswith(".")] == []


def test_a_drop_of_which_files_are_gone_is_no_data(page: Opened):
    """As where medgraft was started once more while they were copied."""
    id = page.post("/api/uploads", {"name": "x", "files": 2, "bytes": 2}).json["id"]
    page.ask("POST", f"/api/uploads/{id}", batch(("a/1.png", b"1")))
    page.home.make()  # by a second start, which finds the first one
    page.ask("POST", f"/api/uploads/{id}", batch(("a/2.png", b"2")))
    (page.home.data / f".{id}" / "a" / "1.png").unlink()
    refused = page.post(f"/api/uploads/{id}/end")
    assert refused.status == 400
    assert "1 of 2 dropped files arrived" in refused.error
    page.ask("POST", f"/api/uploads/{id}", batch(("a/1.png", b"1")))
    assert page.post(f"/api/uploads/{id}/end").status == 200


def test_a_table_alone_is_data_itself(page: Opened):
    id = page.post("/api/uploads", {"name": "x", "files": 1, "bytes": 9}).json["id"]
    page.ask("POST", f"/api/uploads/{id}", batch(("t.csv", b"path,label")))
    assert page.post(f"/api/uploads/{id}/end").json["data"].endswith("/t.csv")


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/etc/x", "", "a//b", ".", "a\\b", "a\nb", "x" * 256, "d/" * 40 + "x"],
)
def test_no_dropped_file_leaves_its_folder(page: Opened, path: str):
    with pytest.raises(DataError):
        parts_of(path)
    id = page.post("/api/uploads", {"name": "x", "files": 1, "bytes": 1}).json["id"]
    assert page.ask("POST", f"/api/uploads/{id}", batch((path, b"1"))).status == 400
    assert list((page.home.data / f".{id}").rglob("*")) == []
    assert page.post(f"/api/uploads/{id}/forget").status == 200


def test_a_drop_that_is_too_much_or_broken_is_refused(page: Opened):
    many = page.post("/api/uploads", {"name": "x", "files": 100_001, "bytes": 1})
    assert many.status == 400
    assert "choose the folder instead" in many.error
    assert page.post("/api/uploads", {"name": "x", "files": 1, "bytes": 10**18}).status == 400
    id = page.post("/api/uploads", {"name": "x", "files": 2, "bytes": 2}).json["id"]
    for body in (b"", b"\xff\xff\xff\xff", b"\0\0\0\x02{}", batch(("a", b"1"))[:-1],
                 b"\0\0\0\x0a[[\"a\",-1]]"):  # fmt: skip
        assert page.ask("POST", f"/api/uploads/{id}", body).status == 400
    assert page.ask("POST", f"/api/uploads/{id}", batch(("a", b"1"), ("a", b"2"))).status == 400
    page.post(f"/api/uploads/{id}/forget")
    assert page.ask("POST", f"/api/uploads/{id}", batch(("b", b"1"))).status == 404
