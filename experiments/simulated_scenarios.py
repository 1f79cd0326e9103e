"""Scenarios whose true worth is known, judged on the same simulated images.

Each scenario sees a class through one number: `d` standard deviations between the classes, noise
that is partly shared with the other scenarios, and a part that a patient's images have in common.
Its true AUROC is Phi(d / sqrt 2); its probabilities are calibrated, unless it knows nothing (d = 0)
and believes its noise all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special, stats

from medgraft.types import Floats, Predictions

POSITIVE = 0.4  # of the images
OF_PATIENT = 0.5  # of the noise's variance that a patient's images share


def true_auroc(d: Sequence[float]) -> Floats:
    """What each scenario's AUROC is without end of images, (n_scenarios,)."""
    return np.asarray(stats.norm.cdf(np.asarray(d) / np.sqrt(2)), np.float64)


def distance(auroc: Floats | float) -> Floats:
    """The inverse: how far the classes lie apart for that AUROC."""
    return np.asarray(np.sqrt(2) * stats.norm.ppf(auroc), np.float64)


def sim(
    seed: int, n: int, group_size: int, d_per_scenario: Sequence[float], rho: float
) -> list[Predictions]:
    """Predictions of scenarios `s0`, `s1`, … on n images of patients of `group_size` images.

    Parameters
    ----------
    group_size : the last patient may have fewer images; all images of a patient have one class.
    d_per_scenario : (n_scenarios,) distance of the classes in standard deviations.
    rho : correlation of any two scenarios' noise, 0..1.
    """
    rng = np.random.default_rng(seed)
    patient = np.arange(n) // group_size
    n_patients = patient[-1] + 1
    sick = rng.permutation(np.arange(n_patients) < round(POSITIVE * n_patients))
    y = sick[patient].astype(np.int64)

    def noise(columns: int) -> Floats:
        own = rng.normal(size=(n, columns))
        if group_size == 1:
            return own
        shared = rng.normal(size=(n_patients, columns))[patient]
        mixed: Floats = np.sqrt(OF_PATIENT) * shared + np.sqrt(1 - OF_PATIENT) * own
        return mixed

    d = np.asarray(d_per_scenario, np.float64)
    score = np.sqrt(rho) * noise(1) + np.sqrt(1 - rho) * noise(len(d))
    score = score + d * (y[:, None] - 0.5)
    logit = np.where(d == 0, 1.0, d) * score + special.logit(POSITIVE)
    ids, groups = np.arange(n).astype(str), patient.astype(str)
    return [
        Predictions(
            scenario=f"s{k}",
            classes=("normal", "ill"),
            positive="ill",
            ids=ids,
            groups=groups,
            splits=np.full(n, "train"),
            fold=np.full(n, -1),
            y_true=y,
            scores=np.stack([-score[:, k], score[:, k]], axis=1),
            y_prob=np.stack([special.expit(-logit[:, k]), special.expit(logit[:, k])], axis=1),
        )
        for k in range(len(d))
    ]
