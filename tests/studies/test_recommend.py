from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medgraft.errors import LeakError
from medgraft.studies.recommend import (
    allowed_loss,
    choose_in_resamples,
    explain_choice,
    recommend,
)
from medgraft.types import Estimate, Grouping, ImageTable, Predictions, Source


def predictions(key: str, noise: float, n: int = 400, seed: int = 1) -> Predictions:
    """Two classes told apart by one number with so much noise; the same truth for every key."""
    y = np.arange(n) % 2
    rng = np.random.default_rng(seed)
    f = (2 * y - 1) + noise * rng.normal(size=n)
    p = 1 / (1 + np.exp(-2 * f))
    ids = np.array([f"i{k}" for k in range(n)])
    return Predictions(
        scenario=key,
        classes=("a", "b"),
        positive="b",
        ids=ids,
        groups=ids,
        splits=np.full(n, "train"),
        fold=np.arange(n) // 2 % 5,
        y_true=y,
        scores=np.stack([-f / 2, f / 2], axis=1),
        y_prob=np.stack([1 - p, p], axis=1),
    )


def auroc(p: Predictions) -> float:
    """By definition: the share of pairs in the right order."""
    positive, negative = p.scores[p.y_true == 1, 1], p.scores[p.y_true == 0, 1]
    return float((positive[:, None] > negative[None]).mean())


def chosen(*given: Predictions) -> str:
    return recommend(given, [auroc(p) for p in given], "auroc").recommended


def test_a_simpler_scenario_that_is_as_good_is_taken() -> None:
    best = predictions("deep", 0.8)
    almost = dataclasses.replace(best, scenario="simple")
    assert chosen(almost, best) == "simple"


def test_a_simpler_scenario_that_is_clearly_worse_is_not() -> None:
    assert chosen(predictions("simple", 2.5), predictions("deep", 0.8)) == "deep"


def test_being_perhaps_as_good_is_not_enough() -> None:
    """Independent noise of the same size: the loss is allowed, its upper bound is not."""
    deep = predictions("deep", 1.5, n=100, seed=0)
    near = (predictions("simple", 1.5, n=100, seed=seed) for seed in range(1, 100))
    simple = next(p for p in near if 0 < auroc(deep) - auroc(p) < 0.01)
    assert chosen(simple, deep) == "deep"


def test_the_allowed_loss_shrinks_where_little_is_left() -> None:
    assert float(allowed_loss(0.80, "auroc")) == 0.01
    assert float(allowed_loss(0.97, "auroc")) == pytest.approx(0.01)
    assert float(allowed_loss(0.997, "auroc")) == pytest.approx(0.001)
    assert float(allowed_loss(0.03, "brier")) == pytest.approx(0.01)  # a third of 0.03
    assert float(allowed_loss(0.006, "brier")) == pytest.approx(0.002)


def test_a_loss_is_chosen_by_its_smallness() -> None:
    good, bad = predictions("good", 0.5), predictions("bad", 3.0)
    brier = [float(((p.y_prob[:, 1] - p.y_true) ** 2).mean()) for p in (bad, good)]
    assert recommend((bad, good), brier, "brier").recommended == "good"


def test_test_images_are_refused() -> None:
    a, b = predictions("a", 1.0), predictions("b", 1.0)
    splits = a.splits.astype("U5").copy()
    splits[7] = "test"
    leaky = dataclasses.replace(a, splits=splits)
    with pytest.raises(LeakError, match=r"1 images of the test split"):
        recommend((leaky, b), [0.8, 0.8], "auroc")


def test_the_winner_of_noise_is_corrected_downwards() -> None:
    """Twenty scenarios that know nothing: the best looks good, and is worth a half."""
    rng = np.random.default_rng(0)
    given = []
    for k in range(20):
        p = predictions(f"s{k}", 1.0, n=200)
        f = rng.normal(size=200)
        q = 1 / (1 + np.exp(-2 * f))
        given.append(
            dataclasses.replace(
                p, scores=np.stack([-f, f], axis=1), y_prob=np.stack([1 - q, q], axis=1)
            )
        )
    values = [auroc(p) for p in given]
    choice = recommend(given, values, "auroc")
    assert max(values) > 0.55
    assert choice.corrected.value < max(values) - 0.03
    assert choice.corrected.low < 0.5 < choice.corrected.high


def test_why_names_images_patients_depth_and_margin() -> None:
    p = predictions("probe/net/deep/svm", 0.8)
    table = ImageTable(
        ids=p.ids,
        sources=tuple(Source(str(id)) for id in p.ids),
        content_hashes=p.ids,
        labels=p.y_true,
        groups=np.array([f"g{k // 4}" for k in range(len(p))]),
        splits=p.splits,
        masks=np.full(len(p), ""),
        classes=p.classes,
        grouping=Grouping(),
    )
    simple = dataclasses.replace(p, scenario="probe/net/shallow/svm")
    value = auroc(p)
    estimates = {q.scenario: Estimate(value, value - 0.1, 1.0, 400, "m") for q in (simple, p)}
    choice = recommend((simple, p), [value, value], "auroc")
    text = explain_choice(choice, estimates, table, "auroc", [("shallow", 0.9), ("deep", 0.95)])
    assert "400 images from 100 groups (fewest: 200 of class a)" in text
    assert "from 0.900 at shallow to 0.950 at deep" in text
    assert "Corrected for having been chosen" in text


@pytest.mark.parametrize("metric", ["auroc", "brier"])
def test_the_rule_repeated_on_all_images_is_the_rule(metric: str) -> None:
    """What is corrected for is the rule that chose: on the images themselves both agree."""
    for seed in range(4):
        given = [predictions(f"s{k}", 1.2 + 0.1 * k, n=120, seed=seed + k) for k in (3, 1, 2, 0)]
        values = [
            auroc(p) if metric == "auroc" else float(((p.y_prob[:, 1] - p.y_true) ** 2).mean())
            for p in given
        ]
        choice = recommend(given, values, metric)
        losses = np.array([choice.loss(p.scenario, metric) for p in given])
        sign = 1 if metric == "auroc" else -1
        point = sign * (values[[p.scenario for p in given].index(choice.best)] - np.array(values))
        (again,) = choose_in_resamples(np.array(values)[:, None], losses - point, metric)
        assert given[int(again)].scenario == choice.recommended
        assert "the rule is repeated" in choice.corrected.method


def test_a_scenario_of_uncertain_loss_is_not_taken_in_resamples() -> None:
    """Losses .005 of .01 allowed; slack decides by hand: .004 leaves .006, .006 leaves .004."""
    resampled = np.array([[0.895], [0.900]])
    assert choose_in_resamples(resampled, np.array([0.004, 0.0]), "auroc").tolist() == [0]
    assert choose_in_resamples(resampled, np.array([0.006, 0.0]), "auroc").tolist() == [1]
    # the best of a resample is always allowed, however wide its own loss was on all images
    assert choose_in_resamples(resampled, np.array([0.5, 0.5]), "auroc").tolist() == [1]


def test_what_is_barred_is_taken_only_where_nothing_else_is_close() -> None:
    best = predictions("deep", 0.8)
    given = [dataclasses.replace(best, scenario=key) for key in ("simple", "middle")] + [best]
    values = [auroc(p) for p in given]
    found = recommend(given, values, "auroc", barred=["simple"])
    assert found.recommended == "middle"
    assert found.close == ("simple", "middle", "deep")
    assert recommend(given, values, "auroc", barred=found.close).recommended == "simple"
    barred = np.array([True, False, False])
    even = np.full((3, 2), 0.9)
    assert choose_in_resamples(even, np.zeros(3), "auroc", barred).tolist() == [1, 1]
    assert choose_in_resamples(even, np.zeros(3), "auroc", np.full(3, True)).tolist() == [0, 0]
    alone = np.array([[0.9, 0.7], [0.7, 0.9], [0.7, 0.7]])  # in the first the barred one is alone
    assert choose_in_resamples(alone, np.zeros(3), "auroc", barred).tolist() == [0, 1]
