"""What tells the classes apart besides their subject: exposure, sharpness, frame and file.

The sick may have been photographed by another machine than the healthy. `read_surface` measures
what a picture shows before anyone looks at its subject, and `told_by` how well that alone tells the
class.
"""

from __future__ import annotations

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medgraft.data.split import make_folds
from medgraft.errors import FitError
from medgraft.evaluate.compare import estimate_all
from medgraft.features.extract import Extractor
from medgraft.types import (
    Canvas,
    FeatureSpec,
    Finding,
    Floats,
    ImageTable,
    Predictions,
    Skipped,
    digest,
)

RECIPE = "1"  # raise it when what is measured changes
QUANTILES = (1, 10, 25, 50, 75, 90, 99)
SCALES = (1, 2, 4)  # at which sharpness is measured
RING = 16  # a border is this part of a side
FOLDS = 5  # in which the surface is judged
TELLING = 0.9  # AUROC of the surface alone from which it is worth a warning


def read_surface(table: ImageTable, spec: FeatureSpec, extractor: Extractor) -> Floats:
    """Measure every image, (n, 20): one row an image, all of them readable.

    Mean, spread and quantiles of grey; mean and spread of the border; sharpness at three scales
    (log variance of the Laplacian); mean and spread of the two colour axes; aspect and size of the
    stored image. Nothing of it depends on where in the picture anything lies, but for the border.
    """
    key = digest(RECIPE, table.content_hashes.tolist(), spec.size, spec.resize, length=32)
    kept = extractor.cache.get("surface", key)
    if kept is None:
        rows = {}
        with extractor.progress.task("Measuring exposure, sharpness and frame", len(table)) as tick:
            for canvas in extractor.canvases(table, spec):
                if isinstance(canvas, Skipped):
                    raise FitError(f"{canvas.source} cannot be read: {canvas.reason}")
                rows[canvas.id] = measure(canvas)
                tick(1)
        kept = {"surface": np.array([rows[id] for id in table.ids.tolist()])}
        extractor.cache.put("surface", key, kept)
    return np.asarray(kept["surface"], np.float64)


def measure(canvas: Canvas) -> list[float]:
    """The numbers of one image, in the order in which `read_surface` names them."""
    pixels = canvas.pixels
    colour = pixels.ndim == 3
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if colour else pixels)
    height, width = grey.shape
    rim = max(1, min(height, width) // RING)
    inner = np.zeros(grey.shape, dtype=bool)
    inner[rim:-rim, rim:-rim] = True
    border = grey[~inner]
    found = [grey.mean(), grey.std(), *np.percentile(grey, QUANTILES), border.mean(), border.std()]
    for scale in SCALES:
        size = (max(1, width // scale), max(1, height // scale))
        smaller = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        found.append(np.log1p(cv2.Laplacian(smaller, cv2.CV_32F).var()))
    axes = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[..., 1:] if colour else np.full((1, 1, 2), 128)
    found += [*axes.mean(axis=(0, 1)), *axes.std(axis=(0, 1))]
    rows, columns = canvas.geometry.source
    return [float(x) for x in (*found, np.log(columns / rows), np.log(columns * rows))]


def told_by(surface: Floats, table: ImageTable, seed: int = 0) -> Predictions:
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


def confounders(surface: Predictions) -> tuple[Finding, ...]:
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
