"""A study of several findings on small images whose truth is known."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import medgraft
from medgraft import api, terminal
from medgraft.audit.evidence import AuditOptions
from medgraft.bundle import explain
from medgraft.bundle.external_validation import evaluate_model
from medgraft.bundle.panel import panel_models, predict_panel, write_panel_predictions
from medgraft.bundle.panel_validation import evaluate_panel, write_panel_external
from medgraft.cli.program import app
from medgraft.data.ingest import load_any
from medgraft.errors import BundleError, DataError, FitError, ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.finetune import Training
from medgraft.learn.fit import load as load_bundle
from medgraft.panel import PRESENT, UNCERTAIN, UNKNOWN, Panel
from medgraft.report.text.panel import audit_sentence
from medgraft.results.panel import FindingAudit
from medgraft.run_folders import folder_of, study_panel_to_folder
from medgraft.runs.read import open_run
from medgraft.studies import audit_budget
from medgraft.studies import run as run_module
from medgraft.studies.audit_candidates import _no_models
from medgraft.studies.options import StudyOptions
from medgraft.studies.panel import PanelStudy, run_panel
from medgraft.studies.run import run_study
from medgraft.studies.store import RunError
from medgraft.studies.together import learned_together
from two_lesions import write_lesions

OPTIONS = StudyOptions(heads=("logistic",), audit=False, learning_curve=False)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory, graphs) -> Extractor:
    folder = tmp_path_factory.mktemp("panel")
    (folder / "graphs").symlink_to(graphs)
    return Extractor(Cache(folder), workers=2)


@pytest.fixture(scope="module")
def panel(tmp_path_factory) -> Panel:
    """Lesions a and b in 70 images, some of them uncertain or unknown, and a rare third."""
    found = load_any(write_lesions(tmp_path_factory.mktemp("images"), 70, faint=30))
    assert isinstance(found, Panel)
    marks = found.marks.copy()
    marks[:8, 0], marks[8:16, 1] = UNCERTAIN, UNKNOWN
    marks[:, 2] = np.arange(70) < 5
    return dataclasses.replace(found, names=("a", "b", "rare"), marks=marks)


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs") / "run"


@pytest.fixture(scope="module")
def study(panel, extractor, out) -> PanelStudy:
    return study_panel_to_folder(panel, OPTIONS, extractor, out, command="medgraft study x")


def test_each_finding_is_judged_where_it_is_known_in_the_same_folds(study, panel):
    known = (panel.truth != UNKNOWN).sum(axis=0)
    assert [one.name for one in study.result.findings] == ["a", "b"]
    assert [one.n_images for one in study.result.findings] == known[:2].tolist()
    fold = dict(zip(study.folds.ids.tolist(), study.folds.assignment, strict=True))
    for name, said in study.oof.items():
        assert [fold[i] for i in said.ids.tolist()] == said.fold.tolist(), name


def test_a_finding_alone_on_these_folds_has_the_same_figures_to_the_bit(study, extractor):
    for one in study.result.findings:
        question = study.panel.question(one.name)
        alone = run_study(
            question, OPTIONS, extractor, folds=study.folds, given=study.result.scenario.one
        )
        row = {r.key: r for r in alone.result.scenarios}[one.scenario]
        assert (row.validation, row.test) == (one.validation, one.test)
        assert np.array_equal(alone.unchanged.y_prob, study.oof[one.name].y_prob)


def test_what_is_too_rare_is_listed_and_not_judged(study):
    (short,) = study.result.short
    assert (short.name, short.images, short.needed) == ("rare", 5 - _tested(study, "rare"), 10)


def _tested(study, name) -> int:
    at = study.panel.names.index(name)
    tested = study.panel.images.splits == "test"
    return int((study.panel.truth[tested, at] == PRESENT).sum())


def test_what_is_uncertain_is_shown_otherwise_too(study):
    a, b = study.result.findings
    assert {one.uncertain: one.n_images for one in a.others} == {"negative": 70, "positive": 70}
    assert {one.uncertain: one.n_with - a.n_with for one in a.others} == {
        "negative": 0, "positive": 8,
    }  # fmt: skip
    assert all(0.3 < one.figure.value <= 1 for one in a.others)
    assert (a.n_uncertain, b.n_uncertain, b.others) == (8, 0, ())


def test_the_mean_is_of_the_findings_and_the_pairs_are_counted(study):
    values = [one.validation["auroc"].value for one in study.result.findings]
    mean = study.result.macro["validation"]["auroc"]
    assert mean.low < mean.value == pytest.approx(np.mean(values))
    truth = study.panel.truth
    both = int(((truth[:, 0] == 1) & (truth[:, 1] == 1)).sum())
    assert study.result.pairs["a", "b"] == both


def test_each_its_own_scenario_where_that_is_asked_for(panel, extractor):
    own = run_panel(panel, OPTIONS, extractor, scenario="own").result
    assert own.scenario.taken == "own"
    assert all(one.scenario == one.own for one in own.findings)


@pytest.mark.slow
def test_a_budget_has_the_weakest_audited_and_changes_no_figure(
    study, panel, extractor, tmp_path, monkeypatch
):
    asked = []

    def audited(scenario, development, options, extractor):
        asked.append((development.table.positive, scenario.key, options.audit_pairs))
        return _no_models(FitError("too few"), AuditOptions())

    monkeypatch.setattr(run_module, "audit_unseen", audited)
    monkeypatch.setattr(audit_budget, "seconds_an_image", lambda *how: 0.001)
    options = dataclasses.replace(OPTIONS, audit=True, budget=3600.0, audit_pairs=30)
    found = study_panel_to_folder(panel, options, extractor, tmp_path / "run").result
    weak, strong = sorted(found.findings, key=lambda one: one.validation["auroc"].low)
    assert asked == [(one.name, one.scenario, 30) for one in (weak, strong)]
    for one, plain in zip(found.findings, study.result.findings, strict=True):
        assert (one.scenario, one.validation, one.test) == (
            plain.scenario, plain.validation, plain.test,
        )  # fmt: skip
        assert one.audit == FindingAudit("INCONCLUSIVE", 30)
    assert found.macro == study.result.macro
    content = json.loads((tmp_path / "run" / "result.json").read_text())
    assert content["findings"][0]["audit"] == {"verdict": "INCONCLUSIVE", "pairs": 30}
    assert json.loads((tmp_path / "run" / "config.json").read_text())["budget"] == 3600
    said = audit_sentence(found)
    assert said.endswith("the weakest finding first: INCONCLUSIVE a and b.")
    assert said in (tmp_path / "run" / "report.html").read_text()
    late = dataclasses.replace(found.findings[0], audit=None)
    cut = dataclasses.replace(found, findings=(late, *found.findings[1:]))
    assert audit_sentence(cut).endswith("INCONCLUSIVE b; no time was left for a.")
    assert audit_sentence(study.result) == ""


TRAINED = dataclasses.replace(
    OPTIONS, families=("finetune",), depths=("blocks.6",), training_size=64, validate="plain",
    training=(("epochs", "1"), ("steps", "0")),
)  # fmt: skip


def test_what_networks_learn_together_is_what_is_judged(study, extractor):
    folds, names = study.folds, ("a", "b")
    assert learned_together(study.panel, names, OPTIONS, extractor, folds) == (OPTIONS, None)
    _, together = learned_together(study.panel, names, TRAINED, extractor, folds)
    assert together.panel.names == names
    assert not (together.panel.images.splits == "test").any()
    at = [folds.ids.tolist().index(one) for one in together.folds.ids.tolist()]
    assert np.array_equal(folds.assignment[at], together.folds.assignment)
    known = dict(zip(study.panel.images.ids.tolist(), study.panel.truth.tolist(), strict=True))
    for name, marks in zip(together.folds.ids.tolist(), together.panel.truth.tolist(), strict=True):
        assert marks == known[name][:2] != [UNKNOWN, UNKNOWN]


def test_no_test_split_is_made_of_what_another_finding_learns_from(panel, extractor):
    marks = panel.marks.copy()
    splits = np.where(np.arange(len(marks)) % 4, "train", "test")
    marks[splits == "test", 0] = UNKNOWN
    split = dataclasses.replace(panel.images, splits=splits)
    official = dataclasses.replace(panel, images=split, marks=marks)
    found = run_panel(official, OPTIONS, extractor)
    untested, other = found.result.findings
    assert (untested.name, untested.test, "a" in found.test) == ("a", None, False)
    assert other.test["auroc"].n == len(official.question("b").test)
    _, together = learned_together(official, ("a", "b"), TRAINED, extractor, found.folds)
    assert not set(together.panel.images.ids) & set(found.test["b"].ids)


@pytest.mark.slow
def test_one_network_a_fold_is_trained_whatever_the_number_of_findings(
    panel, extractor, monkeypatch
):
    trained = []
    real = Training.epochs
    monkeypatch.setattr(
        Training, "epochs", lambda self, *a, **how: trained.append(1) or real(self, *a, **how)
    )
    found = run_panel(panel, TRAINED, extractor)
    assert len(trained) == 5
    assert [one.scenario.split("/")[0] for one in found.result.findings] == ["finetune"] * 2
    assert all(one.test["auroc"].n > 5 for one in found.result.findings)


def test_nothing_to_judge_and_what_is_for_one_question_is_refused(panel, extractor):
    rare = dataclasses.replace(panel, names=("rare",), marks=panel.marks[:, 2:])
    with pytest.raises(FitError, match="the nearest is 'rare'"):
        run_panel(rare, OPTIONS, extractor)
    with pytest.raises(ScenarioError, match="--site"):
        run_panel(panel, dataclasses.replace(OPTIONS, site="x"), extractor)


def test_python_reads_and_studies_a_panel_by_the_same_names(tmp_path, panel, monkeypatch):
    table = write_lesions(tmp_path / "few", 12)
    read = medgraft.load_panel(table, uncertain="negative")
    assert (read.names, read.uncertain, len(read)) == (("a", "b", "drain"), "negative", 12)
    (tmp_path / "one.csv").write_text("path,label\n" + "few/p0000.png,x\nfew/p0001.png,y\n")
    with pytest.raises(DataError, match=r"one question an image \(x, y\)"):
        medgraft.load_panel(tmp_path / "one.csv")
    asked = []
    for name in ("run_panel", "study_panel_to_folder"):
        monkeypatch.setattr(api, name, lambda *a, **how: asked.append((a[0], how)))
    medgraft.study(panel, OPTIONS, scenario="own")
    medgraft.study(panel, OPTIONS, out=tmp_path / "run")
    assert asked == [(panel, {"scenario": "own"}), (panel, {"scenario": "auto"})]


# --------------------------------------------------------------------------- what it leaves


def test_a_run_leaves_an_overview_and_a_run_of_each_finding(study, out):
    assert {path.name for path in out.iterdir()} == {
        "config.json", "run.jsonl", "result.json", "report.html", "findings",
    }  # fmt: skip
    content = json.loads((out / "result.json").read_text())
    assert (content["schema"], content["kind"]) == (1, "panel")
    assert [one["name"] for one in content["findings"]] == ["a", "b"]
    assert [one["name"] for one in content["not_judged"]] == ["rare"]
    for one in content["findings"]:
        alone = json.loads((out / one["folder"] / "result.json").read_text())
        mine = next(row for row in alone["scenarios"] if row["key"] == one["scenario"])
        assert mine["validation"]["auroc"] == one["validation"]["auroc"]
        assert alone["recommended"] == one["scenario"]
        assert (out / one["folder"] / "report.html").is_file()
    page = (out / "report.html").read_text()
    assert "rare has" in page
    assert 'href="findings/a/report.html"' in page
    assert "What is uncertain" in page


def test_a_run_is_known_as_that_of_several_findings(study, out):
    run = open_run(out)
    assert (run.kind, run.state, run.classes) == ("panel", "finished", ("a", "b"))
    assert run.validation == study.result.macro["validation"]["auroc"]
    assert open_run(out / "findings" / "a").kind == "study"


def test_a_run_is_resumed_with_the_same_numbers_and_never_overwritten(study, panel, extractor, out):
    with pytest.raises(RunError, match="--resume"):
        study_panel_to_folder(panel, OPTIONS, extractor, out)
    again = study_panel_to_folder(panel, OPTIONS, extractor, out, resume=True).result
    assert again.macro == study.result.macro


def test_each_classifier_says_of_an_image_what_it_says_alone(
    study, panel, extractor, out, tmp_path, monkeypatch
):
    image = panel.images.sources[0].path
    models = panel_models(out)
    decoded = []
    real = Extractor.decode
    monkeypatch.setattr(
        Extractor, "decode", lambda self, ids, *how: decoded.append(ids) or real(self, ids, *how)
    )
    said, missing = predict_panel(models, [image, "not-there.png"], extractor)
    assert decoded == [[image, "not-there.png"]]  # once for all findings
    assert missing.error
    assert not missing.findings
    for name, p in said.findings.items():
        fitted = load_bundle(out / "findings" / name / "model", extractor)
        one = fitted.predict(study.panel.images.select(study.panel.images.ids == "p0000.png"))[0]
        assert p == pytest.approx(one.y_prob[0, fitted.classes.index(name)], abs=1e-6)
    write_panel_predictions(tmp_path / "said.csv", [said, missing], list(models))
    head, _, second = (tmp_path / "said.csv").read_text().splitlines()
    assert head == "source,findings,probability of a,probability of b,error"
    assert second.startswith("not-there.png,,,,")
    assert panel_models(out / "findings" / "a") == {}


def test_each_classifier_is_judged_elsewhere_where_its_finding_is_known(
    study, extractor, out, tmp_path, capsys
):
    panel = load_any(write_lesions(tmp_path / "there", 30, seed=5, faint=30))
    marks = panel.marks.copy()
    marks[:4, 0], marks[:, 1] = UNKNOWN, PRESENT
    there = dataclasses.replace(panel, marks=marks)
    models = panel_models(out)
    found = evaluate_panel(models, there, extractor)
    assert found.not_judged == {"b": "no image is known to be without it"}
    assert found.findings["a"].by_image.n_images == 26
    alone = evaluate_model(models["a"], there.question("a"), extractor)
    assert found.findings["a"].json() == alone.json()
    assert found.mean.value == alone.by_image.estimates["auroc"].value
    written = write_panel_external(tmp_path / "out", found, models, model="m", data="d")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [
        "evaluation.json", "findings/a/evaluation.html",
    ]  # fmt: skip
    assert json.loads(written[0].read_text())["findings"].keys() == {"a"}
    terminal.show_panel_external(found)
    printed = capsys.readouterr().out
    assert re.search(r"^a +\d+ of 26 +[01]\.\d{3} \(", printed, re.MULTILINE)
    assert "not judged: b, no image is known to be without it." in printed
    other = dataclasses.replace(there, names=("x", "y", "z"))
    with pytest.raises(DataError, match=r"a \(not named there\).*The images name x, y, z"):
        evaluate_panel(models, other, extractor)


def test_commands_that_take_one_finding_say_which_there_are(out, panel, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        explain, "explain_files", lambda folder, *a, **how: asked.append((folder, how)) or ([], ())
    )
    image = panel.images.sources[0].path
    run = CliRunner().invoke(app, ["explain", str(out), image, "--out", str(tmp_path / "maps")])
    assert run.exit_code == 0, run.output
    assert [(folder.name, how["target"]) for folder, how in asked] == [("a", "a"), ("b", "b")]
    with pytest.raises(BundleError, match=r"several findings.*findings.a"):
        medgraft.load_model(out)
    shares = ["evaluate", str(out), image, "--class-shares", "estimate"]
    assert "about one finding" in CliRunner().invoke(app, shares).output.replace("\n", " ")


def test_findings_have_folders_that_every_file_system_takes():
    names = ["Nodule/Mass", "Nodule Mass", "éé", "a"]
    assert [folder_of(names, name) for name in names] == [
        "findings/Nodule_Mass_1", "findings/Nodule_Mass_2", "findings/finding", "findings/a",
    ]  # fmt: skip
