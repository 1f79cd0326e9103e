"""The classifiers on top of CNN codes, as scikit-learn estimators.

They share one manner: codes are standardised with the training rows' own mean and scale (kNN:
brought to length 1, which needs nothing fitted), `class_weight="balanced"` gives every class the
same weight, and `decision_function` returns one score for each class, with two classes too. The
linear heads keep `coef_` and `intercept_` for codes as they come, so that they fold into the
network's graph; the ordinal head one latent value and the thresholds that cut it.

All that is particular of a head stands with its class, and their names in `HEADS`. How the strength
is chosen stands in `heads.py`, how the linear ones are solved in `linear.py` and `discriminant.py`,
cumulative logits in `ordinal.py`, and the kernel in `nystroem.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from medgraft.errors import FitError
from medgraft.features.encoders import product
from medgraft.features.scratch import scratch
from medgraft.learn.discriminant import discriminants
from medgraft.learn.linear import (
    FAR,
    Loss,
    Models,
    check_finite,
    class_weights,
    row_blocks,
    solve,
    solve_alike,
    standardise,
)
from medgraft.learn.nystroem import Landmarks, fit_landmarks, rbf
from medgraft.learn.ordinal import (
    OrdinalModels,
    cumulative_logits,
    log_probabilities,
    solve_ordinal_alike,
)
from medgraft.types import Floats, Ints

ClassWeight = Literal["balanced"] | None
Solver = Callable[..., Models | OrdinalModels]
"""Of codes, classes (n,), weights (n, S) of the rows in S subsets, strengths (S, m): all models."""

NEIGHBOURS = (49, 25, 15, 9, 5, 3, 1)
TEMPERATURE = 0.07
SHRINKAGES = (1.0, 0.9, 0.7, 0.4, 0.15, 0.05, 0.01)


# --------------------------------------------------------------------------- estimators


class _Head(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What the heads share: checks on the way in, scores on the way out, and their arrays."""

    _strength: str  # the parameter that is chosen
    _fitted: tuple[str, ...]  # what `fit` leaves, (…, d) first

    def _checked(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> Any:
        """Codes, class index and weight of the rows that weigh something; sets `classes_`."""
        codes, labels = validate_data(
            self, X, y, dtype=[np.float32, np.float64], ensure_all_finite=False
        )
        check_finite(codes)
        check_classification_targets(labels)
        weight = _check_sample_weight(
            sample_weight, codes, dtype=np.float64, ensure_non_negative=True
        )
        used = weight > 0
        self.classes_, index = np.unique(labels[used], return_inverse=True)
        if len(self.classes_) < 2:
            raise FitError(
                f"all {int(used.sum())} training rows are of one class "
                f"({', '.join(map(str, self.classes_))}); a classifier needs at least two classes"
            )
        return (codes if used.all() else codes[used]), index, weight[used]

    def _codes(self, X: ArrayLike) -> NDArray[Any]:
        check_is_fitted(self)
        codes: NDArray[Any] = validate_data(
            self, X, reset=False, dtype=[np.float32, np.float64], ensure_all_finite=False
        )
        check_finite(codes)
        return codes

    def decision_function(self, X: ArrayLike) -> Floats:
        raise NotImplementedError

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """What was fitted as arrays by name, and the settings; `head_from_arrays` reads both."""
        check_is_fitted(self)
        fitted = {name: np.ascontiguousarray(getattr(self, name)) for name in self._fitted}
        settings = self.get_params()
        if fitted["classes_"].dtype.kind not in "biuf":  # safetensors hold numbers only
            settings["classes"] = fitted.pop("classes_").tolist()
        strength = settings.pop(self._strength)
        return {**fitted, self._strength: np.array(strength)}, settings

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """The head that `to_arrays` wrote; settings left out are the defaults."""
        parameters = {name: value for name, value in settings.items() if name != "classes"}
        head = cls(**parameters, **{cls._strength: arrays[cls._strength].item()})
        for name in cls._fitted:
            setattr(head, name, np.asarray(arrays.get(name, settings.get("classes"))))
        head.n_features_in_ = getattr(head, cls._fitted[0]).shape[1]
        return head

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class with the highest score, for each row of X (n, d)."""
        best = self.decision_function(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels


class _PenalisedHead(_Head):
    """Heads with an L2 penalty on standardised codes, whose strength is C."""

    _strength = "C"
    C: float

    def _prepared(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> Any:
        """What solvers take: standardised codes, class index, weight (m, 1) and C (1, 1)."""
        if not self.C > 0:
            raise FitError(f"C = {self.C} must be positive; smaller is the stronger penalty")
        raw, index, weight = self._checked(X, y, sample_weight)
        return standardise(raw), index, weight[:, None], np.full((1, 1), self.C)

    @classmethod
    def strengths(cls, d: int) -> tuple[float, ...]:
        """Seven values of C for d features, from the strongest penalty to the weakest.

        On standardised codes |z|² is d on average, so that 1 / d is the natural unit of C (and
        SVMlight's default): the grid is 10^-1.5, 10^-0.75, … 10^3 of it.
        """
        return tuple((10.0 ** np.linspace(-1.5, 3, 7) / d).tolist())

    @classmethod
    def natural(cls, d: int) -> float:
        """The strength to take where none can be chosen: the natural unit of C."""
        return 1 / d


class _LinearHead(_PenalisedHead):
    _fitted = ("coef_", "intercept_", "classes_")
    _loss: Loss

    def __init__(
        self, C: float = 1.0, class_weight: ClassWeight = "balanced", tol: float = 1e-3
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.tol = tol

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on codes (n, d) and labels (n,).

        Raises
        ------
        FitError
            One class only, codes that are not finite, or C that is not positive.
        """
        codes, *rest = self._prepared(X, y, sample_weight)
        models = solve(codes, *rest, loss=self._loss, class_weight=self.class_weight, tol=self.tol)
        self.coef_, self.intercept_ = models.raw(codes, 0)
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """Scores (n, n_classes); with two classes -f/2 and f/2."""
        codes = self._codes(X)
        scores = [codes[b] @ self.coef_.T for b in row_blocks(*codes.shape)]
        return np.concatenate(scores) + self.intercept_

    @classmethod
    def solver(cls, total: float, class_weight: ClassWeight) -> Solver:
        """What fits many models at once, with strengths as rows of the weight `total` have them."""
        return partial(solve_alike, total=total, loss=cls._loss, class_weight=class_weight)


class LinearSVMHead(_LinearHead):
    """Linear support vector machine: L2 penalty, squared hinge, one class against the rest.

    Parameters
    ----------
    C : strength on *standardised* codes, as in `sklearn.svm.LinearSVC`, but the intercept is not
        penalised; smaller is the stronger penalty.
    class_weight : 'balanced' weighs class c by n / (n_classes n_c), in each one-against-rest
        problem too, or None.
    tol : error of the margins relative to their spread.

    Attributes
    ----------
    coef_ : (n_classes, d) and intercept_ : (n_classes,), for codes that are not standardised:
        scores = X @ coef_.T + intercept_. classes_ : (n_classes,).

    Examples
    --------
    >>> head = LinearSVMHead().fit([[0.0], [1.0], [3.0], [4.0]], ["a", "a", "b", "b"])
    >>> head.predict([[0.5], [3.5]]).tolist()
    ['a', 'b']
    """

    _loss: Loss = "squared_hinge"


class LogisticHead(_LinearHead):
    """Logistic regression with L2 penalty; softmax for more than two classes.

    Parameters and attributes are those of `LinearSVMHead`; C is that of
    `sklearn.linear_model.LogisticRegression` on *standardised* codes. The softmax of the scores
    is the model's probability.

    Examples
    --------
    >>> head = LogisticHead().fit([[0.0], [1.0], [3.0], [4.0]], ["a", "a", "b", "b"])
    >>> head.predict([[0.5], [3.5]]).tolist()
    ['a', 'b']
    """

    _loss: Loss = "log"


class LDAHead(_LinearHead):
    """Linear discriminant analysis on standardised codes, its covariance shrunk.

    The scores are the log posterior up to a constant (its formula stands in `discriminant.py`);
    two classes are given -f/2 and f/2.

    Parameters
    ----------
    shrinkage : s in (1 - s) S_within + s tr(S_within)/d I, above 0, at most 1, as that of
        `sklearn.discriminant_analysis.LinearDiscriminantAnalysis`; 1 is the nearest centroid.
    class_weight : 'balanced' for equal priors, or None for those of the training rows.

    Attributes are those of `LinearSVMHead`.

    Examples
    --------
    >>> head = LDAHead().fit([[0.0], [1.0], [3.0], [4.0]], ["a", "a", "b", "b"])
    >>> head.predict([[0.5], [3.5]]).tolist()
    ['a', 'b']
    """

    _strength = "shrinkage"

    def __init__(self, shrinkage: float = 0.4, class_weight: ClassWeight = "balanced") -> None:
        self.shrinkage = shrinkage
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on codes (n, d) and labels (n,).

        Raises
        ------
        FitError
            One class only, codes that are not finite, or a shrinkage that is not in (0, 1].
        """
        if not 0 < self.shrinkage <= 1:
            raise FitError(
                f"shrinkage = {self.shrinkage} must be above 0 and at most 1, the strongest"
            )
        raw, index, weight = self._checked(X, y, sample_weight)
        codes = standardise(raw)
        models = discriminants(
            codes, index, weight[:, None], np.full((1, 1), self.shrinkage),
            class_weight=self.class_weight,
        )  # fmt: skip
        self.coef_, self.intercept_ = models.raw(codes, 0)
        return self

    @classmethod
    def strengths(cls, d: int) -> tuple[float, ...]:
        """Seven shrinkages for any d, from the strongest to the weakest.

        Ledoit and Wolf's estimate falls among the middle ones for some hundred images.
        """
        return SHRINKAGES

    @classmethod
    def natural(cls, d: int) -> float:
        """The middle of the grid, to take where nothing can be chosen."""
        return 0.4

    @classmethod
    def solver(cls, total: float, class_weight: ClassWeight) -> Solver:
        """What fits many models at once; a shrinkage means the same for any number of rows."""
        return partial(discriminants, class_weight=class_weight)


class OrdinalHead(_PenalisedHead):
    """Cumulative logits with L2 penalty: the proportional odds model of classes that are grades.

    One latent value rises with the grade, and thresholds cut it (its formula stands in
    `ordinal.py`). Grades are the classes in their sorted order. The scores are the logarithms of
    the model's probabilities.

    Parameters
    ----------
    C : strength on *standardised* codes, as that of `LogisticHead`; smaller is the stronger
        penalty. The thresholds are not penalised.
    class_weight : 'balanced' weighs class c by n / (n_classes n_c), or None.
    tol : error of the latent values relative to their spread.

    Attributes
    ----------
    latent_coef_ : (1, d) and thresholds_ : (n_classes - 1,), rising, for codes that are not
        standardised: P(y <= k) = 1 / (1 + exp(X @ latent_coef_[0] - thresholds_[k])).
        classes_ : (n_classes,).

    Examples
    --------
    >>> head = OrdinalHead().fit([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]], [0, 0, 1, 1, 2, 2])
    >>> head.predict([[0.5], [2.5], [9.0]]).tolist()
    [0, 1, 2]
    """

    _fitted = ("latent_coef_", "thresholds_", "classes_")

    def __init__(
        self, C: float = 1.0, class_weight: ClassWeight = "balanced", tol: float = 3e-4
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.tol = tol

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on codes (n, d) and labels (n,), whose sorted order is that of the grades.

        Raises
        ------
        FitError
            One class only, codes that are not finite, or C that is not positive.
        """
        codes, *rest = self._prepared(X, y, sample_weight)
        models = cumulative_logits(codes, *rest, class_weight=self.class_weight, tol=self.tol)
        for name, array in models.arrays(codes, 0).items():
            setattr(self, name, array)
        return self

    @property
    def directions(self) -> Floats:
        """Which way the latent value speaks for each grade, (n_classes,): -1 for the lowest.

        For a grade between, a high latent value speaks up to a point only; what is shown of it
        (maps) is what raises the grade.
        """
        return np.where(np.arange(len(self.classes_)) == 0, -1.0, 1.0)

    def latent(self, X: ArrayLike) -> Floats:
        """The latent value of each row of X (n, d), in log odds: (n,)."""
        codes = self._codes(X)
        found = [codes[b] @ self.latent_coef_[0] for b in row_blocks(*codes.shape)]
        return np.concatenate(found)

    def decision_function(self, X: ArrayLike) -> Floats:
        """Logarithms of the model's probabilities, (n, n_classes)."""
        return log_probabilities(self.latent(X)[:, None], self.thresholds_[:, None])[..., 0]

    @classmethod
    def solver(cls, total: float, class_weight: ClassWeight) -> Solver:
        """What fits many models at once, with strengths as rows of the weight `total` have them."""
        return partial(solve_ordinal_alike, total=total, class_weight=class_weight)


class RBFHead(_Head):
    """Support vector machine with an RBF kernel by Nyström's approximation, squared hinge.

    Landmarks are drawn among the training rows (see `nystroem.py`). There are no coefficients on
    the codes, hence no graph.

    Parameters
    ----------
    C : strength, as in `sklearn.svm.SVC`; smaller is the stronger penalty.
    class_weight : 'balanced' weighs class c by n / (n_classes n_c), or None.
    n_landmarks : at most; with as many as training rows the kernel is exact.
    seed : of the landmarks' draw.

    Examples
    --------
    >>> head = RBFHead().fit([[0.0], [1.0], [2.0], [3.0], [4.0]], ["a", "a", "b", "a", "a"])
    >>> head.predict([[2.0], [4.5]]).tolist()
    ['b', 'a']
    """

    _strength = "C"
    _fitted = ("points_", "mean_", "scale_", "gamma_", "dual_coef_", "intercept_", "classes_")
    _loss: Loss = "squared_hinge"

    def __init__(
        self, C: float = 1.0, class_weight: ClassWeight = "balanced", n_landmarks: int = 512,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self.C = C
        self.class_weight = class_weight
        self.n_landmarks = n_landmarks
        self.seed = seed

    def landmarks(self, X: NDArray[Any], y: Ints, weight: Floats) -> Landmarks:
        """Those of the rows whose weight is not 0; X (n, d), y (n,), weight (n,)."""
        return fit_landmarks(X, y, weight, self.n_landmarks, self.seed)

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on codes (n, d) and labels (n,).

        Raises
        ------
        FitError
            One class only, codes that are not finite, C or n_landmarks that is not positive.
        """
        if not (self.C > 0 and self.n_landmarks > 0):
            raise FitError(f"C = {self.C} and n_landmarks = {self.n_landmarks} must be positive")
        raw, index, weight = self._checked(X, y, sample_weight)
        marks = self.landmarks(raw, index, weight)
        features = standardise(marks.features(raw), scaled=False)
        models = solve(
            features, index, weight[:, None], np.full((1, 1), self.C), loss=self._loss,
            class_weight=self.class_weight,
        )  # fmt: skip
        coef, self.intercept_ = models.raw(features, 0)
        self.points_, self.mean_, self.scale_ = marks.points, marks.mean, marks.scale
        self.gamma_, self.dual_coef_ = np.array([marks.gamma]), coef @ marks.root.T
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """Scores (n, n_classes); with two classes -f/2 and f/2."""
        codes, gamma = self._codes(X), self.gamma_.item()
        scores = [
            rbf((codes[b] - self.mean_) / self.scale_, self.points_, gamma) @ self.dual_coef_.T
            for b in row_blocks(len(codes), max(self.points_.shape))
        ]
        return np.concatenate(scores) + self.intercept_

    @classmethod
    def strengths(cls, d: int) -> tuple[float, ...]:
        """Seven values of C for any d: the features have length 1, the natural unit of C is 1."""
        return _LinearHead.strengths(1)

    @classmethod
    def natural(cls, d: int) -> float:
        """The strength to take where none can be chosen: the natural unit of C."""
        return 1.0

    @classmethod
    def solver(cls, total: float, class_weight: ClassWeight) -> Solver:
        """What fits many models at once over the features of one set of landmarks."""
        return partial(solve_alike, total=total, loss=cls._loss, class_weight=class_weight)


class KNNHead(_Head):
    """Weighted k nearest neighbours by cosine similarity.

    A neighbour of similarity s votes with a exp((s - s_nearest) / 0.07), where a is its row weight,
    1 on average (Wu et al., "Unsupervised feature learning via non-parametric instance
    discrimination", CVPR 2018). The score of class c is the logarithm of its smoothed share,

        (votes_c + π_c) / (Σ votes + 1),    π_c the class's share of the training weight,

    so that one vote's worth of prior keeps it finite. Cosine needs no fitted scaler, hence one set
    of similarities serves all folds; it is not invariant to the scale of single features.

    Parameters
    ----------
    k : neighbours that vote (all rows when there are fewer).
    class_weight : 'balanced' weighs class c by n / (n_classes n_c), or None.

    Examples
    --------
    >>> head = KNNHead(k=1).fit([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]], [0, 0, 1, 1])
    >>> head.predict([[0.0, 2.0], [5.0, 0.0]]).tolist()
    [0, 1]
    """

    _strength = "k"
    _fitted = ("codes_", "index_", "weight_", "classes_")

    def __init__(self, k: int = 5, class_weight: ClassWeight = "balanced") -> None:
        self.k = k
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Keep codes (n, d), brought to length 1, and labels (n,).

        Raises
        ------
        FitError
            One class only, codes that are not finite, or k below 1.
        """
        if self.k < 1:
            raise FitError(f"k = {self.k} must be at least 1")
        raw, index, weight = self._checked(X, y, sample_weight)
        self.codes_, self.index_ = unit(raw), index
        self.weight_ = class_weights(index, weight[:, None], self.class_weight)[:, 0]
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """Logarithm of the smoothed vote shares, (n, n_classes)."""
        codes = unit(self._codes(X))
        n_classes, out = len(self.classes_), []
        for block in row_blocks(len(codes), len(self.codes_)):
            near, which = nearest(similarity(codes[block], self.codes_), self.k)
            out.append(vote(near, which, self.index_, self.weight_, n_classes, (self.k,))[0])
        return np.concatenate(out)

    @classmethod
    def strengths(cls, d: int) -> tuple[float, ...]:
        """Numbers of neighbours to choose from, from the smoothest to the roughest."""
        return NEIGHBOURS

    @classmethod
    def natural(cls, d: int) -> float:
        """The neighbours to ask where no number can be chosen; of fewer rows, all of them vote."""
        return 5.0


# --------------------------------------------------------------------------- by name


Head = LinearSVMHead | LogisticHead | LDAHead | OrdinalHead | RBFHead | KNNHead
Kind = (
    type[LinearSVMHead]
    | type[LogisticHead]
    | type[LDAHead]
    | type[OrdinalHead]
    | type[RBFHead]
    | type[KNNHead]
)

HEADS: Mapping[str, Kind] = MappingProxyType(
    {
        "svm": LinearSVMHead,
        "logistic": LogisticHead,
        "lda": LDAHead,
        "ordinal": OrdinalHead,
        "rbf": RBFHead,
        "knn": KNNHead,
    }
)
"""Heads by name, simplest first: the linear ones keep d + 1 numbers a class, the ordinal one d and
its thresholds, RBF at most 512 codes, kNN all of them."""


def head_from_arrays(
    name: str, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]
) -> Head:
    """The fitted head `name` from what its `to_arrays` gave; settings left out are the defaults."""
    head: Head = HEADS[name].from_arrays(arrays, settings)
    return head


# --------------------------------------------------------------------------- neighbours


def unit(X: NDArray[Any]) -> NDArray[np.float32]:
    """Rows of length 1, float32; rows of zeros stay."""
    out = scratch(X.shape)
    for block in row_blocks(*X.shape):
        x = X[block].astype(np.float64)
        length = np.linalg.norm(x, axis=1, keepdims=True)
        out[block] = x / np.where(length > 0, length, 1)
    return out


def similarity(
    codes: NDArray[np.float32], others: NDArray[np.float32], rows: Ints | None = None
) -> NDArray[np.float32]:
    """Inner products (n, m) of codes (n, d) with m rows of others; by default with all of them."""
    m, d = len(others) if rows is None else len(rows), others.shape[1]
    parts = [product(codes, others[b if rows is None else rows[b]].T) for b in row_blocks(m, d)]
    return np.concatenate(parts, axis=1)


def nearest(similar: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], Ints]:
    """Similarities (n, k) and columns (n, k) of the k most similar, most similar first."""
    k = min(k, similar.shape[1])
    which = np.argpartition(-similar, k - 1, axis=1)[:, :k]
    near = np.take_along_axis(similar, which, axis=1)
    order = np.argsort(-near, axis=1, kind="stable")
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(which, order, axis=1)


def vote(
    near: NDArray[np.float32], which: Ints, y: Ints, weight: Floats, n_classes: int,
    ks: tuple[float, ...],
) -> Floats:  # fmt: skip
    """Scores (len(ks), n, n_classes) from neighbours near, which (n, k) of rows y, weight (m,)."""
    weight = weight / weight[weight > 0].mean()
    prior = np.bincount(y, weight, n_classes) / weight.sum()
    with np.errstate(under="ignore"):
        strength = weight[which] * np.exp((near - near[:, :1]).astype(np.float64) / TEMPERATURE)
    votes = np.stack([(strength * (y[which] == c)).cumsum(axis=1) for c in range(n_classes)], -1)
    votes = votes[:, [min(int(k), votes.shape[1]) - 1 for k in ks]]  # (n, len(ks), n_classes)
    share = (votes + prior) / (votes.sum(axis=-1, keepdims=True) + 1)
    scores: Floats = np.log(np.maximum(share, np.exp(-FAR))).swapaxes(0, 1)
    return scores
