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
from medgraft.results.figures import MADE, TELLING, whether
from medgraft.types import Finding, Floats, ImageTable, Predictions

FOLDS = 5  # in which the surface is judged


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
