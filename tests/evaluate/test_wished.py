"""Thresholds for a wish: what they promise, by hand and where the truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import special, stats

from medgraft.errors import DataError
from medgraft.evaluate.conformal import OwnProbability
from medgraft.evaluate.metrics import give_labels
from medgraft.evaluate.wished import Of, describe_wishes, operating_at, wished_threshold
from medgraft.types import Predictions


def known(positives: np.ndarray, negatives: np.ndarray) -> OwnProbability:
    """By the probability of the positive class, every image its own patient."""
    p = np.concatenate([negatives, positives])
    truth = np.repeat([0, 1], [len(negatives), len(positives)])
    groups = np.arange(len(p)).astype(str)
    return OwnProbability.of(np.stack([1 - p, p], axis=1), truth, groups)


def test_by_hand_all_but_one_of_nineteen() -> None:
    """For .9 of a 20th: 18 of 19 must lie on the right side, the threshold's own among them."""
    p = np.linspace(0.05, 0.95, 19)
    own = known(positives=p, negatives=p)
    for of, at in (("sensitivity", 0.1), ("specificity", 0.9)):
        found = operating_at(own, 1, of, 0.9)  # type: ignore[arg-type]
        assert found.threshold == pytest.approx(at)
        labels = give_labels(np.stack([1 - p, p], axis=1), 1, found.threshold)
        assert (labels == (1 if of == "sensitivity" else 0)).sum() == 18


@pytest.mark.parametrize("of", ["sensitivity", "specificity"])
def test_a_wish_that_no_threshold_meets_says_what_can_be_had(of: Of) -> None:
    own = known(np.linspace(0.4, 0.9, 40), np.linspace(0.1, 0.6, 40))
    with pytest.raises(DataError, match=r"99 patients .* there are 40; ask for --\w+ 0.975"):
        operating_at(own, 1, of, 0.99)
    assert wished_threshold(own, 1, of, 0.975) is not None


@pytest.mark.parametrize("wanted", [0.0, 1.0, 95.0])
def test_a_wish_is_a_share(wanted: float) -> None:
    with pytest.raises(DataError, match="--sensitivity"):
        operating_at(known(np.ones(20), np.zeros(20)), 1, "sensitivity", wanted)


def test_the_wish_holds_on_average_over_data_sets_of_known_truth() -> None:
    """Log odds normal about 1 and -1: the true sensitivity at a threshold is known."""
    rng = np.random.default_rng(0)
    true = []
    for _ in range(200):
        own = known(special.expit(rng.normal(1, 1, 60)), special.expit(rng.normal(-1, 1, 60)))
        t = wished_threshold(own, 1, "sensitivity", 0.95)
        assert t is not None
        true.append(stats.norm.sf(special.logit(t), 1, 1))
    assert 0.945 < np.mean(true) < 0.975


def test_what_a_threshold_holds_is_counted_on_the_test(make: Callable[..., Predictions]) -> None:
    p = np.linspace(0.05, 0.95, 19)
    own = known(p, p)
    y = np.repeat([0, 1], 10)
    oof = make(y, np.linspace(0, 1, 20), fold=np.arange(20) % 2)
    test = make(y, [0.05] * 10 + [0.5] * 10, split="test")
    wishes = {(one.of, one.wanted): one for one in describe_wishes(own, oof, test)}
    met = wishes["sensitivity", 0.9]
    assert met.threshold == pytest.approx(0.1)
    assert {name: one.value for name, one in met.found.items()} == {
        "sensitivity": 1.0,
        "specificity": 1.0,
    }
    assert wishes["specificity", 0.9].found["sensitivity"].value == 0.0
    unmet = wishes["sensitivity", 0.99]
    assert (unmet.threshold, unmet.needed, dict(unmet.found)) == (None, 99, {})
