"""Results by patient have a threshold of their own: simulated, cross-fitted, and by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from scipy import special

from medgraft.errors import FitError
from medgraft.evaluate.calibration import fit_calibrator
from medgraft.evaluate.estimates import evaluate, evaluate_by_group
from medgraft.evaluate.groups import by_group, operating_of_groups
from medgraft.evaluate.threshold import (
    choose_threshold,
    cross_fit_group_thresholds,
    group_threshold,
)
from medgraft.types import Operating, Predictions

Make = Callable[..., Predictions]


def patients(
    rng: np.random.Generator, n: int, size: int, *, few_show: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class, score and patient of n images; `few_show`: the disease, in 4 of 10 images of the ill.

    Else two in ten parts of a score's variance are the patient's.
    """
    ill = rng.random(n // size) < 0.3
    group = np.repeat(np.arange(n // size), size)
    y = ill[group].astype(int)
    own = rng.normal(size=n // size)[group]
    if few_show:
        shows = y * (rng.random(n) < 0.4)
        return y, 3 * shows + 0.8 * rng.normal(size=n) + 0.3 * own, group
    return y, 1.5 * y + np.sqrt(0.2) * own + np.sqrt(0.8) * rng.normal(size=n), group


def calibrated(y: np.ndarray, score: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    two = [np.stack([-f / 2, f / 2], axis=1) for f in (score, new)]
    calibrator = fit_calibrator(two[0], y)
    return calibrator(two[0])[:, 1], calibrator(two[1])[:, 1]


@pytest.mark.parametrize(
    ("size", "few_show", "gain"), [(10, False, 0.007), (5, True, 0.05), (3, False, 0.0)]
)
def test_patients_are_judged_better_at_their_own_threshold(
    make: Make, size: int, few_show: bool, gain: float
) -> None:
    """Balanced accuracy of 6,000 new images' patients, at most a point below the best possible."""
    rng = np.random.default_rng(0)
    there, new, group = patients(rng, 6000, size, few_show=few_show)
    found = []
    for _ in range(15):
        y, score, own = patients(rng, 600, size, few_show=few_show)
        p, q = calibrated(y, score, new)
        operating = choose_threshold(make(y, p, own))
        rows = by_group(make(there, q, group))
        truth, mean = rows.y_true == 1, rows.y_prob[:, 1]

        def balanced(at: float, truth: np.ndarray = truth, mean: np.ndarray = mean) -> float:
            return float((mean[truth] >= at).mean() + (mean[~truth] < at).mean()) / 2

        assert operating.by_group is not None
        best = max(balanced(at) for at in np.quantile(mean, np.linspace(0.05, 0.95, 31)))
        found.append((balanced(operating.threshold), balanced(operating.by_group), best))
    images, groups, best = np.mean(found, axis=0)
    assert groups >= images + gain
    assert groups >= best - 0.012


def test_it_is_none_where_no_patient_has_several_images(make: Make) -> None:
    rng = np.random.default_rng(1)
    y = np.arange(40) % 2
    p = special.expit(rng.normal(y))
    assert choose_threshold(make(y, p)).by_group is None
    assert evaluate_by_group(make(y, p), Operating(0.5, "half")) is None


def test_symmetric_means_are_parted_in_the_middle() -> None:
    y = np.repeat([False, True], 12)
    mean = np.concatenate([np.linspace(0.1, 0.6, 12), np.linspace(0.4, 0.9, 12)])
    assert group_threshold(y, mean) == pytest.approx(0.5, abs=1e-6)
    assert group_threshold(y, np.repeat([0.0, 1.0], 12)) == pytest.approx(0.5, abs=1e-6)
    with pytest.raises(FitError):
        group_threshold(y[:12], mean[:12])


def test_means_that_tell_nothing_still_give_a_threshold() -> None:
    y = np.arange(24) % 3 == 0
    assert 0 <= group_threshold(y, np.full(24, 0.3)) <= 1
    assert 0 <= group_threshold(y, np.where(y, 0.2, 0.6)) <= 1  # they mislead


def test_labels_by_patient_come_from_the_second_threshold(make: Make) -> None:
    p = make([0, 0, 1, 1], [0.2, 0.4, 0.5, 0.7], groups=["a", "a", "b", "b"])
    at = Operating(0.65, "by hand", by_group=0.5)
    assert evaluate(p, at).estimates["sensitivity"].value == 0.5
    found = evaluate_by_group(p, at)
    assert found is not None
    assert found.estimates["sensitivity"].value == 1
    assert found.operating == Operating(0.5, "by hand")
    # A threshold that was chosen without groups stands in.
    assert operating_of_groups(Operating(0.65, "by hand")) == Operating(0.65, "by hand")
    without = evaluate_by_group(p, dataclasses.replace(at, by_group=None))
    assert without is not None
    assert without.estimates["sensitivity"].value == 0


def test_out_of_fold_a_patients_threshold_is_the_other_folds(make: Make) -> None:
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(40), 3)
    y = group % 2
    p, fold = special.expit(rng.normal(2.0 * y - 1)), group // 2 % 4
    rows = by_group(make(y, p, group, fold))
    chosen = cross_fit_group_thresholds(rows)
    for k in range(4):
        others = rows.fold != k
        expected = group_threshold(rows.y_true[others] == 1, rows.y_prob[others, 1])
        assert (chosen[rows.fold == k] == expected).all()
    found = evaluate_by_group(make(y, p, group, fold))
    assert found is not None
    labels = rows.y_prob[:, 1] >= chosen
    assert found.estimates["accuracy"].value == (labels == rows.y_true).mean()
