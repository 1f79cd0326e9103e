"""medgraft for people who live in scikit-learn: one estimator, from images to probabilities.

`TransferClassifier` turns what scikit-learn hands it (paths or arrays, labels, groups, weights)
into an `ImageTable` and calls what a study calls: codes, folds, `learn.fit`, `recommend`. It looks
at no test split, because the split is the caller's (`cross_val_score`, `train_test_split`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from medgraft.classifier_input import (
    GivenImages,
    Images,
    given_images,
    has_several_findings,
    labelled_table,
    marks_of,
    weighed_table,
)
from medgraft.data.pixels.formats import Decoded
from medgraft.data.preprocess import make_canvas, recipe_of
from medgraft.data.split import Development, keep_copies_together, make_folds
from medgraft.errors import BackboneError, DataError
from medgraft.features.backbones import DEFAULT
from medgraft.features.cache import Cache
from medgraft.features.extract import SEGMENT_ROWS, Extractor
from medgraft.learn.fit import cross_fitted_all
from medgraft.learn.frozen import FittedFrozen
from medgraft.panel import Panel
from medgraft.studies.choose_tap import ChosenTap, choose_tap, choose_taps
from medgraft.studies.options import StudyOptions
from medgraft.studies.plan import PlannedScenario, plan
from medgraft.types import (
    FeatureSpec,
    FeatureTable,
    Floats,
    ImageTable,
    Pixels,
    ResizeRule,
    Strings,
)


class TransferClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # sklearn: no types
    """CNN codes of a pretrained network with a calibrated head on top.

    Fitting cross-validates every candidate tap with groups whole and the head's strength chosen
    inside each fold, takes the simplest tap that is expected to lose little against the best (the
    rule of `medgraft.study`), calibrates its probabilities on the out-of-fold scores, and refits
    its head once on all images. Codes and out-of-fold scores are kept in the cache by content, of
    files and of arrays, so that `cross_val_score` and `GridSearchCV` read each image once.

    Parameters
    ----------
    backbone : a timm name whose weights come by pip (`medgraft backbones` lists them).
    tap : the layer to read, 'stages' for the ends of all stages side by side, or 'auto' to choose
        by cross-validation.
    head : a name in `scenario.HEADS`, such as 'svm', 'logistic' or 'knn'; 'ordinal' takes
        the sorted labels as grades.
    pooling : how a tap's positions become one code, such as 'avg' or 'max'.
    resize : 'squash', 'crop' or 'pad' to the network's input size.
    engine : 'openvino' or 'torch'. workers : threads; all cores by default (1 is right inside
        `GridSearchCV(n_jobs=...)`). cache : a folder; the user's cache by default.
    random_state : deals the folds; an int gives the same numbers every time.

    Attributes
    ----------
    classes_ : (n_classes,) the labels, sorted.
    tap_ : the tap in use. taps_ : out-of-fold AUROC of each tap compared, simplest first.
    auroc_ : `Estimate` of the out-of-fold AUROC, corrected for the tap having been chosen by it.
    oof_ : out-of-fold `Predictions`; their `ids` are row numbers of X.
    threshold_ : on the probability of `classes_[1]`, the highest out-of-fold balanced accuracy;
        None for more than two classes. `predict` does not use it: as everywhere in scikit-learn
        it gives the most probable class.
    fitted_ : the `FittedScenario` inside; `fitted_.save(folder)` writes what `load_model` and every
        command take.

    Of several findings an image, y (n, k), `classes_` is 0 .. k - 1, `multilabel_` True, and what
    is said of a finding stands k times in a tuple: `tap_`, `taps_`, `auroc_`, `oof_`, `threshold_`,
    `fitted_`. One tap serves all, unless each its own is better beyond doubt (docs/panel.md).

    Notes
    -----
    Pickling (joblib) keeps what was learned and not the network, which is found again by its
    name; other weights under that name are refused.

    X is images, so there is no `n_features_in_`, and those of scikit-learn's `check_estimator`
    that feed a matrix of features do not apply (the tag `two_d_array` is off, and it skips them).
    Integer weights are not the same as repeated rows: copies of an image are never split between
    folds, and calibration counts every image once.

    Examples
    --------
    ::

        paths, labels, patients = ...
        classifier = TransferClassifier().fit(paths, labels, groups=patients)
        classifier.tap_, classifier.auroc_
        classifier.predict_proba(["new.png"])

        cross_val_score(
            TransferClassifier(), paths, labels, groups=patients,
            cv=StratifiedGroupKFold(5), params={"groups": patients},
        )
    """

    def __init__(
        self,
        backbone: str = DEFAULT,
        tap: str = "auto",
        head: str = "svm",
        pooling: str = "avg",
        resize: ResizeRule = "squash",
        engine: str = "openvino",
        workers: int | None = None,
        cache: str | os.PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.backbone = backbone
        self.tap = tap
        self.head = head
        self.pooling = pooling
        self.resize = resize
        self.engine = engine
        self.workers = workers
        self.cache = cache
        self.random_state = random_state

    def fit(
        self,
        X: Images,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Choose the tap, calibrate, and fit on all images.

        Parameters
        ----------
        X
            n paths of image files, an array (n, height, width[, 3]) uint8, or a list of such
            images of different sizes. Floats are refused: whether they run to 1 or to 255 would
            be a guess.
        y
            (n,) labels: numbers or strings. Of several findings an image (n, k) 0 and 1; in a
            masked array (`numpy.ma`) what is masked is unknown, and is neither learned from nor
            judged by. Each finding is then a question of its own, on shared codes and folds.
        groups
            (n,) what must not be split (patients); None, nan or '' is an image on its own. By
            default every image is, with its exact copies; names are not searched for patients.
        sample_weight
            (n,) weights of the images in the head's training; 0 leaves an image out altogether.
            The choice of tap and strength and the calibration count every image once.

        Raises
        ------
        DataError
            X, y, groups or sample_weight do not fit each other, or an image cannot be read.
        FitError
            One class only, or too few groups for cross-validation; of a finding too.
        ScenarioError, BackboneError
            A parameter names nothing that exists.
        """
        options = StudyOptions(
            backbones=(self.backbone,),
            heads=(self.head,),
            poolings=(self.pooling,),
            resize=self.resize,
            seed=_seed(self.random_state),
        )
        extractor, images = self._extractor(), given_images(X)
        if has_several_findings(y):
            return self._fit_findings(options, extractor, images, y, groups, sample_weight)
        classes, table, weight = labelled_table(images, y, groups, sample_weight)
        table = keep_copies_together(table)
        planned = self._planned(options, len(table), len(table.classes), extractor)
        folds = make_folds(table, options.n_folds, options.seed)
        development = Development(table, folds, weight)
        self._read(images, table, planned, extractor)
        scenarios = [entry.scenario for entry in planned]
        judged = cross_fitted_all(scenarios, development, extractor)
        by_key = {each.predictions.scenario: each for each in judged}
        self._keep(choose_tap([by_key[scenario.key] for scenario in scenarios]), classes)
        extractor.cache.prune()
        return self

    def _fit_findings(
        self,
        options: StudyOptions,
        extractor: Extractor,
        images: GivenImages,
        y: Any,
        groups: ArrayLike | None,
        sample_weight: ArrayLike | None,
    ) -> Self:
        """`fit` of several findings an image."""
        marks = marks_of(y, len(images.sources))
        table, weight = weighed_table(images, groups, sample_weight)
        table, marks = keep_copies_together(table), marks[table.ids.astype(np.int64)]
        classes = np.arange(marks.shape[1])
        planned = self._planned(options, len(table), 2, extractor)
        self._read(images, table, planned, extractor)
        scenarios = [entry.scenario for entry in planned]
        panel = Panel(table, tuple(f"y[:, {j}]" for j in classes), marks)
        self._keep(choose_taps(panel, weight, scenarios, options, extractor), classes)
        extractor.cache.prune()
        return self

    def _read(
        self,
        images: GivenImages,
        table: ImageTable,
        planned: Sequence[PlannedScenario],
        extractor: Extractor,
    ) -> None:
        """Have the codes of all taps in the cache, in one pass."""
        backbone = extractor.backbone(self.backbone)
        taps = dict.fromkeys(
            tap.name for entry in planned for tap in backbone.named(entry.scenario.tap)
        )
        spec = extractor.spec(self.backbone, list(taps), [self.pooling], resize=self.resize)
        _codes(images, table, spec, extractor)

    def _keep(self, found: ChosenTap | tuple[ChosenTap, ...], classes: NDArray[Any]) -> None:
        """Keep what the classifier says of itself; of several findings as tuples.

        All at once, so that a fit that fails leaves what was fitted before.
        """
        self.multilabel_, self.classes_ = isinstance(found, tuple), classes
        for name in ("fitted", "tap", "taps", "auroc", "oof", "threshold"):
            of = (
                tuple(getattr(one, name) for one in found)
                if isinstance(found, tuple)
                else getattr(found, name)
            )
            setattr(self, f"{name}_", of)

    def decision_function(self, X: Images) -> Floats:
        """Calibrated log-odds: (n,) of `classes_[1]` for two classes, else (n, n_classes).

        With more than two classes the softmax of a row is its `predict_proba`; of several findings
        the logistic function of each number is. X and errors as in `fit`; before it
        `sklearn.exceptions.NotFittedError`.
        """
        check_is_fitted(self)
        if self.multilabel_:
            return self._log_odds(X)
        logits = self._logits(given_images(X), self.fitted_)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Images) -> NDArray[np.float64]:
        """Probabilities (n, n_classes), columns as in `classes_`; of several findings (n, k)."""
        from scipy.special import expit, softmax

        check_is_fitted(self)
        probabilities: NDArray[np.float64] = (
            expit(self._log_odds(X))
            if self.multilabel_
            else softmax(self._logits(given_images(X), self.fitted_), axis=1)
        )
        return probabilities

    def predict(self, X: Images) -> NDArray[Any]:
        """The most probable class of each image, (n,); of several findings 0 and 1, (n, k)."""
        check_is_fitted(self)
        if self.multilabel_:
            return (self._log_odds(X) > 0).astype(np.int64)
        best = self._logits(given_images(X), self.fitted_).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def _log_odds(self, X: Images) -> Floats:
        """Calibrated log odds (n, k) of each finding."""
        images, found = given_images(X), []
        for one in self.fitted_:
            logits = self._logits(images, one)
            with_it = one.classes.index(one.positive)
            found.append(logits[:, with_it] - logits[:, 1 - with_it])
        return np.stack(found, axis=1)

    def _logits(self, images: GivenImages, fitted: FittedFrozen) -> Floats:
        """Calibrated logits (n, n_classes), whose softmax is the probabilities."""
        spec, extractor = fitted.spec, fitted.extractor
        if extractor.backbone(spec.backbone).card.sha256 != spec.weights:
            raise BackboneError(
                f"the weights of {spec.backbone} here are not those this classifier was fitted "
                f"with (sha256 {spec.weights[:12]}…); install the same, or fit again"
            )
        table = images.table().shown_by(fitted.rule)
        codes = _codes(images, table, spec, extractor)
        scores = fitted.head.decision_function(codes.matrix(*spec.blocks))
        return fitted.calibrator.logits(scores)

    def _extractor(self) -> Extractor:
        cache = Cache(None if self.cache is None else Path(self.cache))
        return Extractor(cache, engine=self.engine, workers=self.workers)

    def _planned(
        self, options: StudyOptions, n: int, n_classes: int, extractor: Extractor
    ) -> tuple[PlannedScenario, ...]:
        """The scenarios to compare, simplest first: one a tap, or the one of the tap named."""
        planned = plan(options, extractor, n, n_classes)
        if self.tap == "auto":
            return planned
        extractor.backbone(self.backbone).named(self.tap)  # refuses what is no tap
        return tuple(entry for entry in planned if entry.scenario.tap == self.tap)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if "fitted_" in state:  # threads and compiled networks cannot be pickled
            state = {**state, "fitted_": _with_extractor(self.fitted_, cast(Any, 0))}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "fitted_" in state:
            self.fitted_: Any = _with_extractor(state["fitted_"], self._extractor())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.three_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.classifier_tags.multi_label = True
        return tags


def _with_extractor(fitted: Any, extractor: Extractor) -> Any:
    """The same, of one question or of several findings, read by another extractor."""
    if isinstance(fitted, tuple):
        return tuple(_with_extractor(one, extractor) for one in fitted)
    return dataclasses.replace(fitted, extractor=extractor)


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """An int as it is; otherwise one drawn, as scikit-learn understands `random_state`."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _codes(
    images: GivenImages, table: ImageTable, spec: FeatureSpec, extractor: Extractor
) -> FeatureTable:
    """Codes of every image of a table, through the cache.

    Raises
    ------
    DataError
        An image cannot be decoded.
    """
    if images.pixels:
        _keep_codes(images.pixels, table.content_hashes, spec, extractor)
    codes, skipped = extractor.codes(table, spec)
    if skipped:
        row = int(skipped[0].source)
        raise DataError(
            f"{len(skipped)} of {len(table)} images cannot be read; the first is X[{row}] "
            f"({images.sources[row].path}): {skipped[0].reason}"
        )
    return codes


def _keep_codes(
    pixels: Mapping[str, Pixels], hashes: Strings, spec: FeatureSpec, extractor: Extractor
) -> None:
    """Compute the codes of arrays that the cache lacks, so that it has those of all of them."""
    store = extractor.cache.features(spec)
    unique = np.unique(hashes)
    lacking = unique[store.missing(unique, spec.blocks)]
    recipe = recipe_of(spec)
    for start in range(0, len(lacking), SEGMENT_ROWS):
        part = lacking[start : start + SEGMENT_ROWS]
        canvases = (
            make_canvas(name, Decoded(pixels[name], pixels[name].shape[:2]), recipe)
            for name in part.tolist()
        )
        rows = [codes for _, codes in extractor.run(canvases, spec)]
        store.write(part, {block: np.stack([row[block] for row in rows]) for block in spec.blocks})
