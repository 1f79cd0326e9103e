"""What a study's page, its terminal and its JSON say of training: made-up runs, known answers."""

from __future__ import annotations

import dataclasses
import io
import json
import math

import fabricate
import numpy as np
import pytest
from PIL import Image
from test_report_page import Page

from medgraft import terminal
from medgraft.report.charts.training_curves import history, history_png
from medgraft.report.pages.study import render
from medgraft.report.sections import training
from medgraft.report.text import scenario_names
from medgraft.report.training_json import training_json
from medgraft.results.study import ReportInput
from medgraft.results.training import DepthSearch, Epoch, TrainedScenario, TrainingLog, best_epoch
from medgraft.scenario import Finetune
from medgraft.studies.training import gap, trained_stages
from medgraft.types import Cost, Scenario

DEPTHS = scenario_names.depths_in_words(fabricate.DEPTHS)


@pytest.fixture(scope="module")
def content() -> ReportInput:
    return fabricate.with_training(fabricate.study())


@pytest.fixture(scope="module")
def page(content: ReportInput) -> Page:
    return Page(render(content))


def test_the_gap_is_what_it_is_by_hand() -> None:
    runs = {
        "fold 1": fabricate.run([0.5, 0.2, 0.1], [0.6, 0.5, 0.7]),  # best at 1: .3; last: .6
        "fold 2": fabricate.run([0.5, 0.3], [0.6, 0.4]),  # best at 1: .1; last: .1
    }
    found = gap(runs)
    assert found.loss == pytest.approx((0.2, 0.1, 0.3))
    assert found.last == pytest.approx((0.35, 0.1, 0.6))
    # AUROC of what was learned from is 1 - loss / 9.
    assert found.auroc == pytest.approx((0.2 / 9, 0.1 / 9, 0.3 / 9))
    assert (found.learned, found.held) == pytest.approx((0.25, 0.45))
    assert training.gap_sentence(found) == (
        "At the kept epoch the log loss is 0.250 on images that were learned from and 0.450 on "
        "images held out. The difference of 0.200 (0.100 to 0.300 by run) is overfitting; in AUROC "
        "it is 0.022 (0.011 to 0.033 by run). At the last epoch it was 0.350 (0.100 to 0.600 by "
        "run) in log loss."
    )


def test_no_overfitting_is_said_where_there_is_none() -> None:
    runs = {"fold 1": fabricate.run([0.5, 0.4], [0.5, 0.3])}
    assert training.gap_sentence(gap(runs)).endswith("no overfitting is seen there.")


def test_a_run_that_broke_off_counts_to_its_last_good_epoch() -> None:
    nothing = (math.nan, math.nan, math.nan)
    broken = Epoch(3, 1e-3, 9, nothing, nothing, False, "the loss of epoch 3 is not a number")
    run = (*fabricate.run([0.5, 0.2, 0.1], [0.6, 0.5, 0.7]), broken)
    assert gap({"fold 1": run}).last[0] == pytest.approx(0.6)
    history("x", {"fold 1": run})


def test_a_run_that_holds_nothing_out_is_not_drawn() -> None:
    log = fabricate.training_log()
    assert list(log.held_out) == ["fold 1", "fold 2", "fold 3"]
    assert [best_epoch(run) for run in log.held_out.values()] == [3, 2, 4]


def test_the_page_tells_how_training_went(page: Page) -> None:
    assert "What training added" in page.words
    assert "Trained from blocks.4 on (the last 2 of 7 stages are trained)" in page.words
    assert "is overfitting" in page.words
    assert "Epoch 0 is the network before training" in page.words
    assert "for 3 epochs, about the mean kept epoch of the folds" in page.words
    assert "fold 3 4 of 6" in page.words


@pytest.mark.parametrize(
    ("deploy", "last", "said"),
    [
        ("distilled", 4, "It answers in one pass an image, where the mean of those 3 networks"),
        ("once", 4, "trained once more on all development images, for 3 epochs"),
        ("folds", 3, "An image costs 3 passes, with --training deploy=distilled one."),
    ],
)
def test_what_is_deployed_is_told_with_what_it_costs_in_use(
    deploy: str, last: int, said: str
) -> None:
    runs = dict(list(fabricate.training_log().histories.items())[:last])
    scenario = dataclasses.replace(fabricate.TRAINED, classifier=Finetune((("deploy", deploy),)))
    assert said in training._deployed(runs, scenario)


def test_the_chosen_depth_stands_with_its_margin_and_how_sure_it_is(page: Page) -> None:
    assert (
        "Chosen was blocks.4 (the last 2 of 7 stages are trained), in the last round before "
        "blocks.5 (the last of 7 stages is trained) by +0.004 in AUROC (paired 95 % interval "
        "−0.002 to +0.010; p = 0.21, corrected): these images cannot tell the two apart."
    ) in page.words.replace("\u00a0", " ")
    assert "1,200 images, 2 epochs" in page.words
    assert "2,400 images, 3 epochs" in page.words
    assert "Everything is trainedinput 0.958" in page.words  # a line of its own in the cell


def test_a_margin_that_chance_does_not_explain_is_called_so() -> None:
    search = fabricate.depth_search()
    sure = dataclasses.replace(search, comparisons=search.comparisons[2:])
    assert "that is more than chance explains" in training.depth_sentence(sure, DEPTHS)
    alone = dataclasses.replace(search, comparisons=())
    said = training.depth_sentence(alone, DEPTHS)
    assert "nothing left to compare it with" in said


def test_where_lower_is_better_the_nearest_is_the_next_lowest() -> None:
    search = fabricate.depth_search()
    turned = tuple(
        dataclasses.replace(one, difference=-one.difference, low=-one.high, high=-one.low, p=p)
        for one, p in zip(search.comparisons, (0.01, 0.01, 0.01), strict=True)
    )
    lower: DepthSearch = dataclasses.replace(search, metric="log_loss", comparisons=turned)
    said = training.depth_sentence(lower, DEPTHS)
    assert "before blocks.5" in said
    assert "more than chance explains" in said


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("better", "earned its place here: +0.012 in AUROC"),
        ("worse", "did harm here: −0.013 in AUROC"),
        ("no difference seen", "did not earn its place here: +0.002 in AUROC"),
    ],
)
def test_whether_training_earned_its_place_is_said(answer: str, says: str) -> None:
    content = fabricate.with_training(fabricate.study(), answer=answer)
    _, names = scenario_names.short_names(content.scenarios)
    said = " ".join(training.earned(content.result, names))
    assert f"Training the network again {says}" in said
    assert "leaves the network frozen" in said  # the recommended one
    assert ("a frozen network is the simpler one" in said) == answer.startswith("no")


def test_without_a_probe_it_is_not_known_whether_training_pays(content: ReportInput) -> None:
    result = dataclasses.replace(content.result, questions=())
    _, names = scenario_names.short_names(content.scenarios)
    assert "is not known here; add probe" in training.earned(result, names)[0]


def test_what_changed_views_mean_stands_near_the_figures(content: ReportInput, page: Page) -> None:
    assert page.words.count(training.CHANGED) == 1  # under What we tried
    assert page.words.count(training.CHANGED_SHORT) == 1  # under How good, exactly
    plain = Page(render(dataclasses.replace(content, changed=False))).words
    assert "mislead" not in plain
    untested = fabricate.with_training(fabricate.study(tested=False))
    assert Page(render(untested)).words.count(training.CHANGED_SHORT) == 2  # under the headline


def test_a_study_without_training_has_no_such_part() -> None:
    words = Page(render(fabricate.study())).words
    assert "What training added" not in words
    assert "overfitting" not in words.partition("What the words mean")[0]


def test_where_nothing_was_better_than_no_training_it_is_said(content: ReportInput) -> None:
    run = fabricate.run([0.5, 0.4], [0.3, 0.6])
    log = TrainingLog("input", {"fold 1": run, "fold 2": run}, None)
    one = TrainedScenario(fabricate.TRAINED.key, log, fabricate.DEPTHS, gap(log.held_out))
    words = Page(render(dataclasses.replace(content, trainings=(one,)))).words
    assert "In 2 of 2 folds no epoch was better than the network before training." in words
    assert "Trained from input on (everything is trained), as was asked for" in words


def test_the_same_runs_give_the_same_bytes() -> None:
    runs = fabricate.training_log().held_out
    assert history("a", runs) == history("a", runs)
    assert history_png(runs) == history_png(runs)
    picture = np.asarray(Image.open(io.BytesIO(history_png(runs))).convert("RGB"))
    assert picture.shape == (600, 1440, 3)
    assert (picture[0, 0] == 255).all()
    # Held out is blue (0, 114, 178), learned from orange: in the colours of paper, not stand-ins.
    assert (np.abs(picture.astype(int) - (0, 114, 178)).sum(axis=2) < 6).any()
    assert (np.abs(picture.astype(int) - (213, 94, 0)).sum(axis=2) < 6).any()


def test_the_json_holds_no_nan_and_every_epoch() -> None:
    found = training_json({"key": fabricate.training_log()})
    text = json.dumps(found, allow_nan=False)
    read = json.loads(text)["key"]
    assert [len(run) for run in read["histories"].values()] == [6, 5, 7, 4]
    assert read["histories"]["all images"][1]["holdout"] == [None, None, None]
    assert read["search"]["chosen"] == read["depth"] == "blocks.4"
    assert read["search"]["trials"][0]["estimate"]["value"] == 0.958


def test_the_terminal_says_it_in_a_line_or_two(
    content: ReportInput, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, names = scenario_names.short_names(content.scenarios)
    terminal.show_training(content.trainings, names, changed=True)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    flat = " ".join(said.split())
    assert "trained from blocks.4 on (the last 2 of 7 stages are trained)" in flat
    assert "kept epoch 3.0 on average, overfitting 0.120" in flat
    assert "Depth: Chosen was blocks.4" in flat
    assert training.CHANGED_SHORT in flat
    terminal.show_training((), names, changed=False)
    assert capsys.readouterr().out == ""


# --------------------------------------------------------------------------- names


class Stage:
    """A tap with so many parameters up to it."""

    def __init__(self, parameters: int) -> None:
        self.cost = Cost(0, parameters)


class Net:
    """Three stages, and a tap behind the second one's end (a pool, which has no weights)."""

    def __init__(self) -> None:
        self.stages = [Stage(10), Stage(30), Stage(70)]
        self.taps = {"stem": Stage(2), "pool2": Stage(30), "one": Stage(10), "three": Stage(70)}

    def tap(self, name: str) -> Stage:
        return self.taps[name]


def test_depths_in_words() -> None:
    depths = {name: trained_stages(name, Net()) for name in ("input", *Net().taps)}  # type: ignore[arg-type]
    said = scenario_names.depths_in_words(depths)
    assert said == {
        "input": "everything is trained",
        "stem": "all 3 stages are trained",
        "one": "the last 2 of 3 stages are trained",
        "pool2": "the last of 3 stages is trained",
        "three": "only what follows the 3 stages is trained",
    }


def test_trained_scenarios_are_named_by_what_tells_them_apart() -> None:
    probe = Scenario.from_key("probe/net/blocks.4/svm")
    best = Scenario.from_key("finetune/net/best/strong/logistic")
    whole = dataclasses.replace(best, tap="input")
    deep = dataclasses.replace(best, tap="blocks.4")
    _, names = scenario_names.short_names([probe, best, whole, deep])
    assert list(names.values()) == [
        "blocks.4 · svm", "trained, best depth", "trained whole", "trained from blocks.4",
    ]  # fmt: skip
    slower = dataclasses.replace(best, classifier=Finetune((("rate_decay", "0.5"),)))
    _, names = scenario_names.short_names([best, slower])
    assert names[slower.key] == "trained, best depth · rate decay 0.5"
    said = scenario_names.sentence(deep)
    assert "was trained on your development images, from its layer blocks.4 on" in said
    assert "left as it is" not in said
