"""The data audit of images with several findings: pictures once, labels for each finding."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medgraft.cli import app
from medgraft.cli.option_parsing import load_any
from medgraft.data.ingest import load_any as ingested
from medgraft.errors import DataError
from medgraft.features.cache import Cache
from medgraft.panel import Panel
from medgraft.profile.several import by_marks
from medgraft.terminal import progress
from two_lesions import write_lesions


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty images; one is there again under other marks, and one finding is rare."""
    table: Path = write_lesions(tmp_path / "data", 40)
    head, *rows = table.read_text(encoding="utf-8").splitlines()
    marked = [f"{row},{int(i < 6)}" for i, row in enumerate(rows)]
    shutil.copy(table.parent / "p0000.png", table.parent / "again.png")
    others = [str(1 - int(mark)) for mark in marked[0].split(",")[1:]]
    text = "\n".join([f"{head},rare", *marked, ",".join(["again.png", *others])])
    table.write_text(text, encoding="utf-8")
    return table


def checked(data: Path, cache: Cache, *more: str | Path) -> dict[str, Any]:
    words = ("profile", data, "-q", "--json", "--cache", cache.folder, *more)
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_copies_are_found_once_and_small_findings_by_name(
    data: Path, tmp_path: Path, cache: Cache
) -> None:
    found = checked(data, cache, "--no-codes", "--out", tmp_path / "out")
    assert found["data"]["several"] is True
    assert found["data"]["classes"] == ["a", "b", "drain", "rare"]
    by_check = [(one["check"], one["numbers"].get("of the finding")) for one in found["findings"]]
    assert ("identical_files_across_classes", None) in by_check
    assert ("small_class", "rare") in by_check
    assert len([one for one in by_check if one[0] == "identical_files"]) == 1
    assert {(one["path"], one["action"]) for one in found["suggestions"]} == {
        ("again.png", "exclude"), ("p0000.png", "exclude"),
    }  # fmt: skip
    page = (tmp_path / "out" / "data.html").read_text(encoding="utf-8")
    anchors = re.findall(r'<h2 id="([^"]+)"', page)
    assert len(set(anchors)) == len(anchors)
    assert "Small class: rare" in page
    assert "rare  7, without 34" in page or "rare  6, without 35" in page


def test_suggestions_are_taken_back_and_no_class_is_given(data: Path, tmp_path: Path) -> None:
    fix = tmp_path / "fix.csv"
    fix.write_text("path,action,value\np0001.png,group,x\np0002.png,group,x\nagain.png,exclude,\n")
    read = load_any(str(data), progress(True), {"overrides": fix}, uncertain="unknown")
    assert isinstance(read, Panel)
    assert len(read) == len(read.marks) == 40
    assert len(set(read.images.groups[1:3].tolist())) == 1
    fix.write_text("path,action,value\np0001.png,relabel,a\n")
    with pytest.raises(DataError, match=r"fix.csv, line 2: relabel a does not say which"):
        load_any(str(data), progress(True), {"overrides": fix}, uncertain="unknown")


def test_what_is_marked_is_a_label_in_words(data: Path) -> None:
    read = ingested(data)
    assert isinstance(read, Panel)
    table = by_marks(read)
    assert "no finding" in table.classes or len(table.classes) > 1
    of = dict(zip(table.ids.tolist(), table.labels.tolist(), strict=True))
    row = read.images.ids.tolist().index("p0003.png")
    marked = [name for name, mark in zip(read.names, read.marks[row], strict=True) if mark == 1]
    assert table.classes[of["p0003.png"]] == (", ".join(marked) or "no finding")


@pytest.mark.slow
def test_by_codes_nothing_is_left_unchecked(tmp_path: Path, cache: Cache) -> None:
    found = checked(write_lesions(tmp_path / "data", 60), cache)
    assert not any(one["check"] == "not_checked" for one in found["findings"])
    (said,) = (one["text"] for one in found["findings"] if one["check"] == "each_finding")
    assert "labels" in said
