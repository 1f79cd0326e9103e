"""The proof of the recommendation: draws, the score of codes, regrets, what is tuned elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from medgraft.evaluate.compare import of_all, paired_cases
from medgraft.features.cache import Cache
from medgraft.types import FeatureSpec, Predictions
from recommendation.cell import errors
from recommendation.fields import BETTER, EVERYTHING, LINEAR
from recommendation.held_codes import HeldCache
from recommendation.logme import logme
from recommendation.policies import within_one_error
from recommendation.regret import ELSEWHERE, THUMB, Cell, Regret, of_policies, regrets, summary
from recommendation.sets import LEAST, draw_rows
from simulated_scenarios import distance, sim

# --------------------------------------------------------------------------- draws


def test_a_draw_takes_whole_groups_and_keeps_the_shares_of_classes() -> None:
    labels = np.repeat([0, 1, 2], [600, 380, 20])
    groups = np.array([f"{c}-{i // 3}" for i, c in enumerate(labels)])
    rows = draw_rows(groups, labels, 100, 0)
    inside = np.isin(groups, groups[rows])
    assert np.array_equal(np.flatnonzero(inside), rows)
    counts = np.bincount(labels[rows])
    assert len(np.unique(groups[rows][labels[rows] == 2])) >= LEAST
    assert counts[0] / counts[1] == pytest.approx(600 / 380, rel=0.15)
    assert 100 <= len(rows) <= 120
    assert not np.array_equal(rows, draw_rows(groups, labels, 100, 1))
    assert np.array_equal(rows, draw_rows(groups, labels, 100, 0))


# --------------------------------------------------------------------------- LogME


def test_logme_is_the_highest_evidence_of_a_normal_model() -> None:
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((40, 6))
    labels = (codes[:, 0] + 0.5 * rng.standard_normal(40) > 0).astype(np.int64)

    def evidence(target: Any) -> float:
        def lost(logs: Any) -> float:
            cover = np.exp(-logs[0]) * codes @ codes.T + np.exp(-logs[1]) * np.eye(40)
            return -float(stats.multivariate_normal.logpdf(target, np.zeros(40), cover))

        return -float(optimize.minimize(lost, [0.0, 0.0], method="Nelder-Mead").fun)

    expected = np.mean([evidence((labels == c).astype(float)) for c in (0, 1)]) / 40
    assert logme(codes.astype(np.float32), labels) == pytest.approx(expected, abs=1e-4)


def test_logme_prefers_codes_that_tell_the_classes() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 120)
    noise = rng.standard_normal((120, 200)).astype(np.float32)
    telling = noise + np.eye(200, dtype=np.float32)[labels] * 3
    assert logme(telling, labels) > logme(noise, labels) + 0.05


# --------------------------------------------------------------------------- regrets


def test_hindsight_is_chosen_on_the_other_half() -> None:
    worth = np.array([[0.90, 0.70], [0.80, 0.85], [0.85, 0.80]])
    # Best on the first half is the first, worth .70 on the second; the other way .80 on the first.
    assert regrets(worth) == pytest.approx([-5.0, -7.5, -7.5])
    same = np.array([[0.9, 0.9], [0.8, 0.7]])
    assert regrets(same) == pytest.approx([0.0, 15.0])


@dataclass
class _Drawn:
    values: Any
    in_bag: Any
    metric: str = "auroc"


def test_one_standard_error_takes_the_simplest_within_it() -> None:
    bags = np.tile([0.92, 0.96], (3, 50))  # a standard error of .02
    drawn: Any = _Drawn(np.array([0.90, 0.93, 0.94]), bags)
    assert within_one_error(drawn, 2) == 1
    drawn.values = np.array([np.nan, 0.91, 0.94])
    assert within_one_error(drawn, 2) == 2


def test_the_error_of_a_regret_is_that_of_simulated_tests() -> None:
    d = distance(np.array([0.85, 0.88, 0.80])).tolist()
    found, expected = [], []
    half = np.repeat([0, 1], 150)
    for seed in range(80):
        parts = [_on_test(sim(2 * seed + k, 150, 1, d, 0.5), k) for k in (0, 1)]
        whole = [_joined(a, b) for a, b in zip(*parts, strict=True)]
        cases = paired_cases(whole, {})
        weights = np.stack([half == 0, half == 1], axis=1).astype(float)
        worth = of_all(cases, "auroc")(weights)
        fixed = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])  # hindsight is the second
        expected.append((worth[1] - worth[2]).mean())
        found.append(errors(whole, {}, half, fixed))
    mean = np.mean(found, axis=0)
    assert mean[1] == 0
    assert mean[2] == pytest.approx(np.std(expected), rel=0.2)


def _on_test(predictions: list[Predictions], k: int) -> list[Predictions]:
    return [
        replace(
            one,
            ids=np.char.add(f"{k}-", one.ids),
            groups=np.char.add(f"{k}-", one.groups),
            splits=np.full(len(one), "test"),
        )
        for one in predictions
    ]


def _joined(a: Predictions, b: Predictions) -> Predictions:
    columns = ("ids", "groups", "splits", "fold", "y_true", "scores", "y_prob")
    return replace(a, **{c: np.concatenate([getattr(a, c), getattr(b, c)]) for c in columns})


# --------------------------------------------------------------------------- tuned elsewhere


def _cell(data: str, worth: list[float], images: int = 50, far: float = 0.05) -> Cell:
    figures = np.array(worth)[:, None].repeat(2, axis=1)
    return Cell(
        data=data, n=images, draw=0, images=images, distance=far, keys=("a", "b", "c"),
        worth=figures, also=figures, error=np.full(3, 0.01),
        chosen={LINEAR: 0, EVERYTHING: 1, BETTER: 2},
    )  # fmt: skip


def test_a_constant_is_tuned_on_sets_that_share_no_image() -> None:
    cells = [
        _cell("scenes_ot8", [0.9, 0.8, 0.7]),
        _cell("mini_scenes", [0.9, 0.8, 0.7]),
        _cell("skin7", [0.7, 0.8, 0.9]),
    ]
    # Scenes learn from skin alone, which likes the last; skin from scenes, which like the first.
    assert of_policies(cells)[ELSEWHERE].value == pytest.approx([20.0, 20.0, 20.0])


def test_the_rule_of_thumb_learns_what_is_many_elsewhere() -> None:
    few, many = [0.9, 0.7, 0.6], [0.7, 0.9, 0.6]
    cells = [
        _cell(data, worth, images)
        for data in ("scenes_ot8", "skin7")
        for images, worth in ((50, few), (500, many))
    ]
    assert of_policies(cells)[THUMB].value == pytest.approx([0.0] * 4)


def test_every_size_of_every_set_weighs_the_same() -> None:
    cells = [_cell("skin7", [0.9, 0.8, 0.7])] * 9 + [_cell("skin7", [0.9, 0.8, 0.7], 100)]
    value = np.array([0.0] * 9 + [4.0])
    found = summary(cells, Regret(value, np.zeros(10), value))
    assert found.mean[0] == pytest.approx(2.0)
    assert found.high[0] == pytest.approx(4.0)
    assert found.mean[1:] == pytest.approx((2.0, 2.0))  # draws do not differ, nor does the test


def test_draws_of_a_size_count_as_many_as_there_are() -> None:
    """Three draws of one size say less of its mean than twenty of another."""
    rng = np.random.default_rng(0)
    cells = [_cell("skin7", [0.9, 0.8, 0.7])] * 3 + [_cell("skin7", [0.9, 0.8, 0.7], 100)] * 20
    values = rng.standard_normal(23)
    found = summary(cells, Regret(values, np.zeros(23), values))
    wanted = 3.92 * np.sqrt(np.var(values[:3]) / 3 + np.var(values[3:]) / 20) / 2
    assert found.mean[2] - found.mean[1] == pytest.approx(wanted, rel=0.12)


def test_a_median_of_an_even_number_lies_between_the_middle_two() -> None:
    cells = [_cell("skin7", [0.9, 0.8, 0.7])] * 4
    value = np.array([3.0, 0.0, 1.0, 9.0])
    found = summary(cells, Regret(value, np.zeros(4), value), intervals=False)
    assert (found.median, found.high) == ((2.0,), (9.0,))


def test_the_interval_of_a_mean_holds_the_error_of_the_shared_test() -> None:
    cells = [_cell("skin7", [0.9, 0.8, 0.7])] * 20
    found = summary(cells, Regret(np.zeros(20), np.ones(20), np.zeros(20)))
    assert found.mean[1:] == pytest.approx((-1.96, 1.96), abs=0.15)


# --------------------------------------------------------------------------- codes in memory


def test_held_codes_are_those_of_the_cache_and_see_new_segments(tmp_path: Path) -> None:
    spec = FeatureSpec("net", "w", 8, ("last",), ("avg",))
    held, plain = HeldCache(tmp_path).features(spec), Cache(tmp_path).features(spec)
    rng = np.random.default_rng(0)
    blocks = {name: rng.standard_normal((5, 3)).astype(np.float32) for name in ("a@avg", "a@grid")}
    plain.write(np.array(list("edcba")), blocks)
    wanted = np.array(["b", "e", "b"])
    for block in blocks:
        assert np.array_equal(held.read(wanted, block), plain.read(wanted, block))
        assert np.array_equal(held.read(wanted, block), blocks[block][[3, 0, 3]])
    rows = held.rows(wanted, "a@grid")  # which are read from the disk
    assert np.array_equal(rows[np.array([1])], blocks["a@grid"][[0]])
    assert held.missing(np.array(["a", "x"]), ("a@avg",)).tolist() == [False, True]
    plain.write(np.array(["x"]), {"a@avg": np.ones((1, 3), np.float32)})
    assert np.array_equal(held.read(np.array(["x", "a"]), "a@avg")[0], np.ones(3))


def test_only_predictions_of_frozen_scenarios_are_let_go(tmp_path: Path) -> None:
    arrays = {"x": np.ones(2)}
    for kept in (False, True):
        cache = HeldCache(tmp_path / str(kept), predictions=kept)
        for kind in ("predictions", "norms"):
            cache.put(kind, "key", arrays)
        assert (cache.get("predictions", "key") is not None) == kept
        assert cache.get("norms", "key") is not None
