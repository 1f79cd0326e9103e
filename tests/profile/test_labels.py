"""Are labels that were changed on purpose found, and right ones left alone?"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from medgraft.data.ingest import load
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import keep_copies_together, make_folds
from medgraft.errors import LeakError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.fit import cross_fitted_all
from medgraft.profile.labels import suggest as relabel
from medgraft.profile.labels import suspects, wrong_labels
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
    found = suspects(oof)
    assert {one.id for one in found} == {f"{i:04}" for i in changed}
    for one in found:
        row = int(one.id)
        assert one.given == oof.classes[given[row]]
        assert one.suggested == oof.classes[truth[row]]
        assert one.confidence == pytest.approx(oof.y_prob[row, truth[row]])
    assert [one.confidence for one in found] == sorted((s.confidence for s in found), reverse=True)
    (finding,) = wrong_labels(oof, found)
    assert (finding.severity, finding.numbers["images"]) == ("warn", 5)
    assert {(s.path, s.action, s.value) for s in relabel(found)} == {
        (one.id, "relabel", one.suggested) for one in found
    }


def test_right_labels_and_unsure_models_give_none() -> None:
    truth = np.arange(300) % 3
    assert suspects(predictions(truth, sure_of(truth, 3), 3)) == ()
    noise = np.random.default_rng(0).dirichlet(np.ones(3) * 20, 300)
    assert suspects(predictions(truth, noise, 3)) == ()
    (finding,) = wrong_labels(predictions(truth, noise, 3), ())
    assert finding.severity == "info"


def test_classes_that_are_absent_or_rare_are_left_out() -> None:
    truth = np.r_[np.arange(200) % 2, 3, 3]  # none of c, two of d
    given = truth.copy()
    given[7] = 0
    found = suspects(predictions(given, sure_of(truth, 4, np.array([7])), 4))
    assert [one.id for one in found] == ["0007"]
    assert (
        suspects(predictions(np.zeros(20, np.int64), sure_of(np.zeros(20, np.int64), 2), 2)) == ()
    )


def test_the_test_split_is_refused() -> None:
    truth = np.arange(20) % 2
    with pytest.raises(LeakError):
        suspects(predictions(truth, sure_of(truth, 2), 2, split="test"))


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
    scenario = Scenario("probe", "tf_efficientnet_lite0", "stages", "logistic")
    extractor = Extractor(Cache(tmp_path / "cache"))
    (found,) = cross_fitted_all([scenario], table, make_folds(table, 5, 0), extractor)
    assert truth.wrongly_labelled in [one.id for one in suspects(found.predictions)]
