"""Models that are not medgraft's, audited as ours are: in Python, and as a user types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgraft import cli
from medgraft.audit.evidence import AuditOptions
from medgraft.bundle.audit_model import ModelAudit, audit_model, audit_to_folder
from medgraft.data.ingest import LoadOptions, load
from medgraft.data.preprocess import to_canvas
from medgraft.errors import AmbiguousModelError, ForeignModelError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.foreign.classifier import ForeignClassifier
from medgraft.foreign.open_model import open_model
from medgraft.foreign.options import ForeignOptions
from medgraft.results.evidence import CORNERS
from medgraft.types import FittedNetwork, FittedScenario, ImageTable
from onnx_models import CENTRE, SLOPE, logit_of, write_onnx

SIDE = 64
TOP_LEFT = (slice(0, 11), slice(0, 11))
MIDDLE = (slice(24, 40), slice(24, 40))
QUICK = AuditOptions("xray", pairs=40, grid=False, more=False)
ASKED = ForeignOptions(input_size=SIDE)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 grey images; those of class 1 are brighter in the top left corner and in the middle."""
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 2
    images = rng.normal(CENTRE, 12, (160, SIDE, SIDE))
    for place in (TOP_LEFT, MIDDLE):
        images[:, place[0], place[1]] += 40 * (labels[:, None, None] - 0.5)
    path = tmp_path_factory.mktemp("data") / "made.npz"
    pixels, named = np.clip(images, 0, 255).astype(np.uint8), labels[:, None].astype(np.uint8)
    np.savez(path, train_images=pixels, train_labels=named)
    return path


@pytest.fixture(scope="module")
def table(file: Path) -> ImageTable:
    return load(file, LoadOptions(no_groups=True, positive="1"))


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    return Extractor(Cache(tmp_path / "cache"), workers=1)


def by_corner(images: Any) -> Any:
    logit = logit_of(images, TOP_LEFT)
    return np.stack([np.zeros_like(logit), logit], axis=1)


def by_middle(images: Any) -> Any:
    return 1 / (1 + np.exp(-logit_of(images, MIDDLE)))


def regions(found: ModelAudit) -> dict[str, float]:
    return {effect.region: effect.points.value for effect in found.audit.effects}


def test_it_is_a_fitted_scenario_that_cannot_be_looked_into(table: ImageTable) -> None:
    fitted = open_model(by_corner, table, ASKED)
    assert isinstance(fitted, ForeignClassifier)
    assert isinstance(fitted, FittedScenario)
    assert not isinstance(fitted, FittedNetwork)
    with pytest.raises(ForeignModelError, match="not saved"):
        fitted.save(Path("anywhere"))


def test_a_function_that_goes_by_a_corner_fails_and_one_that_does_not_does_not(
    table: ImageTable, extractor: Extractor
) -> None:
    caught = audit_model(by_corner, table, QUICK, extractor=extractor, foreign=ASKED)
    assert caught.audit.result.verdict == "FAIL"
    assert regions(caught)[CORNERS[0]] > 0.5
    sound = audit_model(by_middle, table, QUICK, extractor=extractor, foreign=ASKED)
    assert sound.audit.result.verdict != "FAIL"
    assert abs(regions(sound)[CORNERS[0]]) < 0.02
    assert sound.foreign is not None
    assert (sound.foreign.outputs, sound.foreign.columns) == ("probabilities", 1)
    assert sound.foreign.differs == 0


def test_an_onnx_file_is_judged_as_the_same_function_is(
    table: ImageTable, extractor: Extractor, tmp_path: Path
) -> None:
    path = write_onnx(tmp_path / "corner.onnx", TOP_LEFT, scale=1 / 255)
    asked = ForeignOptions(normalize="0..1")
    by_file = audit_model(path, table, QUICK, extractor=extractor, foreign=asked)
    by_call = audit_model(by_corner, table, QUICK, extractor=extractor, foreign=ASKED)
    assert regions(by_file) == pytest.approx(regions(by_call))
    assert by_file.audit.result.verdict == "FAIL"


def test_the_page_says_how_it_was_asked_and_what_is_open(
    table: ImageTable, extractor: Extractor, tmp_path: Path
) -> None:
    found = audit_model(by_corner, table, QUICK, extractor=extractor, foreign=ASKED)
    page, answer = audit_to_folder(found, tmp_path, model="by_corner", data="made.npz")
    text = page.read_text(encoding="utf-8")
    for words in (
        "medgraft has not calibrated them",
        "2 numbers for an image, logits, as their values on 64 images tell",
        "0, 1: the data&#39;s order",
        "64 px",
        "learned from these images cannot be known",
    ):
        assert words in text
    said = json.loads(answer.read_text())["foreign"]
    assert (said["kind"], said["outputs"], said["classes"]) == ("callable", "logits", ["0", "1"])


def test_classes_in_another_order_are_noticed_or_taken_as_said(
    table: ImageTable, extractor: Extractor
) -> None:
    def swapped(images: Any) -> Any:
        return by_corner(images)[:, ::-1]

    with pytest.raises(AmbiguousModelError, match="pass --classes 1,0 if"):
        open_model(swapped, table, ASKED)
    asked = ForeignOptions(input_size=SIDE, classes=("1", "0"))
    found = audit_model(swapped, table, QUICK, extractor=extractor, foreign=asked)
    assert found.audit.ranked.value > 0.9
    assert found.audit.result.verdict == "FAIL"


def test_a_model_of_more_classes_than_the_data_has(table: ImageTable) -> None:
    def three(images: Any) -> Any:
        return np.concatenate([np.full((len(images), 1), -9.0), by_corner(images)], axis=1)

    with pytest.raises(ForeignModelError, match=r"answers 3 numbers.*the data has 2 classes"):
        open_model(three, table, ASKED)
    asked = ForeignOptions(input_size=SIDE, classes=("other", "0", "1"))
    fitted = open_model(three, table, asked)
    said, _ = fitted.predict(table)
    assert said.classes == ("other", "0", "1")
    assert (said.y_prob.argmax(axis=1) - 1 == table.labels).mean() > 0.9


def test_a_function_may_spoil_what_it_is_given(table: ImageTable, extractor: Extractor) -> None:
    def spoils(images: Any) -> Any:
        answer = by_corner(images)
        images[:] = 0
        return answer

    spoilt, kept = (
        audit_model(model, table, QUICK, extractor=extractor, foreign=ASKED)
        for model in (spoils, by_corner)
    )
    assert regions(spoilt) == regions(kept)


def test_what_changes_from_one_pass_to_the_next_is_told(table: ImageTable) -> None:
    rng = np.random.default_rng(0)

    def random(images: Any) -> Any:
        return by_corner(images) + rng.normal(0, 0.5, (len(images), 2))

    def beside(images: Any) -> Any:  # as batch statistics do
        answer = by_corner(images)
        return answer - answer.mean(axis=0)

    for model in (random, beside):
        assert open_model(model, table, ASKED).facts.differs > 0.01
    assert open_model(by_corner, table, ASKED).facts.differs == 0


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (lambda images: by_corner(images) * np.nan, "answered NaN or infinity for 64 of 64 images"),
        (lambda images: by_corner(images)[:-1], r"shape \(63, 2\) for 64 images"),
        (lambda images: "rubbish", "answered str, which is no table of numbers"),
        (lambda images: [[1, 2], [3]], "no table of numbers"),
        (lambda images: 1 / 0, "raised ZeroDivisionError for 64 images"),
        (lambda images: {"a": by_corner(images), "b": by_corner(images)}, "--output-name a"),
        (lambda images: {"a": by_corner(images)[:, :0], "b": images.mean((1, 2))}, "none of the"),
    ],
)
def test_a_function_that_does_not_answer_as_a_classifier(
    model: Any, text: str, table: ImageTable
) -> None:
    with pytest.raises(ForeignModelError, match=text):
        open_model(model, table, ASKED)


def test_only_the_middle_is_kept_where_that_is_how_it_was_trained(table: ImageTable) -> None:
    seen = []

    def looks(images: Any) -> Any:
        seen.append(images)
        return by_middle(np.pad(images, ((0, 0), (8, 8), (8, 8), (0, 0))))

    asked = ForeignOptions(input_size=48, crop_pct=0.75)
    fitted = open_model(looks, table, asked)
    whole = open_model(by_middle, table, ASKED)
    one = next(iter(fitted.canvases(table.ids[:1], table.sources[:1])))
    full = next(iter(whole.canvases(table.ids[:1], table.sources[:1])))
    np.testing.assert_array_equal(one.pixels, full.pixels[8:56, 8:56])  # type: ignore[union-attr]
    drawn = np.random.default_rng(0).random((SIDE, SIDE)) < 0.5  # a mask goes the same way
    np.testing.assert_array_equal(to_canvas(drawn, one.geometry), drawn[8:56, 8:56])  # type: ignore[union-attr]
    assert seen[0].shape == (64, 48, 48, 3)


# --------------------------------------------------------------------------- as it is typed


def call(*words: str | Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["medgraft", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


def test_the_command_audits_a_file_and_a_function(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    write_onnx(tmp_path / "corner.onnx", TOP_LEFT, scale=1 / 255)
    source = f"def answer(images):\n    return {SLOPE} * (images[:, :11, :11].mean((1, 2, 3)) - "
    (tmp_path / "mine.py").write_text(f"{source}{CENTRE})\n")
    common: list[str | Path] = [
        "audit",
        file,
        "--no-groups",
        "--positive",
        "1",
        "--modality",
        "xray",
    ]
    common += ["--pairs", "40", "--quiet", "--cache", tmp_path / "cache", "--fail-on", "fail"]
    words = [*common, "--model", "corner.onnx", "--normalize", "0..1", "--out", "page"]
    assert call(*words, monkeypatch=monkeypatch) == 3
    out = capsys.readouterr().out
    assert out.startswith("FAIL: ")
    assert "Model: corner.onnx, an ONNX file" in out
    assert "medgraft has not calibrated them" in out
    assert (tmp_path / "page" / "audit.html").is_file()
    words = [*common, "--model", "mine:answer", "--input-size", "64"]
    assert call(*words, monkeypatch=monkeypatch) == 3
    assert "the one number speaks for 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["made.npz"], 2, "medgraft audit DATA --model FILE.onnx"),
        (["run", "made.npz", "--model", "m.onnx"], 2, "both name a model"),
        (["made.npz", "--model", "m.onnx", "--model-command", "x"], 2, "both name a model"),
        (["made.npz", "--model", "m.onnx"], 1, "no file at m.onnx"),
        (["made.npz", "--model", "is.onnx", "--network", "resnet18"], 1, "is for a checkpoint"),
        (["made.npz", "--model", "m.pth", "--network", "resnet18"], 1, "no file at m.pth"),
        (["made.npz", "--model", "http://10.0.0.1/"], 1, "images go to this machine alone"),
        (["made.npz", "--model-command", "no-such-program"], 1, "no program 'no-such-program'"),
        (["made.npz", "--model", "m.h5"], 1, "m.h5 is of no kind that is read"),
        (["made.npz", "--model", "nowhere:f"], 1, "nowhere:f cannot be imported"),
        (["made.npz", "--model", "os:sep"], 1, "cannot be called"),
        (["made.npz", "--model", "os:getcwd"], 1, "pass --input-size"),
        (["made.npz", "--model", "m.onnx", "--outputs", "odds"], 1, "--outputs 'odds' does not"),
        (["made.npz", "--model", "m.onnx", "--normalize", "1/0"], 1, "--normalize '1/0' is none"),
        (["made.npz", "--model", "m.onnx", "--crop-pct", "7"], 1, "not between 0.1 and 1"),
        (["made.npz", "--model", "m.onnx", "--classes", "a,a"], 1, "names a class twice"),
        (["run", "made.npz", "--input-size", "64"], 1, "a model of medgraft's"),
    ],
)
def test_what_is_typed_wrongly(
    words: list[str],
    code: int,
    text: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(file.parent)
    (file.parent / "run").mkdir(exist_ok=True)
    (file.parent / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (file.parent / "is.onnx").touch()
    assert call("audit", *words, "--no-groups", "--quiet", monkeypatch=monkeypatch) == code
    assert text in capsys.readouterr().err
