"""What `FittedScenario` promises is enough: a classifier in numpy goes wherever one can go."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from medgraft.audit.evidence import AuditOptions
from medgraft.bundle.audit_model import audit_model, audit_to_folder
from medgraft.bundle.explain import explain_files, explain_layers
from medgraft.bundle.model import load_model
from medgraft.bundle.predict import predict_files
from medgraft.data.ingest import LoadOptions, load
from medgraft.errors import ScenarioError
from medgraft.explain.attribute import attribute, is_read_inside
from medgraft.explain.cam import cam_maps, has_cam
from medgraft.explain.layers import has_layers
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn import fit
from medgraft.learn.bundle_files import read_bundle
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.frozen import FittedFrozen
from medgraft.learn.trained import FittedTrained
from medgraft.report.text.scenario_names import scenario_facts
from medgraft.saved_models import evaluate_model
from medgraft.studies import examples
from medgraft.studies.report_input import classifier_facts
from medgraft.types import Canvas, FittedNetwork, FittedScenario, Geometry, ImageTable
from numpy_model import SIDE, ByBrightness, load_numpy

CORNER = (slice(4, 11), slice(4, 11))  # inside the border ring


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """130 grey images in class folders; those of class 1 have a bright corner. One is broken."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for row in range(130):
        pixels = rng.normal(100, 12, (SIDE, SIDE))
        pixels[CORNER] += 40 * (row % 2 - 0.5)
        (folder / str(row % 2)).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / str(row % 2) / f"{row}.png"), pixels.clip(0, 255).astype(np.uint8))
    (folder / "1" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.fixture(scope="module")
def table(images: Path) -> ImageTable:
    return load(images, LoadOptions(no_groups=True, positive="1"))


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved one, and a reader of its family beside the others."""
    loaders: Any = {**fit.LOADERS, "numpy": lambda folder, _: load_numpy(read_bundle(folder))}
    monkeypatch.setattr(fit, "LOADERS", loaders)
    folder = tmp_path / "model"
    folder.mkdir()
    ByBrightness(CORNER).save(folder)
    return folder


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    return Extractor(Cache(tmp_path / "cache"), workers=1)


def bright_corner() -> Canvas:
    pixels = np.full((SIDE, SIDE), 90, np.uint8)
    pixels[CORNER] = 140
    return Canvas("bright", pixels, Geometry.identity(SIDE, SIDE))


def test_it_is_all_that_is_promised_in_some_forty_lines() -> None:
    assert isinstance(ByBrightness(CORNER), FittedScenario)
    assert len(inspect.getsource(ByBrightness).splitlines()) <= 44
    assert not isinstance(ByBrightness(CORNER), FittedNetwork)


@pytest.mark.parametrize("kind", [FittedFrozen, FittedTrained, FittedEnsemble])
def test_every_kind_has_what_is_promised(kind: type) -> None:
    promise = FittedScenario if kind is FittedEnsemble else FittedNetwork
    promised = {name for name in dir(promise) if not name.startswith("_")}
    assert promised <= {*dir(kind), *kind.__dataclass_fields__}  # type: ignore[attr-defined]


def test_saved_loaded_and_asked(bundle: Path, images: Path, tmp_path: Path) -> None:
    fitted = load_model(bundle.parent, cache=tmp_path / "cache")
    assert fitted == ByBrightness(CORNER)
    rows = predict_files(fitted, [str(images)])
    assert len(rows) == 131
    for row in rows:
        truth = Path(row.source).parent.name
        assert (row.answer and row.answer.label) == (None if row.error else truth)
    assert [row.source for row in rows if row.error] == [str(images / "1" / "broken.png")]


def test_evaluated_with_a_page(
    bundle: Path, table: ImageTable, extractor: Extractor, tmp_path: Path
) -> None:
    found = evaluate_model(str(bundle), table, out=tmp_path, extractor=extractor)
    assert found.by_image.n_images == 130
    assert found.by_image.estimates["accuracy"].value == 1.0
    assert len(found.skipped) == 1
    page, answer = tmp_path / "evaluation.html", tmp_path / "evaluation.json"
    assert "130 images" in page.read_text(encoding="utf-8")
    assert json.loads(answer.read_text())["scenario"] == ByBrightness.scenario.key


def test_explained_by_occlusion_and_no_map_is_made_up() -> None:
    fitted = ByBrightness(CORNER)
    (one,) = attribute(fitted, [bright_corner()])
    assert one.target == "1"
    assert one.method.startswith("occlusion")
    assert one.map[CORNER].mean() > 10 * one.map[32:, 32:].mean()
    assert not is_read_inside(fitted)
    assert not has_cam(fitted)
    with pytest.raises(ScenarioError, match="ask for occlusion"):
        cam_maps(fitted, [bright_corner()])


def test_its_files_are_explained(bundle: Path, images: Path, tmp_path: Path) -> None:
    files = sorted((images / "1").glob("*.png"))[:2]
    for method in ("occlusion", "auto"):
        written, _ = explain_files(bundle, files, tmp_path, method=method)
        assert [path.is_file() for path in written] == [True, True]
    with pytest.raises(ScenarioError, match="ask for occlusion"):
        explain_files(bundle, files, tmp_path, method="gradcam")
    with pytest.raises(ScenarioError, match="no network whose layers"):
        explain_layers(bundle, files, tmp_path)


def test_audited_with_a_page(
    bundle: Path, table: ImageTable, extractor: Extractor, tmp_path: Path
) -> None:
    options = AuditOptions("xray", pairs=40)
    found = audit_model(bundle, table, options, extractor=extractor)
    assert found.audit.result.verdict == "FAIL"
    checks = {finding.check for finding in found.audit.result.findings}
    assert {"alone_not_measured", "heatmaps_not_measured"} <= checks  # and it says why
    page, answer = audit_to_folder(found, tmp_path, model="model", data="images")
    assert "the top left corner" in page.read_text(encoding="utf-8")
    assert json.loads(answer.read_text())["verdict"] == "FAIL"


def test_a_study_of_it_has_a_report(extractor: Extractor) -> None:
    """What the report asks of a fitted scenario."""
    fitted = ByBrightness(CORNER)
    facts = scenario_facts(classifier_facts(fitted)).facts
    assert facts["Input"] == f"{SIDE} px, resized by squash"
    assert "Encoder" not in facts
    reason, maps = examples._maps(fitted, [bright_corner()], ["1"], extractor.cache)
    assert reason
    assert maps == [()]
    assert not has_layers(fitted)
