"""VLAD, Fisher vectors and their whitening against their papers and independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from medgraft.errors import FitError
from medgraft.features import codebooks
from medgraft.features.codebooks import VLAD, FisherVector, top_axes, whitening


def draw(n: int = 20, positions: int = 9, channels: int = 12, seed: int = 0) -> NDArray[np.float32]:
    """Rectified noise around a few means, in float16's own values."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(5, channels))
    noise = means[rng.integers(5, size=(n, positions))] + rng.normal(size=(n, positions, channels))
    return np.maximum(noise, 0).astype(np.float16).astype(np.float32)


def unit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(x)
    return x / length if length else x


def plain_vlad(x: NDArray[np.float32], vlad: VLAD) -> NDArray[np.float64]:
    """One image's code before whitening, descriptor by descriptor, from the fitted arrays."""
    centres = vlad.centres_.astype(float)
    V = np.zeros_like(centres)
    for descriptor in x.astype(float):
        word = unit(descriptor) if vlad.normalise else descriptor
        if vlad.axes_ is not None:
            assert vlad.shift_ is not None
            word = vlad.axes_ @ word - vlad.shift_
        distances = np.array([((word - centre) ** 2).sum() for centre in centres])
        if vlad.assignment == "hard":
            V[distances.argmin()] += word - centres[distances.argmin()]
        else:
            weights = np.exp(-float(vlad.alpha_[0]) * (distances - distances.min()))
            for j, weight in enumerate(weights / weights.sum()):
                V[j] += weight * (word - centres[j])
    if vlad.intra:
        V = np.array([unit(row) for row in V])
    return unit((np.sign(V) * np.abs(V) ** vlad.power).ravel())


# --------------------------------------------------------------------------- VLAD


@pytest.mark.parametrize("assignment", ["hard", "soft"])
@pytest.mark.parametrize("pca", [None, 5])
@pytest.mark.parametrize(("power", "intra", "normalise"), [(0.5, True, True), (1, False, False)])
def test_vlad_equals_a_plain_one(
    assignment: str, pca: int | None, power: float, intra: bool, normalise: bool
) -> None:
    X = draw()
    vlad = VLAD(
        k=4, pca=pca, assignment=assignment, whiten=None, power=power, intra=intra,  # type: ignore[arg-type]
        normalise=normalise,
    ).fit(X)  # fmt: skip
    expected = np.stack([plain_vlad(x, vlad) for x in X])
    codes = vlad.transform(X)
    assert codes.shape == (20, 4 * (pca or 12))
    np.testing.assert_allclose(codes, expected, atol=1e-4)  # a root magnifies rounding near zero


def _given(centres: list[list[float]], **settings: object) -> VLAD:
    """A VLAD with these centres, and descriptors as they come."""
    defaults = {"k": len(centres), "pca": None, "whiten": None, "normalise": False, "channels": 2}
    defaults |= {"assignment": "hard"}
    arrays = {"centres_": np.array(centres, np.float32), "alpha_": np.array([1.0], np.float32)}
    return VLAD.from_arrays(arrays, defaults | settings)


X_BY_HAND = [[[1.0, 0.0], [0.0, 4.0], [10.0, 3.0]]]  # nearest: (0, 0), (0, 0), (10, 0)


def test_vlad_by_hand() -> None:
    centres = [[0.0, 0.0], [10.0, 0.0], [0.0, 99.0]]  # residuals (1, 4), (0, 3), none
    plain = _given(centres, power=1.0, intra=False).transform(X_BY_HAND)[0]
    np.testing.assert_allclose(plain, np.array([1, 4, 0, 3, 0, 0]) / math.sqrt(26), rtol=1e-6)
    rooted = _given(centres, power=0.5, intra=False).transform(X_BY_HAND)[0]
    expected = np.array([1, 2, 0, math.sqrt(3), 0, 0]) / math.sqrt(8)
    np.testing.assert_allclose(rooted, expected, rtol=1e-6)
    intra = _given(centres, power=1.0).transform(X_BY_HAND)[0]
    expected = np.array([1 / math.sqrt(17), 4 / math.sqrt(17), 0, 1, 0, 0]) / math.sqrt(2)
    np.testing.assert_allclose(intra, expected, rtol=1e-6)


def test_a_negative_residual_keeps_its_sign() -> None:
    code = _given([[5.0, 0.0]], intra=False).transform([[[1.0, 9.0]]])[0]  # (-4, 9): roots -2, 3
    np.testing.assert_allclose(code, np.array([-2, 3]) / math.sqrt(13), rtol=1e-6)


def test_soft_assignment_by_hand() -> None:
    # x = 1 between centres 0 and 4 with alpha = ln(3) / 8: |x - c|² = 1 and 9, shares 3/4 and 1/4.
    soft = _given([[0.0], [4.0]], assignment="soft", power=1.0, intra=False, channels=1)
    soft.alpha_ = np.array([math.log(3) / 8], np.float32)
    expected = np.array([0.75 * 1, 0.25 * -3])
    np.testing.assert_allclose(
        soft.transform([[[1.0]]])[0], expected / np.linalg.norm(expected), rtol=1e-6
    )


def test_soft_assignment_weighs_the_nearest_a_hundred_times() -> None:
    X = draw(100)
    vlad = VLAD(k=4, pca=None, assignment="soft", whiten=None).fit(X)
    words = X.reshape(-1, 12) / np.linalg.norm(X.reshape(-1, 12), axis=1, keepdims=True)
    squares = np.sort(((words[:, None] - vlad.centres_) ** 2).sum(axis=2), axis=1)
    ratio = np.exp(float(vlad.alpha_[0]) * (squares[:, 1] - squares[:, 0]).mean())
    assert ratio == pytest.approx(100, rel=1e-3)
    sharp = VLAD(k=4, pca=None, assignment="hard", whiten=None).fit(X)
    vlad.alpha_ = np.array([1e6], np.float32)
    np.testing.assert_allclose(vlad.transform(X), sharp.transform(X), atol=1e-3)  # cold: hard


def test_codebook_finds_clusters_and_the_seed_decides() -> None:
    centres = np.array([[0.0, 8.0], [8.0, 0.0], [8.0, 8.0]])
    X = np.repeat(centres, 30, axis=0)[np.random.default_rng(0).permutation(90)].reshape(10, 9, 2)
    X = X + np.random.default_rng(1).uniform(-0.1, 0.1, X.shape)
    vlad = VLAD(k=3, pca=None, whiten=None, normalise=False).fit(X)
    found = vlad.centres_[np.lexsort(np.round(vlad.centres_).T[::-1])]
    np.testing.assert_allclose(found, centres, atol=0.1)
    first, other = (VLAD(k=6, seed=seed).fit(draw()).centres_ for seed in (0, 1))
    assert first.shape == other.shape
    assert (first != other).any()


def test_brightness_of_a_position_does_not_vote() -> None:
    X = draw()
    vlad = VLAD(k=4, pca=5, whiten=None).fit(X)
    brighter = X * np.float32(2) ** np.arange(9)[:, None]
    np.testing.assert_allclose(vlad.transform(brighter), vlad.transform(X), atol=1e-3)


# --------------------------------------------------------------------------- Fisher


def plain_fisher(words: NDArray[np.float64], fisher: FisherVector) -> NDArray[np.float64]:
    """The gradients as the paper writes them, one descriptor and one Gaussian at a time."""
    k, d = fisher.means_.shape
    by_mean, by_deviation = np.zeros((k, d)), np.zeros((k, d))
    for x in words:
        density = np.array([
            w * np.prod(np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(2 * math.pi * v))
            for w, m, v in zip(fisher.weights_, fisher.means_, fisher.variances_, strict=True)
        ])  # fmt: skip
        for j, gamma in enumerate(density / density.sum()):
            z = (x - fisher.means_[j]) / np.sqrt(fisher.variances_[j])
            by_mean[j] += gamma * z / (len(words) * np.sqrt(fisher.weights_[j]))
            by_deviation[j] += gamma * (z**2 - 1) / (len(words) * np.sqrt(2 * fisher.weights_[j]))
    gradients = np.concatenate([by_mean.ravel(), by_deviation.ravel()])
    return unit(np.sign(gradients) * np.sqrt(np.abs(gradients)))


def test_fisher_equals_its_formula() -> None:
    X = draw()
    fisher = FisherVector(k=3, pca=None, whiten=None, normalise=False).fit(X)
    expected = np.stack([plain_fisher(x.astype(float), fisher) for x in X])
    np.testing.assert_allclose(fisher.transform(X), expected, atol=1e-5)


def test_fisher_equals_scikit_image() -> None:
    feature = pytest.importorskip("skimage.feature")
    from sklearn.mixture import GaussianMixture

    X = draw()
    fisher = FisherVector(k=3, pca=None, whiten=None, normalise=False).fit(X)
    mixture = GaussianMixture(3, covariance_type="diag")
    mixture.weights_, mixture.means_ = fisher.weights_, fisher.means_
    mixture.covariances_ = fisher.variances_
    mixture.precisions_cholesky_ = 1 / np.sqrt(fisher.variances_)
    for x, code in zip(X, fisher.transform(X), strict=True):
        theirs = feature.fisher_vector(x.astype(float), mixture, improved=False)
        # Theirs begins with the gradients of the k weights, and their deviations point down.
        gradients = np.concatenate([theirs[3 : 3 + 36], -theirs[3 + 36 :]])
        expected = unit(np.sign(gradients) * np.sqrt(np.abs(gradients)))
        np.testing.assert_allclose(code, expected, atol=1e-5)


def test_fisher_by_hand() -> None:
    # One Gaussian of mean 1 and variance 4, descriptors 1 and 5: z = 0 and 2; mean gradient
    # (0 + 2) / 2 = 1, deviation (−1 + 3) / (2 √2) = 1 / √2.
    arrays = {"weights_": [1.0], "means_": [[1.0]], "variances_": [[4.0]]}
    settings = {"k": 1, "pca": None, "whiten": None, "normalise": False, "channels": 1}
    fisher = FisherVector.from_arrays({n: np.array(a) for n, a in arrays.items()}, settings)
    expected = np.sqrt([1, 1 / math.sqrt(2)])
    code = fisher.transform([[[1.0], [5.0]]])[0]
    np.testing.assert_allclose(code, expected / np.linalg.norm(expected), rtol=1e-6)


# --------------------------------------------------------------------------- axes, whitening


def test_axes_of_descriptors_are_scikit_learns() -> None:
    X = draw(40)
    vlad = VLAD(k=4, pca=5, whiten=None, normalise=False).fit(X)
    theirs = PCA(5).fit(X.reshape(-1, 12).astype(float))
    assert vlad.axes_ is not None
    cosines = np.abs((vlad.axes_ * theirs.components_).sum(axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-4)
    np.testing.assert_allclose(vlad.shift_, vlad.axes_ @ theirs.mean_, atol=1e-3)


def test_no_more_axes_than_descriptors_span() -> None:
    X = draw(channels=12)
    X[..., 8:] = 1  # eight channels vary
    assert VLAD(k=2, pca=128, whiten=None, normalise=False).fit(X).axes_.shape == (8, 12)  # type: ignore[union-attr]


def test_whitening_is_scikit_learns_and_gives_unit_variance() -> None:
    codes = np.random.default_rng(0).normal(size=(30, 50)).astype(np.float32)
    mean, axes = whitening(codes, 7)
    white = (codes - mean) @ axes.T
    np.testing.assert_allclose(np.cov(white.T), np.eye(7), atol=1e-4)
    theirs = PCA(7, whiten=True, svd_solver="full").fit_transform(codes.astype(float))
    np.testing.assert_allclose(np.abs(white), np.abs(theirs), atol=1e-3)


@pytest.mark.parametrize(("limit", "length"), [(5, 5), (19, 19), (256, 19)])
def test_whitening_is_at_most_one_less_than_the_images(limit: int, length: int) -> None:
    X = draw()
    vlad = VLAD(k=4, pca=None, whiten=limit).fit(X)
    codes = vlad.transform(X)
    assert codes.shape == (20, length)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, rtol=1e-5)
    assert vlad.whiten_axes_ is not None


def test_top_axes_by_hand() -> None:
    variances, axes = top_axes(np.diag([1.0, 9.0, 4.0, 1e-9]), 9)
    np.testing.assert_allclose(variances, [9, 4, 1])
    np.testing.assert_allclose(np.abs(axes), np.eye(4)[:, [1, 2, 0]])
    assert top_axes(np.zeros((3, 3)), 2)[1].shape == (3, 1)


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("kind", [VLAD, FisherVector])
def test_too_little_to_learn_from_is_refused(kind: type[VLAD] | type[FisherVector]) -> None:
    with pytest.raises(FitError, match=r"2 images of 9 .* 18 descriptors, fewer than k = 19"):
        kind(k=19).fit(draw(2))
    with pytest.raises(FitError, match=r"at least 2 training images.*whiten=None"):
        kind(k=2).fit(draw(1))
    assert kind(k=2, whiten=None).fit(draw(1)).transform(draw(1)).shape[0] == 1
    with pytest.raises(FitError, match=r"only 1 distinct ones, fewer than k = 2"):
        kind(k=2).fit(np.ones((4, 9, 12)))
    with pytest.raises(FitError, match=r"only 1 distinct"):
        kind(k=2).fit(np.zeros((4, 9, 12)))


@pytest.mark.parametrize("kind", [VLAD, FisherVector])
def test_equal_images_give_finite_codes(kind: type[VLAD] | type[FisherVector]) -> None:
    codes = kind(k=2).fit(np.repeat(draw(1), 5, axis=0)).transform(draw(3))
    assert np.isfinite(codes).all()


def test_a_large_sample_is_thinned_with_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codebooks, "TRAINING_WORDS", 50)
    seen: list[NDArray[np.float32]] = []
    learn = VLAD._learn_words
    monkeypatch.setattr(
        VLAD, "_learn_words", lambda self, words: (seen.append(words), learn(self, words))[1]
    )
    for _ in range(2):
        VLAD(k=4, pca=None, whiten=None).fit(draw())
    assert seen[0].shape == (50, 12)
    np.testing.assert_array_equal(seen[0], seen[1])
