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
from medgraft.types import Finding, Floats, ImageTable, Predictions

FOLDS = 5  # in which the surface is judged
TELLING = 0.9  # AUROC of the surface alone from which it is worth a warning


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


def shortcut_findings(surface: Predictions) -> tuple[Finding, ...]:
    """Say how well the surface alone tells the classes apart, where it does."""
    area = estimate_all([surface], "auroc")[0]
    if area.low < TELLING:
        return ()
    return (
        Finding(
            "surface_tells_class",
            "warn",
            "Exposure, sharpness, border, colour and file shape alone, without a look at what the "
            f"pictures show, tell the classes apart with an AUROC of {area.value:.3f} "
            f"({area.low:.3f} to {area.high:.3f}). Where that comes from the machine or the ward "
            "and not from the disease, a network may learn it, and fail elsewhere.",
            {"auroc": area.value, "low": area.low, "high": area.high, "n": area.n},
            remedy="Judge scenarios on changed views (--validate changed), train with strong "
            "augmentation, and look at the evidence.",
        ),
    )
