"""What tells the classes apart besides their subject: exposure, sharpness, frame and file.

The sick may have been photographed by another machine than the healthy. The *surface* of an
image (`image_stats.surface_of`) is how it was made, before anyone looks at its subject;
`predict_from_surface` tells how well that alone gives the class away.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medgraft.data.split import make_folds
from medgraft.evaluate.compare import estimate_all
from medgraft.results.figures import TELLING, TELLS, tells
from medgraft.types import Estimate, Finding, Floats, ImageTable, Predictions

FOLDS = 5  # in which the surface is judged
MADE = "how the images were made (exposure, sharpness, colour, frame, size)"


def predict_from_surface(surface: Floats, table: ImageTable, seed: int = 0) -> Predictions:
    """What a logistic regression on the surface says of images it has not seen, groups whole.

    surface : (n, d) of the table's development images.

    Raises
    ------
    FitError
        There are too few groups of a class.
    """
    folds = make_folds(table, FOLDS, seed)
    prob = np.zeros((len(table), len(table.classes)))
    for k in range(folds.n_folds):
        inside = folds.assignment == k
        model = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000)
        )
        model.fit(surface[~inside], table.labels[~inside])
        prob[np.ix_(inside, model.classes_)] = model.predict_proba(surface[inside])
    return Predictions.of("surface", table, np.log(np.maximum(prob, 1e-12)), prob, folds.assignment)


def surface_finding(surface: Predictions) -> Finding:
    """How well the surface alone tells the classes apart; a warning where it surely does so well
    that a network need not look at the subject.
    """
    area = estimate_all([surface], "auroc")[0]
    numbers = {"auroc": area.value, "low": area.low, "high": area.high, "n": area.n}
    text = f"{whether(MADE, area)}."
    if area.low < TELLING:
        return Finding("surface", "info", text, numbers)
    return Finding(
        "surface_tells_class",
        "warn",
        f"{text} Where that comes from the machine or the ward and not from the disease, a "
        "network may learn it, and fail elsewhere.",
        numbers,
        remedy="Judge scenarios on changed views (--validate changed), train with strong "
        "augmentation, and look at the evidence.",
    )


def whether(what: str, auroc: Estimate) -> str:
    """Whether something beside the subject tells the class, by the one rule that there is.

    >>> print(whether("file size", Estimate(0.65, 0.58, 0.71, 180, "")))
    It is not sure that file size tells the class: AUROC 0.650 (0.580 to 0.710), not surely over 0.6
    """
    figures = f"AUROC {auroc.value:.3f} ({auroc.low:.3f} to {auroc.high:.3f})"
    match tells(auroc):
        case "surely":
            return f"{what[:1].upper()}{what[1:]} tells the class: {figures}"
        case "few images":
            return f"Too few images to say whether {what} tells the class: {figures}"
        case _:
            return f"It is not sure that {what} tells the class: {figures}, not surely over {TELLS}"
