"""What is truly as good as the best is stopped no oftener than promised, however often seen."""

from __future__ import annotations

import numpy as np
import pytest

from medgraft.errors import LeakError
from medgraft.evaluate.racing import ALPHA, behind, levels, spent

SHARES = (0.125, 0.25, 0.5)
LEADERS, PATIENTS, EACH, RACES = 8, 480, 2, 150


def race(make, rng, lead, stop):
    """Whether a scenario `lead` worse than eight equal ones is stopped; their best leads."""
    groups = np.repeat(np.arange(PATIENTS), EACH)
    y = (rng.random(PATIENTS) < 0.5).astype(int)[groups]
    common = rng.normal(size=PATIENTS)[groups]  # images of a patient are alike
    skills = [1.5] * LEADERS + [1.5 - lead]
    prob = [
        1 / (1 + np.exp(-(skill * (y - 0.5) + common + rng.normal(size=len(y)))))
        for skill in skills
    ]
    areas = [np.mean(p[y == 1][:, None] > p[y == 0][::4]) for p in prob[:-1]]
    leader = prob[int(np.argmax(areas))]
    for share, level in zip(SHARES, levels(SHARES), strict=True):
        rows = groups < share * PATIENTS
        one, other = (
            make(y[rows], p[rows], groups[rows], groups[rows] % 5, scenario=name)
            for name, p in (("leader", leader), ("other", prob[-1]))
        )
        if stop(one, other, level):
            return True
    return False


def rate(make, lead, stop, races=RACES):
    rng = np.random.default_rng(0)
    return np.mean([race(make, rng, lead, stop) for _ in range(races)])


def raced(leader, other, level):
    return behind(leader, other, "auroc", level, LEADERS)[1]


def test_what_is_as_good_as_the_leader_is_stopped_no_oftener_than_promised(make):
    # Two standard errors above the rate; a race without the corrections is far beyond.
    most = ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / RACES)
    assert rate(make, 0.0, raced) <= most
    assert rate(make, 0.0, lambda a, b, _: behind(a, b, "auroc", ALPHA, 1)[1]) > most


def test_what_is_far_behind_is_stopped(make):
    assert rate(make, 0.9, raced, 40) > 0.9


def test_looks_spend_what_there_is_and_no_more():
    assert sum(levels((0.125, 0.25, 0.5, 1.0))) == pytest.approx(ALPHA)
    assert spent(0.25) == pytest.approx(levels(SHARES)[0] + levels(SHARES)[1])
    assert min(levels(SHARES)) > 0


@pytest.mark.parametrize("metric", ["auroc", "log_loss"])
def test_only_what_is_behind_is_stopped_whichever_way_the_metric_counts(make, metric):
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    good, bad = (1 / (1 + np.exp(-(s * (y - 0.5) + rng.normal(size=400)))) for s in (3, 0.3))
    good, bad = make(y, good, scenario="good"), make(y, bad, scenario="bad")
    found, stopped = behind(good, bad, metric, 0.01, 5)
    assert (found.a, found.b, stopped) == ("good", "bad", True)
    assert not behind(bad, good, metric, 0.01, 5)[1]
    assert not behind(good, good, metric, 0.01, 5)[1]


def test_the_test_split_stops_nothing(make):
    y = np.arange(40) % 2
    seen = make(y, np.linspace(0, 1, 40), split="test")
    with pytest.raises(LeakError):
        behind(seen, seen, "auroc", 0.01, 1)
