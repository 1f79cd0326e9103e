"""`medgraft audit --out`: a page with the exchanged images, and the same as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from test_evidence import TOP_LEFT, made

from medgraft import cli
from medgraft.bundle import audit_model as auditing
from numpy_model import ByBrightness


def test_out_writes_a_page_and_all_of_the_json_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path, where=TOP_LEFT)
    monkeypatch.setattr(auditing, "load_bundle", lambda folder, extractor: ByBrightness(TOP_LEFT))
    words = ["medgraft", "audit", str(tmp_path), str(tmp_path / "made.npz"), "--no-groups"]
    words += ["--pairs", "40", "--modality", "xray", "--cache", str(tmp_path / "cache"), "--json"]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    printed = json.loads(capsys.readouterr().out)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"audit.html", "audit.json"}
    written = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert {**written, **printed} == written  # and what was typed, and by which version
    assert written["command"].startswith("medgraft audit ")
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "FAIL: a place that was declared to be no evidence decides." in page
    assert "Exchanged: the top left corner" in page
    assert "made.npz" in page
