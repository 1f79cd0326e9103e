from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit, softmax
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.validation import check_is_fitted

import medgraft
from medgraft import TransferClassifier
from medgraft.classifier_input import given_images
from medgraft.data.pixels.formats import Decoded
from medgraft.data.preprocess import CanvasRecipe, make_canvas
from medgraft.data.split import Development, make_folds
from medgraft.errors import BackboneError, DataError, FitError, ScenarioError
from medgraft.evaluate.calibration import fit_calibrator
from medgraft.features.extract import Extractor
from medgraft.files import StorageError
from medgraft.learn.fit import cross_fitted

# Torch needs no graph converted, and the tap is shallow: seconds instead of minutes.
QUICK: dict[str, Any] = {"tap": "stem", "engine": "torch", "workers": 2}


@pytest.fixture(scope="module")
def X() -> NDArray[np.uint8]:  # noqa: N802
    """Forty noisy images 24 px high and 32 wide, grey; every second one is brighter."""
    noise = np.random.default_rng(0).integers(0, 200, (40, 24, 32))
    return (noise + 30 * (np.arange(40) % 2)[:, None, None]).astype(np.uint8)


@pytest.fixture(scope="module")
def y() -> NDArray[np.str_]:
    return np.array(["dark", "bright"] * 20)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def quick(store: Path) -> Callable[..., TransferClassifier]:
    return partial(TransferClassifier, **QUICK, cache=store)


@pytest.fixture(scope="module")
def fitted(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8], y: NDArray[np.str_]
) -> TransferClassifier:
    return quick().fit(X, y)


# --------------------------------------------------------------------------- what it learns


def test_it_learns_and_keeps_to_the_conventions(
    fitted: TransferClassifier, X: NDArray[np.uint8], y: NDArray[np.str_]
) -> None:
    assert fitted.classes_.tolist() == ["bright", "dark"]
    assert fitted.score(X, y) > 0.9
    odds, p = fitted.decision_function(X), fitted.predict_proba(X)
    assert (odds.shape, p.shape) == ((40,), (40, 2))
    np.testing.assert_allclose(expit(odds), p[:, 1], rtol=1e-9)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[p.argmax(axis=1)])
    np.testing.assert_array_equal(fitted.predict(X) == "dark", odds > 0)


def test_the_probabilities_were_calibrated_out_of_fold(
    fitted: TransferClassifier, X: NDArray[np.uint8], y: NDArray[np.str_]
) -> None:
    oof = fitted.oof_
    assert fitted.fitted_.calibrator == fit_calibrator(oof.scores, oof.y_true)
    canvases = [
        make_canvas("", Decoded(image, (24, 32)), CanvasRecipe(fitted.fitted_.spec.size))
        for image in X[:6]
    ]
    np.testing.assert_allclose(fitted.predict_proba(X[:6]), fitted.fitted_.probabilities(canvases))
    assert oof.ids.tolist() == [str(row) for row in range(40)]
    assert sorted(set(oof.fold)) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(np.array(oof.classes)[oof.y_true], y)
    # The area by its definition: how often a dark image scores above a bright one.
    odds = oof.y_prob[:, 1]
    dark, bright = odds[y == "dark"], odds[y == "bright"]
    area = ((dark[:, None] > bright) + 0.5 * (dark[:, None] == bright)).mean()
    assert fitted.auroc_.value == pytest.approx(area)
    assert fitted.taps_ == {"stem": fitted.auroc_.value}
    assert fitted.auroc_.low < fitted.auroc_.high
    assert fitted.threshold_ is not None
    assert 0 < fitted.threshold_ < 1


def test_more_classes_have_a_column_each_and_no_threshold(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8]
) -> None:
    three = X.copy()
    three[2::3] //= 4
    numbers = np.where(np.arange(40) % 3 == 2, 30, 10 * (1 + np.arange(40) % 2))
    fitted = quick(head="logistic").fit(three, numbers)
    assert fitted.classes_.tolist() == [10, 20, 30]
    assert fitted.predict(three).dtype == numbers.dtype
    logits = fitted.decision_function(three)
    assert logits.shape == (40, 3)
    np.testing.assert_allclose(softmax(logits, axis=1), fitted.predict_proba(three))
    assert (fitted.threshold_, fitted.oof_.positive) == (None, None)


def test_auto_compares_every_tap_and_takes_the_simplest_that_is_as_good(
    X: NDArray[np.uint8], y: NDArray[np.str_], store: Path
) -> None:
    bright = X // 2 + np.where(np.arange(40) % 2, 100, 0).astype(np.uint8)[:, None, None]
    fitted = TransferClassifier(engine="torch", workers=2, cache=store).fit(bright, y)
    single = ["stem", *(f"blocks.{i}" for i in range(7)), "conv_head"]
    assert [tap for tap in fitted.taps_ if tap != "stages"] == single
    # Light and dark are told apart without an error by every tap, so the shallowest must win.
    assert fitted.taps_["stem"] == 1
    assert (fitted.tap_, fitted.fitted_.scenario.tap) == ("stem", "stem")
    assert fitted.auroc_.value == 1
    assert fitted.auroc_.low < 1


# --------------------------------------------------------------------------- groups and weights


def test_groups_are_whole_and_the_missing_ones_alone(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8], y: NDArray[np.str_]
) -> None:
    groups = np.array([f"p{row // 4}" for row in range(40)], dtype=object)
    groups[:3] = [None, float("nan"), ""]
    oof = quick().fit(X, y, groups=groups).oof_
    assert len(np.unique(oof.groups)) == 13
    for row in range(4, 40, 4):
        assert len(set(oof.fold[row : row + 4].tolist())) == 1


def test_without_groups_copies_of_an_image_stay_together(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8], y: NDArray[np.str_]
) -> None:
    oof = quick().fit(np.concatenate([X, X]), np.concatenate([y, y])).oof_
    np.testing.assert_array_equal(oof.fold[:40], oof.fold[40:])


def test_a_copy_under_another_patient_is_judged_with_its_twin(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8], y: NDArray[np.str_]
) -> None:
    twice, labels = np.concatenate([X, X]), np.concatenate([y, y])
    named = [f"p{row}" for row in range(80)]
    for groups in (named, [None] * 40 + named[40:]):
        oof = quick().fit(twice, labels, groups=groups).oof_
        np.testing.assert_array_equal(oof.fold[:40], oof.fold[40:])


def test_a_fit_that_fails_leaves_what_was_fitted(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8], y: NDArray[np.str_]
) -> None:
    classifier = quick().fit(X, y)
    before = classifier.predict(X)
    few = np.where(np.arange(40) == 0, "one of its kind", y)
    for one in (classifier, quick()):
        with pytest.raises(FitError):
            one.fit(X, few)
    np.testing.assert_array_equal(classifier.predict(X), before)
    fresh = quick()
    with pytest.raises(FitError):
        fresh.fit(X, few)
    with pytest.raises(NotFittedError):
        fresh.predict(X)


def test_pandas_missing_patients_are_images_of_their_own(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8], y: NDArray[np.str_]
) -> None:
    groups = pd.array([pd.NA if row % 2 else f"p{row // 4}" for row in range(40)], dtype="string")
    oof = quick().fit(X, y, groups=groups).oof_
    assert len(np.unique(oof.groups)) == 30


def test_grid_search_hands_patients_on_where_it_is_told_to(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8], y: NDArray[np.str_]
) -> None:
    patients = np.array([f"p{row // 4}" for row in range(40)])
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = quick().set_fit_request(groups=True)
        search = GridSearchCV(classifier, {"head": ["svm"]}, cv=StratifiedGroupKFold(2))
        search.fit(X, y, groups=patients)
    assert set(search.best_estimator_.oof_.groups) == set(patients)


def test_a_weight_of_zero_leaves_an_image_out(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8], y: NDArray[np.str_]
) -> None:
    weight = np.where(np.arange(40) < 10, 0.0, 1.0)
    wrong = np.where(weight == 0, "nonsense", y)
    weighted = quick().fit(X, wrong, sample_weight=weight)
    assert weighted.classes_.tolist() == ["bright", "dark"]
    assert weighted.oof_.ids.tolist() == [str(row) for row in range(10, 40)]
    without = quick().fit(X[10:], y[10:])
    np.testing.assert_allclose(weighted.predict_proba(X), without.predict_proba(X))


def test_weights_reach_the_head(
    fitted: TransferClassifier,
    quick: Callable[..., TransferClassifier],
    X: NDArray[np.uint8],
    y: NDArray[np.str_],
) -> None:
    same = quick().fit(X, y, sample_weight=np.ones(40))
    np.testing.assert_array_equal(same.decision_function(X), fitted.decision_function(X))
    other = quick().fit(X, y, sample_weight=1 + np.arange(40) % 7)
    assert not np.allclose(other.decision_function(X), fitted.decision_function(X))


# --------------------------------------------------------------------------- what X may be


@pytest.fixture(scope="module")
def paths(X: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    files = [folder / f"{row}.png" for row in range(len(X))]
    for pixels, file in zip(X, files, strict=True):
        Image.fromarray(pixels).save(file)
    return files


def test_arrays_lists_colour_and_files_are_the_same_images(
    fitted: TransferClassifier, X: NDArray[np.uint8], paths: list[Path]
) -> None:
    expected = fitted.decision_function(X)
    before = X.copy()
    X.setflags(write=False)  # as joblib maps it into the workers of a grid search
    same: list[Any] = [
        X,
        list(X),
        X[..., None],
        np.repeat(X[..., None], 3, axis=3),
        [X[0], *X[1:, :, :, None]],
        np.asfortranarray(X),
        paths,
        [str(path) for path in paths],
        np.array([str(path) for path in paths], dtype=object),
    ]
    for given in same:
        np.testing.assert_allclose(fitted.decision_function(given), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(X, before)
    one_by_one = [fitted.decision_function([image])[0] for image in X[:4]]
    np.testing.assert_allclose(one_by_one, expected[:4], rtol=1e-9)
    np.testing.assert_allclose(fitted.decision_function(X[::-1]), expected[::-1], rtol=1e-9)


def test_images_of_differing_sizes(fitted: TransferClassifier, X: NDArray[np.uint8]) -> None:
    doubled = np.kron(X[0], np.ones((2, 2), np.uint8))
    assert fitted.predict([X[0], doubled, X[1, :20]]).shape == (3,)


def test_it_is_a_study_of_the_same_files_bit_for_bit(
    paths: list[Path], y: NDArray[np.str_], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, label in zip(paths, y, strict=True):
        (path.parent / label).mkdir(exist_ok=True)
        (path.parent / label / path.name).write_bytes(path.read_bytes())
    table = medgraft.load(paths[0].parent, no_groups=True)
    files, labels = [source.path for source in table.sources], np.array(table.classes)[table.labels]
    fitted = TransferClassifier(**QUICK, cache=store).fit(files, labels, groups=table.groups)
    extractor = Extractor(medgraft.Cache(store), engine="torch")
    monkeypatch.setattr(Extractor, "fill", None)  # the codes are there: nothing is read again
    study = cross_fitted(fitted.fitted_.scenario, Development(table, make_folds(table)), extractor)
    np.testing.assert_array_equal(fitted.oof_.scores, study.predictions.scores)
    np.testing.assert_array_equal(fitted.oof_.fold, study.predictions.fold)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("scan.png", "one path"),
        (Path("scan.png"), "one path"),
        ([], "empty"),
        (["missing.png", "there.png"], r"X\[0\] \(missing.png\) cannot be read: No such file"),
        (np.zeros((4, 9)), r"shape \(4, 9\)"),
        (np.zeros((4, 9, 9)), r"float64; medgraft reads 0..255 uint8"),
        (np.zeros((4, 9, 9, 4), np.uint8), r"X\[0\] has shape \(9, 9, 4\)"),
        ([np.zeros((9, 9), np.uint8), np.zeros(9, np.uint8)], r"X\[1\] has shape \(9,\)"),
        ([np.zeros((0, 9), np.uint8)], r"shape \(0, 9\)"),
        ([np.zeros((9, 9), np.uint8), "a.png"], "mixes"),
        ([[1, 2], [3, 4]], r"X\[0\] is a list"),
    ],
)
def test_what_is_no_image_is_refused(
    given: Any, said: str, fitted: TransferClassifier, quick: Callable[..., TransferClassifier]
) -> None:
    with pytest.raises(DataError, match=said):
        fitted.predict(given)
    with pytest.raises(DataError, match=said):
        quick().fit(given, [0, 1])


def test_a_damaged_file_is_named(
    fitted: TransferClassifier,
    quick: Callable[..., TransferClassifier],
    paths: list[Path],
    y: NDArray[np.str_],
    tmp_path: Path,
) -> None:
    (tmp_path / "cut.png").write_bytes(paths[0].read_bytes()[:200])
    several = [*paths[:5], tmp_path / "cut.png", *paths[6:]]
    with pytest.raises(DataError, match=r"1 of 40 images .* X\[5\] \(.*cut.png\)"):
        quick().fit(several, y)
    with pytest.raises(DataError, match=r"X\[5\] \(.*cut.png\)"):
        fitted.predict(several)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"y": ["a"] * 40}, FitError, "one class only"),
        ({"y": ["a", "b"]}, DataError, r"y has shape \(2,\) for 40 images"),
        ({"y": None}, DataError, "y is None"),
        ({"y": ["a"] * 39 + ["b"]}, FitError, "'b' has 1 group"),
        ({"groups": ["p"] * 40}, FitError, r"in one group \(p\)"),
        ({"groups": ["p"]}, DataError, "groups has shape"),
        ({"sample_weight": [1.0]}, DataError, "sample_weight has shape"),
        ({"sample_weight": [-1.0] * 40}, DataError, "negative or missing"),
        ({"sample_weight": [1.0, 0.0] * 20}, FitError, "one class only"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    change: dict[str, Any],
    error: type[Exception],
    said: str,
    quick: Callable[..., TransferClassifier],
    X: NDArray[np.uint8],
    y: NDArray[np.str_],
) -> None:
    with pytest.raises(error, match=said):
        quick().fit(**({"X": X, "y": y} | change))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("head", "forest", ScenarioError),
        ("pooling", "mean", ScenarioError),
        ("resize", "stretch", ScenarioError),
        ("tap", "blocks.99", BackboneError),
        ("backbone", "lite", BackboneError),
    ],
)
def test_a_parameter_that_names_nothing(
    name: str,
    value: str,
    error: type[Exception],
    quick: Callable[..., TransferClassifier],
    X: NDArray[np.uint8],
    y: NDArray[np.str_],
) -> None:
    with pytest.raises(error, match=value):
        quick().set_params(**{name: value}).fit(X, y)


# --------------------------------------------------------------------------- inside scikit-learn


def test_cross_validation_hands_groups_on(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8], y: NDArray[np.str_]
) -> None:
    groups = np.arange(40) // 2
    scores = cross_val_score(
        quick(),
        X,
        y,
        groups=groups,
        cv=StratifiedGroupKFold(2),
        params={"groups": groups},
        scoring="roc_auc",
        error_score="raise",
    )
    assert scores.mean() > 0.9


def test_grid_search_over_a_pipeline_of_paths(
    quick: Callable[..., TransferClassifier], paths: list[Path], y: NDArray[np.str_]
) -> None:
    search = GridSearchCV(
        Pipeline([("images", "passthrough"), ("classify", quick())]),
        {"classify__head": ["svm", "knn"]},
        cv=2,
        error_score="raise",
    ).fit(paths, y)
    assert search.best_score_ > 0.9
    assert search.predict(paths[:3]).shape == (3,)


def test_fitting_again_gives_the_same_and_leaves_parameters_alone(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8], y: NDArray[np.str_]
) -> None:
    classifier = quick(random_state=3)
    before = classifier.get_params()
    assert classifier.fit(X, y) is classifier
    first = classifier.decision_function(X)
    learned = set(vars(classifier)) - set(before)
    assert all(name.endswith("_") for name in learned)
    assert not hasattr(classifier, "n_features_in_")
    np.testing.assert_array_equal(classifier.fit(X, y).decision_function(X), first)
    assert classifier.get_params() == before
    copy = clone(classifier)
    assert copy.get_params() == before
    with pytest.raises(NotFittedError):
        check_is_fitted(copy)
    drawn = quick(random_state=np.random.RandomState(0)).fit(X, y)
    assert drawn.fitted_.scenario.seed == np.random.RandomState(0).randint(2**31 - 1)


def test_pickling_keeps_what_was_learned(
    X: NDArray[np.uint8], y: NDArray[np.str_], tmp_path: Path, graphs: Path
) -> None:
    for name in ("cache", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "graphs").symlink_to(graphs)
    fitted = TransferClassifier(tap="stem", workers=2, cache=tmp_path / "cache").fit(X, y)
    new = 255 - X[:5]
    expected = fitted.predict_proba(new)  # the engine is running
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    assert (tmp_path / "fitted.joblib").stat().st_size < 50_000  # no network in it
    np.testing.assert_array_equal(fitted.predict_proba(new), expected)  # still whole
    loaded = joblib.load(tmp_path / "fitted.joblib")
    loaded.fitted_.extractor.cache = medgraft.Cache(tmp_path / "elsewhere")
    np.testing.assert_allclose(loaded.predict_proba(new), expected, rtol=0, atol=1e-6)
    assert loaded.get_params() == fitted.get_params()


def test_other_weights_under_the_same_name_are_refused(
    fitted: TransferClassifier, X: NDArray[np.uint8]
) -> None:
    strange = clone(fitted)
    strange.__setstate__(fitted.__getstate__())
    backbone = strange.fitted_.extractor.backbone("tf_efficientnet_lite0")
    card = dataclasses.replace(backbone.card, sha256="0" * 64)
    strange.fitted_.extractor.adopt(dataclasses.replace(backbone, card=card))
    with pytest.raises(BackboneError, match="not those this classifier was fitted with"):
        strange.predict(X)


# --------------------------------------------------------------------------- several findings


@pytest.fixture(scope="module")
def findings() -> NDArray[np.int64]:
    """Two findings of forty images: bright, as `X` is, and one in the order of the rows."""
    row = np.arange(40)
    return np.stack([row % 2, row >= 20], axis=1).astype(np.int64)


@pytest.fixture(scope="module")
def panels(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8], findings: NDArray[np.int64]
) -> TransferClassifier:
    return quick().fit(X, findings)


def test_of_several_findings_each_is_said_by_itself(
    panels: TransferClassifier, X: NDArray[np.uint8], findings: NDArray[np.int64]
) -> None:
    assert panels.multilabel_
    assert panels.classes_.tolist() == [0, 1]
    said, odds = panels.predict_proba(X), panels.decision_function(X)
    np.testing.assert_allclose(said, expit(odds))
    assert np.array_equal(panels.predict(X), (said > 0.5).astype(int))
    for j, fitted in enumerate(panels.fitted_):
        oof = panels.oof_[j]
        assert np.array_equal(oof.y_true == oof.classes.index(f"y[:, {j}]"), findings[:, j] == 1)
        table = given_images(X).table().shown_by(fitted.rule)
        own = fitted.predict(table)[0].y_prob[:, fitted.classes.index(fitted.positive)]
        np.testing.assert_allclose(said[:, j], own, atol=1e-6)
    bright, none = panels.auroc_
    assert bright.value > 0.9
    assert none.low < 0.5


def test_what_is_masked_is_unknown(
    quick: Callable[..., TransferClassifier], X: NDArray[np.uint8], findings: NDArray[np.int64]
) -> None:
    hidden = np.zeros(findings.shape, bool)
    hidden[:6, 0] = True
    one = quick().fit(X, np.ma.masked_array(findings, mask=hidden))
    other = quick().fit(X, np.ma.masked_array(np.where(hidden, 7, findings), mask=hidden))
    assert len(one.oof_[0].ids) == 34
    assert len(one.oof_[1].ids) == 40
    assert np.array_equal(one.predict_proba(X), other.predict_proba(X))


def test_several_findings_are_pickled_and_refused_where_they_cannot_be_learned(
    panels: TransferClassifier, quick: Callable[..., TransferClassifier], X: NDArray[np.uint8],
    findings: NDArray[np.int64], tmp_path: Path,
) -> None:  # fmt: skip
    joblib.dump(panels, tmp_path / "panels")
    again = joblib.load(tmp_path / "panels")
    assert np.array_equal(again.predict_proba(X[:3]), panels.predict_proba(X[:3]))
    rare = findings.copy()
    rare[:, 1] = np.arange(40) < 3
    with pytest.raises(FitError, match=r"1 of 2 findings.*y\[:, 1\]: 3 with it, 37 without"):
        quick().fit(X, rare)
    with pytest.raises(DataError, match=r"holds np.int64\(2\) in row 4"):
        quick().fit(X, findings + (np.arange(80).reshape(40, 2) == 8) * 2)


class OfFeatures(TransferClassifier):
    """Images of a matrix of two features: the brightness of two stripes."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = tags.input_tags.three_d_array = False
        return tags

    def _made(self, features: NDArray[Any]) -> NDArray[np.uint8]:
        stripes = np.clip(128 + 40 * np.asarray(features), 0, 255).astype(np.uint8)
        return np.repeat(np.repeat(stripes[:, None], 16, axis=1), 8, axis=2)

    def fit(self, X: Any, y: Any, **how: Any) -> OfFeatures:
        super().fit(self._made(X), y, **how)
        return self

    def predict(self, X: Any) -> Any:
        return super().predict(self._made(X))

    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(self._made(X))

    def decision_function(self, X: Any) -> Any:
        return super().decision_function(self._made(X))


@pytest.mark.parametrize(
    "name",
    [
        "representation_invariance",
        "output_format_predict",
        "output_format_predict_proba",
        "output_format_decision_function",
    ],
)
def test_scikit_learns_checks_of_multilabel_classifiers(store: Path, name: str) -> None:
    estimator = OfFeatures(**QUICK, head="logistic", cache=store)
    getattr(estimator_checks, f"check_classifiers_multilabel_{name}")("OfFeatures", estimator)


def test_what_is_saved_is_loaded_and_asked_by_paths(
    fitted: TransferClassifier, X: NDArray[np.uint8], tmp_path: Path
) -> None:
    folder, path = tmp_path / "not" / "there", tmp_path / "one.png"
    Image.fromarray(X[0]).save(path)
    fitted.fitted_.save(str(folder))
    assert oct((folder / "head.safetensors").stat().st_mode) == oct(
        (folder / "bundle.json").stat().st_mode
    )
    loaded = medgraft.load_model(folder, engine="torch", workers=1, cache=tmp_path / "cache")
    alone, none = loaded.predict(str(path))
    said, skipped = loaded.predict([path, "nope.png"])
    assert none == ()
    assert said.ids.tolist() == [str(path)]
    assert said.classes == ("bright", "dark")
    np.testing.assert_allclose(said.y_prob, fitted.predict_proba(X[:1]), atol=1e-5)
    assert (alone.y_prob == said.y_prob).all()
    assert [(one.source, one.reason) for one in skipped] == [
        ("nope.png", "No such file or directory")
    ]
    for wrong in (X, [X[0]], 3, []):
        with pytest.raises(DataError, match="give the path of a file, folder or pattern"):
            loaded.predict(wrong)


def test_a_model_that_cannot_be_written_is_said_so(
    fitted: TransferClassifier, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write .*taken"):
        fitted.fitted_.save(tmp_path / "taken")


# The checks of `check_estimator` that say nothing of a matrix of features. All others fit on one
# (n, n_features) of floats, which is no image; what they are about is tested above with images.
OF_ANY_ESTIMATOR = (
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_mixin_order",
    "check_parameters_default_constructible",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimators_unfitted",
)


@pytest.mark.parametrize("name", OF_ANY_ESTIMATOR)
def test_scikit_learns_own_checks(name: str) -> None:
    getattr(estimator_checks, name)("TransferClassifier", TransferClassifier())


@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_check_estimator_passes_and_skips_by_our_tags() -> None:
    found = estimator_checks.check_estimator(TransferClassifier())
    assert {result["status"] for result in found} == {"passed"}
    assert is_classifier(TransferClassifier())
