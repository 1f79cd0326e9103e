"""The nested choice of a head's strength on real codes: `learn/linear.py` against scikit-learn.

Both fit the same models: in each fold every strength on the other folds, one left out in turn, then
the best on all of them. The opponent is what one would write: a pipeline of StandardScaler and
LogisticRegression or LinearSVC under GridSearchCV, on all cores, with tolerances at which its
out-of-fold scores have settled. It is timed on one fold of the five; a rate is fits a second, and a
fold of either has equally many.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from harness import paired, save
from medgraft.data.ingest import load
from medgraft.data.split import make_folds
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import feature_plan_of
from medgraft.learn.estimators import HEADS
from medgraft.learn.heads import nested_scores
from medgraft.scenario import Scenario
from medgraft.types import Ints

FOLDS = 5
ROUNDS = 3
CASES = (  # data set, images, tap
    ("chest_xray", 300, "conv_head"),
    ("chest_xray", 2000, "conv_head"),
    ("scenes_ot8", 1000, "blocks.5"),
)
SHARED = Path(__file__).parents[1].parent / "shared"
Codes = NDArray[np.float32]


def opponent(head: str, X: Codes, y: Ints, fold: Ints) -> Callable[[], int]:
    """One outer fold of scikit-learn's nested cross-validation; returns the number of fits."""
    strengths = HEADS[head].strengths(X.shape[1])
    rows = fold != 0
    plain: Any = (
        LogisticRegression(class_weight="balanced", max_iter=2000)
        if head == "logistic"
        else LinearSVC(class_weight="balanced", max_iter=20_000, dual="auto")
    )
    step = type(plain).__name__.lower()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), plain),
        {f"{step}__C": list(strengths)},
        scoring="roc_auc" if y.max() == 1 else _macro_auroc,
        cv=PredefinedSplit(fold[rows]),
        n_jobs=-1,
    )

    def work() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            search.fit(X[rows], y[rows])
        return len(strengths) * (FOLDS - 1) + 1

    return work


def _macro_auroc(model: Any, X: Codes, y: Ints) -> float:
    """Of more than two classes, one against the rest, from scores that are no probabilities."""
    return float(roc_auc_score(np.eye(int(y.max()) + 1)[y], model.decision_function(X)))


def ours(head: str, X: Codes, y: Ints, fold: Ints) -> Callable[[], int]:
    """All folds and the final head; returns the number of fits that this would be one by one."""

    def work() -> int:
        nested_scores(head, X, y, fold, groups=np.arange(len(y)))
        return FOLDS * (len(HEADS[head].strengths(X.shape[1])) * (FOLDS - 1) + 1) + 1

    return work


def main(shared: Path) -> None:
    """Rates in fits a second and their ratio, by head and case."""
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        extractor = Extractor(Cache(Path(folder)))
        for name, n, tap in CASES:
            everything = load(shared / "data" / name).development
            table = everything.select(np.linspace(0, len(everything) - 1, n).astype(int))
            scenario = Scenario.from_key(f"probe/tf_efficientnet_lite0/{tap}/svm")
            codes, rows, _ = feature_plan_of(scenario, extractor).codes(table, extractor)
            X, y, fold = codes[0], rows.labels, make_folds(rows, FOLDS, 0).assignment
            for head in ("logistic", "svm"):
                mine, theirs = ours(head, X, y, fold), opponent(head, X, y, fold)
                mine(), theirs()  # workers start before they are timed
                found = paired(mine, theirs, ROUNDS)
                case = f"{head}, {name}, {len(X):,} x {X.shape[1]:,}, {y.max() + 1} classes"
                figures[case] = found
                print(
                    f"{case}: {found.a.median:.0f} fits/s, scikit-learn {found.b.median:.1f}: "
                    f"{found.ratio} times as fast",
                    flush=True,
                )
    save("heads", figures)


if __name__ == "__main__":
    main(SHARED)
