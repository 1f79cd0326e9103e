"""The page of an external validation, and what is known of the images a model learned from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import fabricate
import numpy as np
import pytest
from test_report_page import Page

from medgraft.bundle.external_validation import ExternalValidation, write_external
from medgraft.evaluate.curves import draw_curves
from medgraft.evaluate.estimates import evaluate, evaluate_by_group
from medgraft.report.pages.evaluation import EvaluationInput, headline, render_evaluation
from medgraft.studies.store import read_learned_from, write_predictions
from medgraft.types import Estimate, Finding, Operating, Predictions, SeenBefore, Skipped

AT = Operating(0.5, "highest balanced accuracy")
SKIPPED = (Skipped("far/away.png", "the file ends before the picture does"),)


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    return fabricate.predictions(("NORMAL", "PNEUMONIA"), "PNEUMONIA", 90, "test", 4, 1.0)


@pytest.fixture(scope="module")
def content(predictions: Predictions) -> EvaluationInput:
    return EvaluationInput(
        model="runs/chest/model",
        data="elsewhere/hospital b",
        metric="auroc",
        scenario=predictions.scenario,
        curves=draw_curves(predictions, fabricate.FAST),
        evaluation=evaluate(predictions, AT, sampling=fabricate.FAST),
        by_patient=evaluate_by_group(predictions, AT, fabricate.FAST),
        skipped=SKIPPED,
        learned={"NORMAL": 900, "PNEUMONIA": 100},
        command="medgraft evaluate runs/chest 'elsewhere/hospital b' --out E",
    )


@pytest.fixture(scope="module")
def page(content: EvaluationInput) -> Page:
    return Page(render_evaluation(content).replace("\u00a0", " "))


def test_one_sentence_leads_with_the_number_its_interval_and_n(
    content: EvaluationInput, page: Page
) -> None:
    one = content.evaluation.estimates["auroc"]
    assert (
        f"PNEUMONIA is told from NORMAL with AUROC {one.value:.3f} (95 % interval "
        f"{one.low:.3f}–{one.high:.3f}) on 90 images of hospital b."
    ) in page.words


def test_the_page_says_which_model_which_data_and_what_was_skipped(page: Page) -> None:
    for said in (
        fabricate.CHOSEN,
        "runs/chest/model",
        "elsewhere/hospital b",
        "Nothing was chosen or refitted on them.",
        "1 image could not be used.",
        "far/away.png: the file ends before the picture does",
        "For research only",
    ):
        assert said in page.words


def test_the_page_loads_nothing_and_its_links_lead_somewhere(page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {a["href"] for a in page.all("a")}
    assert links
    assert {link[1:] for link in links if link} <= set(ids)
    assert not page.all("script")
    assert not page.all("link")
    assert all(b <= a + 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    drawings = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(drawings) == 4  # ROC, precision and recall, decision, reliability


def test_both_pages_show_the_same_figures_of_the_same_predictions(content: EvaluationInput) -> None:
    from medgraft.report.pages.study import render

    studied = fabricate.study()
    one = dataclasses.replace(
        studied, curves=content.curves, test_evaluation=content.evaluation, by_patient=None
    )
    alone = dataclasses.replace(content, by_patient=None)
    start, end = '<h3 id="curves">', "</section>"

    def curves(text: str) -> str:
        return text.split(start)[1].split(end)[0]

    assert curves(render(one)) == curves(render_evaluation(alone))


def test_another_mix_of_classes_is_said_with_both_shares(
    content: EvaluationInput, page: Page
) -> None:
    ill = int(content.evaluation.confusion[1].sum())
    assert f"{100 * ill / 90:.1f} % of these images are PNEUMONIA, against 10.0 %" in page.words
    alike = dataclasses.replace(content, learned={"NORMAL": 90 - ill, "PNEUMONIA": ill})
    assert "mixed differently" not in Page(render_evaluation(alike)).words


@pytest.mark.parametrize(
    ("seen", "warned", "said", "end"),
    [
        (SeenBefore(90, 0, 0, 0, 0), False, "None of these images is one that the model", "b."),
        (SeenBefore(90, 0, 0, 9, 0), False, "None of these images is one that the model", "b."),
        (SeenBefore(90, 0, 0), False, "other images of these patients is not known", "b."),
        (SeenBefore(90, 0, 0, 0, 5), True, "5 other images are of a patient or group", "b."),
        (SeenBefore(99, 6, 3, 0, 0), True, "learned from 9 of the 99 images (6", "has not seen."),
        (SeenBefore(90, None, None, 0, 0), False, "None of these images bears the name", "b."),
        (SeenBefore(90), False, "cannot be known", "b."),
        (
            SeenBefore(90, None, None, 70, 0), True, "70 of the 90 images bear the name of an",
            "b, and it may have learned from 70 of them.",
        ),
    ],
)  # fmt: skip
def test_whether_the_images_were_learned_from_is_never_left_open(
    content: EvaluationInput, seen: SeenBefore, warned: bool, said: str, end: str
) -> None:
    both = content.evaluation if seen.certain else None
    changed = dataclasses.replace(content, seen=seen, with_seen=both)
    page = Page(render_evaluation(changed))
    assert said in page.words
    assert ("WARN" in page.words) == warned
    assert ("With the 9 learned from" in page.words) == bool(both)
    assert headline(changed).endswith(end)


def test_no_more_is_claimed_than_the_images_show(content: EvaluationInput) -> None:
    evaluation = content.evaluation

    def said(n_groups: int, *ends: float) -> str:
        estimates = {**evaluation.estimates, "auroc": Estimate(*ends, 90, "DeLong")}
        changed = dataclasses.replace(evaluation, n_groups=n_groups, estimates=estimates)
        return headline(dataclasses.replace(content, evaluation=changed))

    assert said(8, 1.0, 0.63, 1.0) == (
        "90 images of hospital b, of 8 groups, are too few to judge whether PNEUMONIA is told from "
        "NORMAL: AUROC 1.00 (95 % interval 0.630–1.00)."
    )
    assert said(20, 0.7, 0.51, 0.9).startswith("PNEUMONIA is told from NORMAL with AUROC 0.700")
    assert said(20, 0.6, 0.48, 0.7) == (
        "It is not shown that PNEUMONIA is told from NORMAL: AUROC 0.600 (95 % interval "
        "0.480–0.700, and guessing gives 0.500) on 90 images of hospital b."
    )
    assert said(20, 0.3, 0.2, 0.4).startswith("It is not shown that")


def test_a_metric_these_data_leave_undefined_gives_way_to_accuracy(
    content: EvaluationInput,
) -> None:
    evaluation = content.evaluation
    undefined = {**evaluation.estimates, "auroc": Estimate(np.nan, np.nan, np.nan, 90, "none")}
    ill = np.zeros_like(evaluation.confusion)
    ill[1] = (0, 90)

    def said(confusion: np.ndarray, **others: Estimate) -> str:
        changed = dataclasses.replace(
            evaluation, confusion=confusion, estimates={**undefined, **others}
        )
        return headline(dataclasses.replace(content, evaluation=changed))

    # Of one class nothing is told, though who calls everything so is always right.
    alone = said(ill, accuracy=Estimate(1.0, 0.96, 1.0, 90, "Wilson"))
    assert alone.startswith("90 images of hospital b are all of PNEUMONIA, so that nothing can be")
    assert "nan" not in alone
    # 95 in 100 are right by guessing where 95 in 100 are ill.
    ill[0] = (0, 5)
    guessed = said(ill, accuracy=Estimate(0.95, 0.88, 0.98, 95, "Wilson"))
    assert guessed.startswith("It is not shown that PNEUMONIA is told from NORMAL: accuracy")


def test_classes_that_these_images_lack_are_not_told_apart(content: EvaluationInput) -> None:
    three = dataclasses.replace(
        content.evaluation,
        classes=("a", "b", "c"),
        positive=None,
        confusion=np.array([[40, 5, 0], [5, 40, 0], [0, 0, 0]]),
    )
    said = headline(dataclasses.replace(content, evaluation=three))
    assert said.startswith("2 classes are told apart")


def test_figures_at_other_class_shares_stand_beside_the_usual_ones(
    content: EvaluationInput,
) -> None:
    other = dataclasses.replace(
        content.evaluation,
        estimates={**content.evaluation.estimates, "ppv": Estimate(0.123, 0.1, 0.2, 90, "Wilson")},
    )
    stored = Finding("stored_values", "warn", "Some are darker.", remedy="Look at them.")
    shares = {"NORMAL": 0.7, "PNEUMONIA": 0.3}
    page = Page(
        render_evaluation(
            dataclasses.replace(content, adjusted=other, shares=shares, findings=(stored,))
        )
    )
    assert "NORMAL 70.0 % and PNEUMONIA 30.0 %" in page.words
    assert "At the class shares given" in page.words
    assert "12.3 %" in page.words
    assert "Some are darker. Look at them." in page.words


def test_a_threshold_that_was_set_elsewhere_is_not_called_the_studys(
    content: EvaluationInput,
) -> None:
    assert "The study chose that threshold" in Page(render_evaluation(content)).words
    rule = "half of the way to as many positive as out of fold, set on 300 unlabelled images"
    moved = dataclasses.replace(content.evaluation, operating=Operating(0.4, rule))
    words = Page(render_evaluation(dataclasses.replace(content, evaluation=moved))).words
    assert "That threshold was set at another place, on images without labels" in words
    assert "The study chose" not in words


# --------------------------------------------------------------------------- bundle


def test_what_a_run_learned_from_is_counted_without_its_test_images(
    predictions: Predictions, tmp_path: Path
) -> None:
    # Eight rows: of the first six, in development, four are NORMAL; the other scenario is no
    # business of this model.
    rows = predictions.select(np.arange(8))
    rows = dataclasses.replace(
        rows,
        y_true=np.array([0, 0, 0, 0, 1, 1, 1, 0]),
        splits=np.array(["train"] * 5 + ["val"] + ["test"] * 2),
    )
    other = dataclasses.replace(rows, scenario="probe/other", splits=np.full(8, "train"))
    write_predictions(tmp_path / "predictions.parquet", [rows, other])
    (tmp_path / "result.json").write_text('{"metric": "mcc"}')
    found = read_learned_from(tmp_path, rows.scenario)
    assert (found.metric, found.by_class) == ("mcc", {"NORMAL": 4, "PNEUMONIA": 2})
    assert found.ids == set(rows.ids[:6].tolist())
    own = rows.groups == rows.ids  # an image without a patient is no patient
    assert found.patients == set(rows.groups[:6][~own[:6]].tolist())


def test_a_model_outside_its_run_is_not_guessed_about(
    predictions: Predictions, tmp_path: Path
) -> None:
    found = read_learned_from(tmp_path, predictions.scenario)
    assert (found.metric, found.by_class, found.ids) == ("auroc", {}, set())


def test_page_and_json_are_written_whole(
    content: EvaluationInput, predictions: Predictions, tmp_path: Path
) -> None:
    evaluation = content.evaluation
    undefined = {**evaluation.estimates, "ppv": Estimate(np.nan, np.nan, np.nan, 0, "none")}
    found = ExternalValidation(
        predictions,
        dataclasses.replace(evaluation, estimates=undefined),
        None,
        SKIPPED,
        SeenBefore(99, 7, 2, 3, 0),
        with_seen=evaluation,
    )
    page, answer = write_external(tmp_path / "new" / "E", found, model="M", data="D")
    assert {file.name for file in page.parent.iterdir()} == {"evaluation.html", "evaluation.json"}
    assert "PPV not measured" in Page(page.read_text(encoding="utf-8")).words
    read = json.loads(answer.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert (read["model"], read["data"], read["names_learned_from"]) == ("M", "D", 3)
    assert read["seen"] == {
        "n": 99, "same_file": 7, "same_picture": 2, "same_name": 3, "same_patient": 0,
    }  # fmt: skip
    assert read["with_seen"]["confusion"] == evaluation.confusion.tolist()
    assert read["by_image"]["metrics"]["ppv"]["value"] is None
    assert read["by_image"]["confusion"] == evaluation.confusion.tolist()
    assert read["skipped"] == [{"source": SKIPPED[0].source, "reason": SKIPPED[0].reason}]
