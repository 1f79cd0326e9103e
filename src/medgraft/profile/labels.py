"""Labels that are probably wrong, by what models say of images they have not seen.

Confident learning (Northcutt, Jiang and Chuang, JAIR 70, 2021), as cleanlab does it. It names some
labels in every set, for a model that is sure to 90 % is wrong of one image in ten. So a set is
warned of where it shows more than a clean one of its size would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgraft.evaluate.calibration import require_development
from medgraft.evaluate.intervals import number_groups
from medgraft.evaluate.recalibration import CLIP, recalibrated
from medgraft.profile.leakage import counted
from medgraft.results.data import Suggestion
from medgraft.types import Finding, Floats, Ints, Predictions, Strings

SURE = 0.8  # probability of another class from which it is suggested
FEWEST = 5  # images of a class, to know how sure a model is of it
RATE = 0.05  # of clean sets that are warned of
DRAWS = 999  # of clean sets


@dataclass(frozen=True, slots=True)
class Suspect:
    """One image: the label it has, the one suggested, and the probability of that."""

    id: str
    given: str
    suggested: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Search:
    """The suspects, the surest first; how many a clean set would show; how rarely it would so much.

    expected : mean of clean sets. p : their share that speaks as much against its labels.
    """

    suspects: tuple[Suspect, ...]
    expected: float
    p: float


def search(oof: Predictions) -> Search:
    """Look for images whose label is probably wrong.

    An image is suspect where it lies off the diagonal of cleanlab's confident joint, that is where
    its probability of another class is above what images of that class have on average, and where
    that probability is `SURE` or more. Classes with fewer than `FEWEST` images are left out.

    Raises
    ------
    LeakError
        There are test images among them.
    """
    require_development([oof], "a search for wrong labels")
    counts = np.bincount(oof.y_true, minlength=len(oof.classes))
    present = np.flatnonzero(counts >= FEWEST)
    rows = np.flatnonzero(np.isin(oof.y_true, present))
    if len(present) < 2:
        return Search((), 0.0, 1.0)
    prob = oof.y_prob[np.ix_(rows, present)]
    prob = prob / np.maximum(prob.sum(axis=1, keepdims=True), 1e-12)
    labels = np.searchsorted(present, oof.y_true[rows])
    best = prob.argmax(axis=1)
    found = np.zeros(len(rows), bool)
    found[_issues(labels, prob)] = True
    found &= (best != labels) & (prob.max(axis=1) >= SURE)
    order = sorted(np.flatnonzero(found), key=lambda i: (-prob[i, best[i]], oof.ids[rows[i]]))
    named = tuple(
        Suspect(
            str(oof.ids[rows[i]]),
            oof.classes[present[labels[i]]],
            oof.classes[present[best[i]]],
            float(prob[i, best[i]]),
        )
        for i in order
    )
    usual = np.array([prob[labels == k, k].mean() for k in range(len(present))])
    sure = prob.max(axis=1) >= np.maximum(SURE, usual[best])  # where a label can be suspect
    right = recalibrated(oof)[rows[sure], present[best[sure]]]
    return Search(named, *_by_chance(found[sure], 1 - right, oof.groups[rows[sure]]))


def _by_chance(found: NDArray[np.bool_], wrong: Floats, groups: Strings) -> tuple[float, float]:
    """How many of these images a clean set would show as suspects, and how rarely as much.

    Each label of a clean set is another than the model's with the probability `wrong` that the
    model itself gives, put right by its slope, which also makes up for wrong labels that taught it
    to be less sure: their mere number then is no more than expected. But they lie where it is sure,
    and so each counts by the odds that spoke for it, 1 / wrong, as in Pearson's chi squared; one
    among a thousand like it counts as much as a hundred among ten each. Labels of a group are wrong
    together.

    Parameters
    ----------
    found, wrong, groups : (n,).
    """
    if not len(found):
        return 0.0, 1.0
    wrong = np.maximum(wrong, CLIP)
    index, n_groups = number_groups(groups)
    rng = np.random.default_rng(0)
    null = np.array([(rng.random(n_groups)[index] < wrong) @ (1 / wrong) for _ in range(DRAWS)])
    as_much = int((null >= (found / wrong).sum() * (1 - 1e-9)).sum())
    return float(wrong.sum()), (1 + as_much) / (DRAWS + 1)


def _issues(labels: Ints, prob: Floats) -> list[int]:
    """The rows that cleanlab calls label issues."""
    from cleanlab.filter import find_label_issues

    found = find_label_issues(
        labels,
        prob,
        return_indices_ranked_by="self_confidence",
        filter_by="confident_learning",
        n_jobs=1,
    )
    return [int(row) for row in found]


def wrong_labels(oof: Predictions, found: Search) -> tuple[Finding, ...]:
    """Say how many labels are suspect and name the surest; warn beyond what chance shows.

    A clean set is warned of once in twenty.
    """
    n = len(found.suspects)
    if not n:
        text = f"No label of {len(oof):,} images to learn from is suspect."
        return (Finding("wrong_labels", "info", text, {"images": 0}),)
    first = found.suspects[0]
    numbers: dict[str, float | int | str] = {
        "images": n, "share": n / len(oof), "expected": found.expected, "p": found.p,
        "given": first.given, "suggested": first.suggested, "confidence": first.confidence,
    }  # fmt: skip
    text = (
        f"{counted(n, 'label')} of {len(oof):,} images to learn from ({100 * n / len(oof):.1f} %) "
        "may be wrong: models that had not seen them are sure of another class. "
    )
    surest = (
        f"The surest: {first.id}, labelled {first.given}, looks like {first.suggested} "
        f"({first.confidence:.2f})."
    )
    clean = f"A clean set of this size would show about {found.expected:.0f}"
    images = tuple(one.id for one in found.suspects[:12])
    if found.p > RATE:
        text += f"{clean}, and as sure ones (p = {found.p:.2g}), so that hard images explain them. "
        return (Finding("suspected_labels", "info", text + surest, numbers, images),)
    text += f"{clean}, but hardly ever such sure ones (p = {found.p:.2g}). {surest}"
    text += " A model can be wrong too, so look before you change any."
    remedy = "Have an expert look at them; medgraft profile --out lists the other label of each."
    return (Finding("suspected_labels", "warn", text, numbers, images, remedy),)


def suggest(found: Iterable[Suspect]) -> Iterator[Suggestion]:
    """Relabel each suspect."""
    for one in found:
        why = f"labelled {one.given}, looks like {one.suggested} ({one.confidence:.2f})"
        yield Suggestion(one.id, "relabel", one.suggested, why, "suspected_labels")
