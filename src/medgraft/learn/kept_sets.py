"""What a saved classifier keeps for its prediction sets, at any level that is asked for later.

Of every image learned from the probability that the deployed classifier gives to its true class,
as far as cross-validation can say: by what had not learned from the image, as the deployed one's
scores would spread (`Probabilities.final`). No name and no order of images; patients are numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medgraft.evaluate.conformal import OwnProbability
from medgraft.learn.cross_validation import CrossFitted
from medgraft.profile.kept import Arrays, Words, check_shapes, keep, kept

FILE = "sets.safetensors"


def own_probability(crossed: CrossFitted) -> OwnProbability:
    """What sets of the deployed classifier are made by, of all images it learned from."""
    judged = crossed.unchanged
    return OwnProbability.of(crossed.probabilities.final, judged.y_true, judged.groups)


def write_own_probability(found: OwnProbability, folder: Path) -> None:
    """Add it to a bundle."""
    order = np.lexsort((found.own, found.truth))
    groups = np.unique(found.groups[order], return_inverse=True)[1].ravel()
    shuffled = np.random.RandomState(0).permutation(groups.max() + 1)  # nor the order of names
    arrays = {
        "own": found.own[order],
        "truth": found.truth[order],
        "groups": shuffled[groups].astype(np.int64),
    }
    keep(folder, FILE, arrays, {"classes": f"{found.n_classes}"})


def read_own_probability(folder: Path) -> OwnProbability | None:
    """What `write_own_probability` added; None in a bundle that keeps none.

    Raises
    ------
    BundleError
        It is damaged.
    """
    return kept(folder, FILE, _from)


def _from(arrays: Arrays, words: Words) -> OwnProbability:
    check_shapes(arrays, own=("n",), truth=("n",), groups=("n",))
    groups, n_classes = arrays["groups"].astype(str), int(words["classes"])
    return OwnProbability(arrays["own"], arrays["truth"], groups, n_classes)
