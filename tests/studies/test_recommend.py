from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from medgraft.errors import LeakError
from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.winners_curse import resample_in_and_out
from medgraft.results.figures import Comparison
from medgraft.results.recommendation import Rationale
from medgraft.studies.recommend import Recommendation, explain_choice, recommend
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


def choice_of(
    *given: Predictions, metric: str = "auroc", barred: tuple[str, ...] = ()
) -> Recommendation:
    drawn = resample_in_and_out(given, metric, sampling=Sampling(resamples=500))
    return recommend(drawn, barred)


def chosen(*given: Predictions) -> str:
    return choice_of(*given).recommended


def test_a_simpler_scenario_that_is_as_good_is_taken() -> None:
    best = predictions("deep", 0.8)
    almost = dataclasses.replace(best, scenario="simple")
    assert chosen(almost, best) == "simple"


def test_a_simpler_scenario_that_is_clearly_worse_is_not() -> None:
    assert chosen(predictions("simple", 2.5), predictions("deep", 0.8)) == "deep"


def test_what_is_seen_to_be_worse_than_allowed_is_not_taken_however_few_the_images() -> None:
    """Independent noise of the same size: two points behind is no luck that is made up for."""
    deep = predictions("deep", 1.5, n=100, seed=0)
    found = (predictions("simple", 1.5, n=100, seed=seed) for seed in range(1, 100))
    behind = next(p for p in found if auroc(deep) - auroc(p) > 0.06)
    assert chosen(behind, deep) == "deep"


def test_on_few_images_the_simpler_is_taken_where_it_is_about_as_good() -> None:
    """To be sure that no more than .01 is lost, 100 images are too few; it is not expected."""
    deep = predictions("deep", 1.5, n=100, seed=0)
    found = (predictions("simple", 1.5, n=100, seed=seed) for seed in range(1, 100))
    near = next(p for p in found if 0 < auroc(deep) - auroc(p) < 0.004)
    choice = choice_of(near, deep)
    assert choice.recommended == "simple"
    assert choice.loss("simple", "auroc") > choice.margin
    assert choice.cost <= choice.margin


def test_a_loss_is_chosen_by_its_smallness() -> None:
    good, bad = predictions("good", 0.5), predictions("bad", 3.0)
    assert choice_of(bad, good, metric="brier").recommended == "good"


def test_test_images_are_refused() -> None:
    a, b = predictions("a", 1.0), predictions("b", 1.0)
    splits = a.splits.astype("U5").copy()
    splits[7] = "test"
    leaky = dataclasses.replace(a, splits=splits)
    with pytest.raises(LeakError, match=r"1 images of the test split"):
        choice_of(leaky, b)


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
    choice = choice_of(*given)
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
    choice = choice_of(simple, p)
    near = Comparison(p.scenario, simple.scenario, 0.004, -0.001, 0.005, 0.1)
    sure = dataclasses.replace(
        choice, recommended=simple.scenario, best=p.scenario, comparisons=(near,)
    )
    by_tap = (("shallow", 0.9), ("deep", 0.95))
    why = explain_choice(sure, estimates, table, "auroc", by_tap)
    assert (why.n_scenarios, why.n_images, why.n_groups) == (2, 400, 100)
    assert (why.smallest_class, why.n_smallest) == ("a", 200)
    assert (why.recommended, why.figure) == (simple.scenario, estimates[simple.scenario])
    assert (why.best, why.best_figure) == (p.scenario, estimates[p.scenario])
    assert (why.margin, why.loss, why.by_tap) == (choice.margin, 0.005, by_tap)
    assert why.non_inferior
    assert why.corrected == choice.corrected
    maybe = dataclasses.replace(near, high=0.03)
    unsure = dataclasses.replace(sure, comparisons=(maybe,), cost=0.0021)
    why = explain_choice(unsure, estimates, table, "auroc")
    assert not why.non_inferior
    assert (why.loss, why.cost) == (0.03, 0.0021)
    alone = dataclasses.replace(choice, recommended=choice.best)
    why = explain_choice(alone, estimates, table, "auroc")
    assert why.recommended == why.best


def test_the_figure_is_corrected_for_the_rule_that_chose() -> None:
    """Twelve of equal worth: what is taken is worth what all are, on average."""
    truth, found, plain = 0.9214, [], []  # Phi(2 / sqrt 2): classes 2 apart, noise 1
    for seed in range(15):
        given = [predictions(f"s{k}", 1.0, n=100, seed=100 * seed + k) for k in range(12)]
        choice = choice_of(*given)
        found.append(choice.corrected.value)
        plain.append(max(auroc(p) for p in given))
    assert np.mean(plain) > truth + 0.02
    assert np.mean(found) == pytest.approx(truth, abs=0.01)


def test_what_is_barred_is_taken_only_where_nothing_else_is_close() -> None:
    best = predictions("deep", 0.8)
    given = [dataclasses.replace(best, scenario=key) for key in ("simple", "middle")] + [best]
    found = choice_of(*given, barred=("simple",))
    assert found.recommended == "middle"
    assert found.close == ("simple", "middle", "deep")
    assert choice_of(*given, barred=found.close).recommended == "simple"


@pytest.mark.parametrize(("best", "margin"), [(0.902, 0.01), (0.93, 0.01)])
def test_so_many_images_as_are_said_to_be_needed_tell_four_times_in_five(
    best: float, margin: float
) -> None:
    """Where the error shrinks with the root of n, and the gap is what it seems to be."""
    value, n, loss = 0.9, 400, 0.08

    def figure(at: float) -> Estimate:
        return Estimate(at, at, at, n, "given")

    facts = Rationale(
        "auroc", 2, n, n, "a", n // 2, "a", figure(value), "b", figure(best), margin, loss, 0.0,
        figure(value),
    )  # fmt: skip
    gap = best - value
    error = (loss - gap) / 1.96 * np.sqrt(n / facts.needed)  # of the difference, with so many
    told = (margin - gap) if gap < margin else gap  # all below the margin, or 0 outside
    assert stats.norm.cdf(told / error - 1.96) == pytest.approx(0.8, abs=0.005)
    assert dataclasses.replace(facts, loss=0.009).needed == 0  # told already
