"""`medgraft audit` on made images, with a classifier whose reason is known; and on bad input."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from test_evidence import MIDDLE, TOP_LEFT, made

from medgraft import cli
from medgraft.audit.evidence import AuditOptions
from medgraft.bundle import audit_model as auditing
from medgraft.bundle.audit_model import ModelAudit, audit_model
from medgraft.data.ingest import LoadOptions, load
from medgraft.errors import DataError, ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.results.evidence import CORNERS, OUTSIDE
from medgraft.types import ImageTable, Operating
from numpy_model import SIDE, ByBrightness

QUICK = AuditOptions(pairs=40, grid=False)
AROUND = (slice(20, 44), slice(20, 44))  # the middle and what a seam takes on so small a canvas


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets every bundle hold a classifier that goes by the brightness of one place."""

    def hold(place: tuple[slice, slice], **changed: Any) -> None:
        kind = type("Known", (ByBrightness,), changed)
        monkeypatch.setattr(auditing, "load_bundle", lambda folder, extractor: kind(place))

    return hold


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    return Extractor(Cache(tmp_path / "cache"), workers=1)


def written(folder: Path, n: int = 130, where: tuple[slice, slice] = MIDDLE) -> Path:
    """The images of `made` as files `0/12.png`, each in a colour, size and shape of its own."""
    file = folder / "source"
    file.mkdir()
    made(file, n, where)
    images = np.load(file / "made.npz")["train_images"]
    for row, pixels in enumerate(images):
        class_folder = folder / "images" / str(row % 2)
        class_folder.mkdir(parents=True, exist_ok=True)
        width, height = (SIDE, SIDE) if row % 3 else (2 * SIDE, 3 * SIDE)
        resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST)
        coloured = cv2.cvtColor(resized, cv2.COLOR_GRAY2BGR) if row % 5 else resized
        cv2.imwrite(str(class_folder / f"{row}.png"), coloured)
    return folder / "images"


def drawn_masks(folder: Path, images: Path) -> Path:
    """For each image a mask of what is around the middle, of the image's size."""
    for image in images.rglob("*.png"):
        height, width = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE).shape
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[AROUND] = 255
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        (folder / image.parent.name).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / image.parent.name / image.name), mask)
    return folder


def table_of(images: Path) -> ImageTable:
    return load(images, LoadOptions(no_groups=True, positive="1", one_class=True))


def checks(found: ModelAudit) -> set[str]:
    return {finding.check for finding in found.audit.result.findings}


def call(*words: str | Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["medgraft", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


# --------------------------------------------------------------------------- the command


def test_a_corner_that_decides_fails_in_words_in_json_and_by_exit_code(
    tmp_path: Path, known: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path, where=TOP_LEFT)
    known(TOP_LEFT)
    monkeypatch.setenv("COLUMNS", "100")
    words = ["audit", tmp_path, tmp_path / "made.npz", "--no-groups", "--pairs", "40"]
    words += ["--cache", tmp_path / "cache", "--quiet"]
    assert call(*words, "--modality", "xray", "--fail-on", "fail", monkeypatch=monkeypatch) == 3
    out = capsys.readouterr().out
    assert out.startswith("FAIL: ")
    assert "Smallest effect that would have been seen" in out
    (line,) = [line for line in out.splitlines() if line.strip().startswith(f"{CORNERS[0]}  ")]
    assert line.split()[-1] == "yes"
    assert out.index("Declared to be no evidence") < out.index("Map of the picture")

    assert call(*words, "--modality", "xray", "--json", monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "FAIL"
    severe = [f for f in found["findings"] if f["severity"] == "severe"]
    assert CORNERS[0] in {f["region"] for f in severe}
    assert all({"check", "effect", "low", "high", "p", "text", "images"} <= set(f) for f in severe)
    (corner,) = [r for r in found["regions"] if r["region"] == CORNERS[0]]
    assert corner["role"] == "declared"
    assert corner["points"]["low"] <= corner["points"]["value"] <= corner["points"]["high"]
    assert found["without_evidence"]["auroc_without"] > 0.9

    # Undeclared it is a question (WARN), which `--fail-on fail` lets pass and `warn` does not.
    assert call(*words, "--fail-on", "fail", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.startswith("WARN: ")
    assert call(*words, "--fail-on", "warn", monkeypatch=monkeypatch) == 3
    assert call(*words, "--fail-on", "never", monkeypatch=monkeypatch) == 2
    assert call(*words, "--modality", "mri", monkeypatch=monkeypatch) == 1
    assert "no modality 'mri'" in capsys.readouterr().err


def test_of_a_test_split_only_its_images_are_audited(
    tmp_path: Path, known: Any, extractor: Extractor
) -> None:
    known(MIDDLE)
    table = made(tmp_path, where=MIDDLE)
    splits = np.where(np.arange(160) < 120, "test", "train")
    found = audit_model(
        tmp_path, dataclasses.replace(table, splits=splits), QUICK, extractor=extractor
    )
    assert found.images == found.audit.ranked.n == 120
    assert audit_model(tmp_path, table, QUICK, extractor=extractor).images == 160


# --------------------------------------------------------------------------- masks


def test_masks_that_cannot_be_used_are_named_and_the_others_serve(
    tmp_path: Path, known: Any, extractor: Extractor
) -> None:
    known(MIDDLE)
    images = written(tmp_path)
    masks = drawn_masks(tmp_path / "masks", images)
    (masks / "1" / "1.png").unlink()
    cv2.imwrite(str(masks / "1" / "7.png"), np.zeros((SIDE, SIDE), np.uint8))
    cv2.imwrite(str(masks / "1" / "11.png"), np.full((SIDE, 3 * SIDE), 255, np.uint8))
    larger = np.zeros((4 * SIDE, 4 * SIDE), np.uint8)
    larger[80:176, 80:176] = 255  # the same, four times as large
    cv2.imwrite(str(masks / "1" / "13.png"), larger)
    (masks / "1" / "17.png").write_bytes(b"no picture")
    found = audit_model(tmp_path, table_of(images), QUICK, masks=masks, extractor=extractor)
    why = {row.source: row.reason for row in found.skipped}
    assert set(why) == {f"1/{number}.png" for number in (1, 7, 11, 17)}  # and not 13
    assert why["1/1.png"] == "no mask"
    assert why["1/7.png"] == "its mask covers nothing or everything"
    assert "192 x 64 pixels and its image 64 x 64" in why["1/11.png"]
    assert found.audit.ranked.n == 126
    assert found.audit.result.verdict == "PASS"
    assert found.audit.options.masks


def test_a_classifier_that_reads_what_lies_outside_the_masks_fails(
    tmp_path: Path, known: Any, extractor: Extractor
) -> None:
    known(TOP_LEFT)
    images = written(tmp_path, where=TOP_LEFT)
    masks = drawn_masks(tmp_path / "masks", images)
    found = audit_model(tmp_path, table_of(images), QUICK, masks=masks, extractor=extractor)
    assert found.audit.result.verdict == "FAIL"
    assert OUTSIDE in {
        f.numbers["region"] for f in found.audit.result.findings if f.severity == "severe"
    }


def test_masks_of_other_images_and_no_folder_are_errors(
    tmp_path: Path, known: Any, extractor: Extractor
) -> None:
    known(MIDDLE)
    images = written(tmp_path, 12)
    with pytest.raises(DataError, match="no folder of masks at"):
        audit_model(tmp_path, table_of(images), masks=tmp_path / "none", extractor=extractor)
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    cv2.imwrite(str(strangers / "someone.png"), np.full((SIDE, SIDE), 255, np.uint8))
    with pytest.raises(DataError, match="name each mask like its image"):
        audit_model(tmp_path, table_of(images), masks=strangers, extractor=extractor)
    with pytest.raises(DataError, match="no image to audit"):  # asked for, and the table has none
        audit_model(tmp_path, table_of(images), AuditOptions(masks=True), extractor=extractor)


# --------------------------------------------------------------------------- other bad input


def test_a_classifier_that_always_says_the_same_never_passes(
    tmp_path: Path, known: Any, extractor: Extractor
) -> None:
    table = made(tmp_path, where=MIDDLE)
    known(MIDDLE, operating=Operating(0.0, "always"))  # it ranks, and calls everything positive
    found = audit_model(tmp_path, table, QUICK, extractor=extractor)
    assert "one_answer" in checks(found)
    assert found.audit.result.verdict == "WARN"
    known(MIDDLE, probabilities=lambda self, canvases: np.array([[0.3, 0.7] for _ in canvases]))
    found = audit_model(tmp_path, table, QUICK, extractor=extractor)
    assert {"one_answer", "weak_model"} <= checks(found)
    assert found.audit.result.verdict == "INCONCLUSIVE"


def test_twenty_images_and_one_class_get_a_clear_answer_and_no_verdict(
    tmp_path: Path, known: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known(MIDDLE)
    images = written(tmp_path, 20)
    words = ["audit", tmp_path, images, "--no-groups", "--cache", tmp_path / "cache", "--quiet"]
    assert call(*words, monkeypatch=monkeypatch) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("INCONCLUSIVE: ")
    assert "Only 10 usable images of class 0; below 50" in out
    assert "Only 10 pairs of patients" in out
    assert "would have been seen" not in out  # nothing was looked for
    shutil.rmtree(images / "1")
    assert call(*words, "--json", "--fail-on", "warn", monkeypatch=monkeypatch) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "INCONCLUSIVE"
    assert found["ranked"]["value"] is None
    assert "all of one class" in found["findings"][0]["text"]


def test_damaged_images_are_left_out_and_strange_classes_refused(
    tmp_path: Path, known: Any, extractor: Extractor
) -> None:
    known(MIDDLE)
    images = written(tmp_path, 20)
    cut = images / "0" / "4.png"
    cut.write_bytes(cut.read_bytes()[:100])
    found = audit_model(tmp_path, table_of(images), QUICK, extractor=extractor)
    assert [row.source for row in found.skipped] == ["0/4.png"]
    (images / "0").rename(images / "fracture")
    with pytest.raises(DataError, match="class fracture, which the model does not know"):
        audit_model(tmp_path, table_of(images), QUICK, extractor=extractor)
    with pytest.raises(ScenarioError, match="no modality"):
        audit_model(tmp_path, made(tmp_path), AuditOptions("mri"), extractor=extractor)
