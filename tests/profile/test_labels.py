"""Are labels that were changed on purpose found, and right ones left alone?"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from medgraft.data.ingest import load
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import Development, keep_copies_together, make_folds
from medgraft.errors import LeakError
from medgraft.evaluate.calibration import cross_fit
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.fit import cross_fitted_all
from medgraft.profile.labels import Search, search, wrong_labels
from medgraft.profile.labels import suggest as relabel
from medgraft.types import Floats, Ints, Predictions, Scenario


def predictions(y: Ints, prob: Floats, n_classes: int, split: str = "train") -> Predictions:
    n = len(y)
    ids = np.array([f"{i:04}" for i in range(n)])
    return Predictions(
        "a", tuple("abcd"[:n_classes]), None, ids, ids, np.array([split] * n),
        np.arange(n) % 5, y, np.log(prob), prob,
    )  # fmt: skip


def sure_of(truth: Ints, n_classes: int, surer: Ints | None = None) -> Floats:
    """Probabilities of a good model: .8 to 1 for the true class, .97 in the rows given."""
    rng = np.random.default_rng(0)
    prob = rng.dirichlet(np.ones(n_classes), len(truth)) * 0.2
    prob[np.arange(len(truth)), truth] += 0.8
    if surer is not None:
        prob[surer] = 0.03 / (n_classes - 1)
        prob[surer, truth[surer]] = 0.97
    return prob


@pytest.mark.parametrize("n_classes", [2, 4])
def test_changed_labels_are_found_and_no_others(n_classes: int) -> None:
    truth = np.arange(400) % n_classes
    given = truth.copy()
    changed = np.array([3, 50, 111, 222, 333])
    given[changed] = (truth[changed] + 1) % n_classes
    given[7] = (truth[7] + 1) % n_classes
    prob = sure_of(truth, n_classes, changed)
    prob[7] = 0.19 / (n_classes - 1)
    prob[7, truth[7]] = 0.81  # less sure than of other images of that class: not suspected
    oof = predictions(given, prob, n_classes)
    result = search(oof)
    found = result.suspects
    assert {one.id for one in found} == {f"{i:04}" for i in changed}
    for one in found:
        row = int(one.id)
        assert one.given == oof.classes[given[row]]
        assert one.suggested == oof.classes[truth[row]]
        assert one.confidence == pytest.approx(oof.y_prob[row, truth[row]])
    assert [one.confidence for one in found] == sorted((s.confidence for s in found), reverse=True)
    (finding,) = wrong_labels(oof, result)
    assert (finding.severity, finding.numbers["images"]) == ("warn", 5)
    assert result.p <= 0.05
    assert {(s.path, s.action, s.value) for s in relabel(found)} == {
        (one.id, "relabel", one.suggested) for one in found
    }


def test_right_labels_and_unsure_models_give_none() -> None:
    truth = np.arange(300) % 3
    assert search(predictions(truth, sure_of(truth, 3), 3)).suspects == ()
    noise = predictions(truth, np.random.default_rng(0).dirichlet(np.ones(3) * 20, 300), 3)
    assert search(noise) == Search((), 0.0, 1.0)
    (finding,) = wrong_labels(noise, search(noise))
    assert finding.severity == "info"


def drawn(seed: int, n: int, d: float, flipped: float, size: int = 1) -> tuple[Predictions, Ints]:
    """Binormal scores of patients, `size` images each, calibrated across folds, and their truth.

    A share of the patients has the other label, all its images alike.
    """
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n // size), size)
    truth = (rng.random(n // size) < 0.4).astype(int)[patient]
    x = rng.normal(size=n)
    if size > 1:
        x = 0.1**0.5 * x + 0.9**0.5 * rng.normal(size=n // size)[patient]
    f = d * (x + d * truth - d / 2)
    given = np.where((rng.random(n // size) < flipped)[patient], 1 - truth, truth)
    scores = np.stack([-f / 2, f / 2], axis=1)
    fold = patient % 5
    base = predictions(given, cross_fit(scores, given, fold), 2)
    return dataclasses.replace(base, groups=patient.astype(str), fold=fold), truth


@pytest.mark.parametrize(
    ("n", "size", "most"),
    [(60, 1, 0.1), (600, 1, 0.1), pytest.param(600, 10, 0.15, marks=pytest.mark.slow)],
)
def test_clean_sets_are_warned_of_once_in_twenty(n: int, size: int, most: float) -> None:
    """They all have suspects, about as many as they are said to have, and are not warned of.

    Sixty patients of ten images that are nearly the same are the hardest: 11 %; without a thought
    for patients 25 %.
    """
    found = [search(drawn(seed, n, 2.0, 0.0, size)[0]) for seed in range(80)]
    assert np.mean([one.p <= 0.05 for one in found]) <= most
    named = np.mean([len(one.suspects) for one in found])
    assert named > 1
    assert np.mean([one.expected for one in found]) == pytest.approx(named, rel=0.15, abs=0.8)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_probabilities_a_little_too_moderate_or_extreme_are_no_wrong_labels(factor: float) -> None:
    warned = []
    for seed in range(40):
        oof, _ = drawn(seed, 1000, 2.0, 0.0)
        prob = oof.y_prob**factor
        prob /= prob.sum(axis=1, keepdims=True)
        warned.append(search(dataclasses.replace(oof, y_prob=prob)).p <= 0.05)
    assert sum(warned) <= 5  # two expected


def test_wrong_labels_are_warned_of_and_found() -> None:
    """One label of twenty is wrong; the model learned from them, and is less sure for it."""
    warned, right, recalled = [], [], []
    for seed in range(20):
        oof, truth = drawn(seed, 1000, 3.0, 0.05)
        found = search(oof)
        rows = [int(one.id) for one in found.suspects]
        wrong = oof.y_true != truth
        warned.append(wrong_labels(oof, found)[0].severity == "warn")
        right.append(wrong[rows].mean())
        recalled.append(wrong[rows].sum() / wrong.sum())
    assert sum(warned) >= 18
    assert np.mean(right) > 0.75
    assert np.mean(recalled) > 0.6


def test_few_suspects_of_a_clean_set_are_named_without_a_warning() -> None:
    oof, _ = drawn(1, 600, 2.0, 0.0)
    found = search(oof)
    (finding,) = wrong_labels(oof, found)
    assert (finding.check, finding.severity) == ("suspected_labels", "info")
    assert f"A clean set of this size would show about {found.expected:.0f}" in finding.text
    assert finding.images


def test_classes_that_are_absent_or_rare_are_left_out() -> None:
    truth = np.r_[np.arange(200) % 2, 3, 3]  # none of c, two of d
    given = truth.copy()
    given[7] = 0
    found = search(predictions(given, sure_of(truth, 4, np.array([7])), 4)).suspects
    assert [one.id for one in found] == ["0007"]
    lone = predictions(np.zeros(20, np.int64), sure_of(np.zeros(20, np.int64), 2), 2)
    assert search(lone).suspects == ()


def test_the_test_split_is_refused() -> None:
    truth = np.arange(20) % 2
    with pytest.raises(LeakError):
        search(predictions(truth, sure_of(truth, 2), 2, split="test"))


def test_cleanlab_is_not_imported_before_it_is_needed() -> None:
    import subprocess

    code = "import sys, medgraft.profile.profile as p; sys.exit('cleanlab' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 4])
def test_the_misfiled_film_of_the_phantoms_is_found(tmp_path: Path, seed: int) -> None:
    """Of ten sets of phantoms looked at, it is found in eight; these are three of them."""
    truth = write_phantoms(tmp_path / "films", n_patients=160, seed=seed)
    table = keep_copies_together(load(tmp_path / "films"))
    scenario = Scenario.from_key("probe/tf_efficientnet_lite0/stages/logistic")
    extractor = Extractor(Cache(tmp_path / "cache"))
    (found,) = cross_fitted_all([scenario], Development(table, make_folds(table, 5, 0)), extractor)
    assert truth.wrongly_labelled in [one.id for one in search(found.predictions).suspects]
