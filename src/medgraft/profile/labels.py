"""Labels that are probably wrong, by what models say of images they have not seen.

Confident learning (Northcutt, Jiang and Chuang, JAIR 70, 2021), as cleanlab does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medgraft.evaluate.calibration import require_development
from medgraft.profile.leakage import counted
from medgraft.profile.suggestions import Suggestion
from medgraft.types import Finding, Floats, Ints, Predictions

SURE = 0.8  # probability of another class from which it is suggested
FEWEST = 5  # images of a class, to know how sure a model is of it


@dataclass(frozen=True, slots=True)
class Suspect:
    """One image: the label it has, the one suggested, and the probability of that."""

    id: str
    given: str
    suggested: str
    confidence: float


def suspects(oof: Predictions) -> tuple[Suspect, ...]:
    """Images whose label is probably wrong, the surest first.

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
        return ()
    prob = oof.y_prob[np.ix_(rows, present)]
    prob = prob / np.maximum(prob.sum(axis=1, keepdims=True), 1e-12)
    labels = np.searchsorted(present, oof.y_true[rows])
    best = prob.argmax(axis=1)
    found = np.zeros(len(rows), bool)
    found[_issues(labels, prob)] = True
    found &= (best != labels) & (prob.max(axis=1) >= SURE)
    order = sorted(np.flatnonzero(found), key=lambda i: (-prob[i, best[i]], oof.ids[rows[i]]))
    return tuple(
        Suspect(
            str(oof.ids[rows[i]]),
            oof.classes[present[labels[i]]],
            oof.classes[present[best[i]]],
            float(prob[i, best[i]]),
        )
        for i in order
    )


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


def wrong_labels(oof: Predictions, found: tuple[Suspect, ...]) -> tuple[Finding, ...]:
    """Say how many labels are suspect, and name the surest."""
    if not found:
        text = f"No label of {len(oof):,} images to learn from is suspect."
        return (Finding("wrong_labels", "info", text, {"images": 0}),)
    share = len(found) / len(oof)
    first = found[0]
    return (
        Finding(
            "suspected_labels",
            "warn",
            f"{counted(len(found), 'label')} of {len(oof):,} images to learn from "
            f"({100 * share:.1f} %) may be wrong: models that had not seen them are sure of "
            f"another class. The surest: {first.id}, labelled {first.given}, looks like "
            f"{first.suggested} ({first.confidence:.2f}). A model can be wrong too, so look "
            "before you change any.",
            {"images": len(found), "share": share, "given": first.given,
             "suggested": first.suggested, "confidence": first.confidence},
            tuple(one.id for one in found[:12]),
            "Have an expert look at them; medgraft profile --out lists the other label of each.",
        ),
    )  # fmt: skip


def suggest(found: tuple[Suspect, ...]) -> Iterator[Suggestion]:
    """Relabel each suspect."""
    for one in found:
        why = f"labelled {one.given}, looks like {one.suggested} ({one.confidence:.2f})"
        yield Suggestion(one.id, "relabel", one.suggested, why, "suspected_labels")
