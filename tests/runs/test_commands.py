"""`medgraft runs` as a person types it: what it prints, writes, refuses and removes."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import made
import pytest
from typer.testing import CliRunner, Result

from medgraft.cli import app


def call(*words: object, columns: int = 100) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, ["runs", *map(str, words)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    oof = [made.answers(key, 200, skill) for key, skill in ((made.SVM, 1), (made.KNN, 0.7))]
    made.study(tmp_path / "A", oof, [made.answers(made.SVM, 100, 1, split="test")])
    better = [made.answers(made.SVM, 200, 3, seed=1), oof[1]]
    test = [made.answers(made.SVM, 100, 3, split="test", seed=1)]
    made.study(tmp_path / "B", better, test, heads=["svm", "knn"])
    return tmp_path


def test_a_list_has_one_line_a_run_however_narrow(folder: Path) -> None:
    (folder / "C").mkdir()
    made.write(folder / "C" / "config.json", {"data": "abc"})
    made.events(folder / "C", {"event": "started"}, when=1.0)
    heading, *lines = call("list", folder, columns=60).stdout.splitlines()
    assert re.split(r"\s{2,}", heading.strip())[-5:] == [
        "AUROC out of fold",
        "AUROC corrected for the choice",
        "AUROC test",
        "audit",
        "size",
    ]
    assert [Path(line.split()[0]).name for line in lines] == ["A", "B", "C"]  # the newest first
    assert "finished" in lines[0]
    assert "stem · svm" in lines[0]
    assert re.search(r"0\.\d+ \(0\.\d+–0\.\d+\)  .*WARN", lines[0])
    assert "killed" in lines[2]
    content = json.loads(call("list", folder, "--json").stdout)
    assert [(Path(row["path"]).name, row["state"]) for row in content] == [
        ("A", "finished"), ("B", "finished"), ("C", "killed"),
    ]  # fmt: skip
    assert content[2]["test"] is None
    assert "no runs here" in call("list", folder / "A" / "model").stdout


def test_one_run_is_shown_with_all_that_it_tells(folder: Path) -> None:
    said = call("show", folder / "A").stdout
    for text in ("stem · svm (net)", "AUROC on the test", "sensitivity", "judge", "medgraft study"):
        assert text in said
    content = json.loads(call("show", folder / "A", "--json").stdout)
    assert content["figures"]["test"]["auroc"]["n"] == 100
    refused = call("show", folder)
    assert refused.exit_code == 1
    assert "holds no run; name a folder" in refused.stderr


def test_two_runs_are_compared_in_words_json_and_on_a_page(folder: Path) -> None:
    page = folder / "page.html"
    said = " ".join(call("compare", folder / "A", folder / "B", "--html", page).stdout.split())
    assert "B does better than A on the 100 test images in both: its AUROC minus that of A" in said
    assert "Both are of the same images, labels, patients and splits." in said
    assert re.search(r"Options +heads +— +svm, knn", said)
    assert "2 scenarios are in both runs; 1 is not the same in both, and 1 is told apart" in said
    content = json.loads(call("compare", folder / "A", folder / "B", "--json").stdout)
    test = next(one for one in content["recommended"] if one["part"] == "test")
    assert test["comparison"]["difference"] == pytest.approx(
        test["b"]["value"] - test["a"]["value"]
    )
    text = page.read_text(encoding="utf-8")
    assert "B does better than A" in text
    assert not re.findall(r"patient\d+", text)  # no image and no patient is named
    assert not re.findall(r"<(?:script|link|img)\b|https?://(?!www\.w3\.org)", text)
    assert text.count("<svg") >= 2
    _Nested().feed(text)


class _Nested(HTMLParser):
    """Fails where an element is closed that is not the last one opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_data_that_differ_are_said_and_not_compared(folder: Path) -> None:
    other = made.study(folder / "D", [made.answers(made.SVM, 60, 1, name="x")], data="def")
    page = folder / "page.html"
    said = " ".join(call("compare", folder / "A", other, "--html", page).stdout.split())
    assert "A and B cannot be tested against each other: no image judged by one was judged" in said
    assert "0 images are in both runs by name" in said
    assert "Data fingerprint abc def" in said
    assert "On the images that both judged" not in page.read_text(encoding="utf-8")


def test_cleaning_lists_and_only_yes_removes(folder: Path) -> None:
    (folder / "C").mkdir()
    made.write(folder / "C" / "config.json", {"data": "abc"})
    made.events(folder / "C", {"event": "started"}, when=1.0)
    words = ("clean", folder, "--cache", folder / "cache")
    said = call(*words, columns=200).stdout
    assert "run.jsonl" in said
    assert "nothing is removed without --yes" in said
    assert (folder / "C" / "run.jsonl").exists()
    assert "freed" in call(*words, "--yes").stdout
    assert not (folder / "C").exists()
    assert "nothing to clean up" in call(*words, "--yes").stdout
    assert call("show", folder / "A").exit_code == 0


def test_a_study_refuses_a_server_that_does_not_answer_before_it_begins(tmp_path: Path) -> None:
    """And one that is gone at the end takes nothing: a warning that says how to log it later."""
    from medgraft.cli import runs
    from medgraft.runs import mlflow_log

    def gone(uri: str) -> None:
        raise mlflow_log.TrackingError("MLflow does not answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_log, "check_tracking", gone)
        patch.setattr(mlflow_log, "log_run", lambda run, uri: gone(uri))
        words = ["study", str(tmp_path), "--out", str(tmp_path / "R"), "--mlflow", "http://x"]
        refused = CliRunner().invoke(app, words)
        assert refused.exit_code == 1
        assert "or leave --mlflow out and log the finished run with: medgraft runs log" in (
            refused.stderr
        )
        assert not (tmp_path / "R").exists()
        said: list[str] = []
        patch.setattr("medgraft.terminal.show_warning", said.append)
        runs.log_finished(tmp_path / "R", "http://anna:secret@x")
    assert said[0].startswith("the run in ")
    assert "is finished and whole, but was not logged" in said[0]
    assert said[0].endswith("--mlflow http://x")
