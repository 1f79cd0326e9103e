"""Does an interval of a figure about grades hold the truth in 95 of 100 data sets?

One latent value of a patient rises with the grade; what is seen of it has noise of the patient,
which all images share, and of the image. Grades are given at fixed thresholds. The truth is that of
two million independent images, whose table of truth against grade given is that of any number of
images a patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial

import numpy as np

from medgraft.evaluate.grades import grade_figures
from medgraft.types import Floats, Grading, Ints, Predictions
from proof.cell import Bound, Cell
from proof.scores import noise, numbered

SHARES = (0.4, 0.25, 0.2, 0.1, 0.05)  # of five grades, the lowest first
CUTS = np.array([0.5, 1.5, 2.5, 3.5])
SKILL = {"good": 0.6, "poor": 1.6}  # standard deviation of the noise, in grades
FEW = 10  # images of the rarest grade, from which a nominal coverage can be kept
PLACES = np.arange(5)
NAMES = ("kappa", "exact", "off by one", "off by more", "mean error", "mean grade's error")


def cells() -> Iterator[Cell]:
    """Good and poor classifiers, independent images and patients of several."""
    for size, ns in {1: (60, 150, 300, 1000), 3: (150, 300, 1000), 10: (300, 1000)}.items():
        for n in ns:
            for skill in SKILL:
                setting = {"grades": skill, "images": f"{n}", "a patient": f"{size}"}
                run = partial(_run, n=n, size=size, skill=skill)
                sample = 300 if (n, size, skill) in ((150, 1, "good"), (300, 3, "poor")) else 0
                yield Cell("grades", setting, run, 600, _bounds(n, size), sample)


def _seen(rng: np.random.Generator, y: Ints, patient: Ints, skill: str) -> Floats:
    """Probabilities (n, 5) of the grades by what is seen of the latent value."""
    seen = y + SKILL[skill] * noise(rng, patient, 1)[:, 0]
    near = -((seen[:, None] - PLACES) ** 2) / (2 * SKILL[skill] ** 2)
    p = np.array(SHARES) * np.exp(near - near.max(axis=1, keepdims=True))
    found: Floats = p / p.sum(axis=1, keepdims=True)
    return found


@cache
def _truth(skill: str) -> Mapping[str, float]:
    """Of the law itself, as near as two million images tell it."""
    rng = np.random.default_rng(0)
    n = 2_000_000
    y = rng.choice(5, n, p=SHARES)
    p = _seen(rng, y, np.arange(n), skill)
    distance = np.abs(p.argmax(axis=1) - y)
    weighed, table = np.square(PLACES[:, None] - PLACES), np.zeros((5, 5))
    np.add.at(table, (y, p.argmax(axis=1)), 1 / n)
    chance = (weighed * table.sum(axis=1)[:, None] * table.sum(axis=0)).sum()
    figures = (
        1 - (weighed * table).sum() / chance,
        (distance == 0).mean(),
        (distance == 1).mean(),
        (distance > 1).mean(),
        distance.mean(),
        np.abs(p @ PLACES - y).mean(),
    )
    return dict(zip(NAMES, map(float, figures), strict=True))


def _run(rng: np.random.Generator, n: int, size: int, skill: str) -> dict[str, float]:
    sizes = 1 + rng.poisson(size - 1, n)
    patient = np.repeat(np.arange(n), sizes)[:n]
    y = rng.choice(5, patient[-1] + 1, p=SHARES)[patient]  # a grade may be missing, as in a test
    p = _seen(rng, y, patient, skill)
    names = numbered(patient)
    judged = Predictions(
        scenario="made", classes=tuple("01234"), positive=None, ids=numbered(np.arange(n)),
        groups=names, splits=np.full(n, ""), fold=np.full(n, -1), y_true=y, scores=np.log(p + 1e-9),
        y_prob=p,
    )  # fmt: skip
    found = grade_figures(judged, Grading((0, 1, 2, 3, 4), {}))
    estimates = (
        found.kappa, found.exact, found.off_by_one, found.off_by_more, found.mean_error,
        found.mean_grade_error,
    )  # fmt: skip
    made = {}
    for name, one in zip(NAMES, estimates, strict=True):
        truth = _truth(skill)[name]
        made[f"{name} covers"] = float(one.low <= truth <= one.high)
        made[f"{name} bias"] = one.value - truth
    return made


def _bounds(n: int, size: int) -> dict[str, Bound]:
    """As of all intervals: 93 to 97 % of independent images, 91 to 98 % of patients' ones, from 150
    images and 30 patients on, 90 % below; more is allowed where the rarest grade has few patients.
    """
    large = n >= 150 and n / size >= 30
    low, high = ((0.93, 0.97) if size == 1 else (0.91, 0.98)) if large else (0.90, 1.0)
    why = "" if large else "fewer than 150 images or 30 patients: 90 % is asked for"
    if large and n / size * SHARES[-1] < FEW:
        high, why = 1.0, f"fewer than {FEW} patients of the rarest grade: wider is allowed"
    bounds = {}
    for name in NAMES:
        bounds[f"{name} covers"] = Bound(0.95, low, high, why)
        room = 0.01 if large else 0.03
        bounds[f"{name} bias"] = Bound(0.0, -room, room)
    return bounds
