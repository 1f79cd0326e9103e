"""Hand-made predictions for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from medgraft.types import Predictions


def _make(
    y: object,
    prob: object,
    groups: object = None,
    fold: object = None,
    split: str = "val",
    scenario: str = "a",
) -> Predictions:
    """Predictions from truth (n,) and p(positive) (n,), or probabilities (n, n_classes)."""
    truth, p = np.asarray(y, np.int64), np.asarray(prob, float)
    p = np.stack([1 - p, p], axis=1) if p.ndim == 1 else p
    n, k = p.shape
    ids = np.array([f"i{i}" for i in range(n)])
    return Predictions(
        scenario=scenario,
        classes=("normal", "ill") if k == 2 else tuple(f"c{j}" for j in range(k)),
        positive="ill" if k == 2 else None,
        ids=ids,
        groups=ids if groups is None else np.asarray(groups).astype(str),
        splits=np.full(n, split),
        fold=np.full(n, -1) if fold is None else np.asarray(fold, np.int64),
        y_true=truth,
        scores=np.log(np.clip(p, 1e-12, 1)),
        y_prob=p,
    )


@pytest.fixture(scope="session")
def make() -> Callable[..., Predictions]:
    return _make
