"""Encoders that learn a codebook from descriptors, VLAD and Fisher vectors, and the names of all.

What every encoder does, and what X is, stands in `encoders.py`.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import FitError, ScenarioError
from medgraft.features.encoders import (
    BaseEncoder,
    Codes,
    CompactBilinear,
    PoolEncoder,
    SpatialPyramid,
    check_at_least_one,
    product,
    signed_power,
    unit,
)
from medgraft.types import Floats

Assignment = Literal["hard", "soft"]

TRAINING_WORDS = 1 << 14  # descriptors that a codebook is fitted on at most: 256 a centre
ROUNDS = 25  # of k-means, and of fitting a mixture, at most
AXES_FROM = 1 << 15  # descriptors that principal axes are fitted on, about
VARIANCE_FLOOR = 1e-6  # of the first axis's variance; an axis below it is rounding noise
FIRST_TO_SECOND = 100.0  # weight of the nearest centre over that of the second, on average


# --------------------------------------------------------------------------- with codebook


class _Codebook(BaseEncoder):
    """What VLAD and Fisher share: descriptors to words, words to a long code, its whitening.

    A word is a descriptor scaled to length 1 and projected on its first axes. Subclasses give
    `_learn_words` and `_long`, and their own parameters beside k, pca, whiten, seed, normalise.
    """

    k: int
    pca: int | None
    whiten: int | None
    seed: int
    normalise: bool
    _gradients = 1  # numbers a centre keeps of each dimension

    def check_parameters(self) -> None:
        check_at_least_one("k", self.k)
        for name in ("pca", "whiten"):
            if getattr(self, name) is not None:
                check_at_least_one(name, getattr(self, name))

    def size(self, channels: int) -> tuple[int, int]:
        dimensions = min(self.pca or channels, channels)
        long = self.k * dimensions * self._gradients
        length = min(self.whiten or long, long)
        return length, channels * dimensions + long + (long * length if self.whiten else 0)

    def _numbers(self, positions: int, channels: int) -> int:
        return max(positions, 2 * self.k) * max(channels, self.k)

    def _learn(self, descriptors: Floats) -> None:
        n, positions, _channels = descriptors.shape
        if n * positions < self.k:
            raise FitError(
                f"{n} images of {positions} positions are {n * positions} descriptors, fewer than "
                f"k = {self.k}; give more training images or a smaller k"
            )
        if self.whiten is not None and n < 2:
            raise FitError(
                "whitening needs at least 2 training images, and there is 1; give more images or "
                "whiten=None"
            )
        self._learn_axes(descriptors)
        blocks = [self._words(block) for block in self._blocks(descriptors)]
        words = np.concatenate([block.reshape(-1, block.shape[2]) for block in blocks])
        if len(words) > TRAINING_WORDS:
            draw = np.random.default_rng(self.seed).choice(len(words), TRAINING_WORDS, False)
            words = words[np.sort(draw)]
        self._learn_words(words)
        self.whiten_mean_: Codes | None = None
        self.whiten_axes_: Codes | None = None
        if self.whiten is not None:
            long = np.concatenate([self._long(block) for block in blocks])
            self.whiten_mean_, self.whiten_axes_ = whitening(long, self.whiten)

    def _learn_axes(self, descriptors: Floats) -> None:
        """Principal axes of the descriptors, at most `pca` and no more than they span."""
        self.axes_: Codes | None = None  # (dimensions, channels)
        self.shift_: Codes | None = None  # the mean, projected
        if self.pca is None:
            return
        channels = descriptors.shape[2]
        # Axes need some tens of descriptors a channel: of more, every so manieth is taken.
        step = max(1, descriptors.shape[0] * descriptors.shape[1] // AXES_FROM)
        n, total, scatter = 0, np.zeros(channels), np.zeros((channels, channels))
        for block in self._blocks(descriptors):
            x = self._scaled(block)[::step]
            n += len(x)
            total += x.sum(axis=0, dtype=np.float64)
            scatter += x.T @ x  # a block in float32, the sum of blocks in float64
        mean = total / n
        _, axes = top_axes(scatter / n - np.outer(mean, mean), self.pca)
        self.axes_ = axes.T.astype(np.float32)
        self.shift_ = (mean @ axes).astype(np.float32)

    def _scaled(self, block: Codes) -> Codes:
        """Descriptors of all images in a row, (images × positions, channels), of length 1."""
        x = block.reshape(-1, block.shape[2])
        return x / _lengths(x) if self.normalise else x

    def _words(self, block: Codes) -> Codes:
        """Descriptors (images, positions, channels) to words (images, positions, dimensions)."""
        if self.axes_ is None or self.shift_ is None:
            return self._scaled(block).reshape(block.shape)
        x = block.reshape(-1, block.shape[2])
        words = product(x, self.axes_.T)
        if self.normalise:  # cheaper behind the product, and the same
            words /= _lengths(x)
        words -= self.shift_
        return words.reshape(*block.shape[:2], -1)

    def _encode(self, block: Codes) -> Codes:
        long = self._long(self._words(block))
        if self.whiten_mean_ is None or self.whiten_axes_ is None:
            return long
        return unit(product(long - self.whiten_mean_, self.whiten_axes_.T))

    def _learn_words(self, words: Codes) -> None:
        """Fit the codebook on words (n, dimensions)."""
        raise NotImplementedError

    def _long(self, words: Codes) -> Codes:
        """Words (images, positions, dimensions) to long codes (images, D) of length 1."""
        raise NotImplementedError


class VLAD(_Codebook):
    """Vector of locally aggregated descriptors (Jégou et al., CVPR 2010 and TPAMI 2012).

    With centres c_1 … c_k (k-means) and a_j(x) the share of descriptor x that belongs to centre j,

        V_j = Σ_x a_j(x) (x - c_j),    code = (V_1, …, V_k).

    Then, in this order: each V_j to length 1 (`intra`; Arandjelović & Zisserman, CVPR 2013), the
    signed power, the whole to length 1, and PCA with whitening to at most `whiten` numbers, again
    to length 1 (Jégou & Chum, ECCV 2012).

    Parameters
    ----------
    k : centres.
    pca : dimensions descriptors are brought to first, at most as many as they span; None for none.
    assignment : 'hard' gives a descriptor to its nearest centre; 'soft' shares it out by
        a_j(x) ∝ exp(-α |x - c_j|²) with α such that the nearest centre weighs 100 times the
        second on average over the training descriptors (Arandjelović et al., NetVLAD, CVPR 2016);
        the default, because a map of 49 positions is too few for hard shares to be steady.
    whiten : length of the code, at most one less than the training images (which span no more)
        and without axes of no variance; None leaves k × dimensions numbers.
    seed : of k-means and of the draw of at most 16,384 descriptors that it sees.
    power : of the signed power, in (0, 1]; 1 changes nothing.
    intra : whether every V_j is brought to length 1.
    normalise : whether descriptors are brought to length 1 first, so that where a map is bright
        does not outvote what it shows (as for SIFT, where VLAD comes from, and in NetVLAD).

    Attributes
    ----------
    axes_ : (dimensions, channels) and shift_ : (dimensions,) of the PCA, or None.
    centres_ : (k, dimensions). alpha_ : (1,), of the soft assignment.
    whiten_mean_ : (k × dimensions,) and whiten_axes_ : (length, k × dimensions), or None.
    """

    _fitted = ("axes_", "shift_", "centres_", "alpha_", "whiten_mean_", "whiten_axes_")

    def __init__(
        self, k: int = 16, pca: int | None = 128, assignment: Assignment = "soft",
        whiten: int | None = 256, seed: int = 0, power: float = 0.5, intra: bool = True,
        normalise: bool = True,
    ) -> None:  # fmt: skip
        self.k = k
        self.pca = pca
        self.assignment = assignment
        self.whiten = whiten
        self.seed = seed
        self.power = power
        self.intra = intra
        self.normalise = normalise

    def check_parameters(self) -> None:
        super().check_parameters()
        if self.assignment not in ("hard", "soft"):
            raise ScenarioError(f"assignment {self.assignment!r} must be 'hard' or 'soft'")
        if not 0 < self.power <= 1:
            raise ScenarioError(f"power {self.power} must be in (0, 1]; 1 changes nothing")

    def _learn_words(self, words: Codes) -> None:
        from sklearn.cluster import KMeans

        made = KMeans(self.k, n_init=1, max_iter=ROUNDS, random_state=self.seed)
        with _fitting(words, self.k):
            made.fit(words)
        self.centres_: Codes = made.cluster_centers_.astype(np.float32)
        nearness = np.sort(self._nearness(words), axis=1)
        gap = float((nearness[:, -1] - nearness[:, -2]).mean()) if self.k > 1 else 0.0
        alpha = math.log(FIRST_TO_SECOND) / gap if gap > 0 else 1.0
        self.alpha_: Codes = np.array([alpha], np.float32)

    def _nearness(self, words: Codes) -> Codes:
        """|x|² - |x - c|² of every word x (…, dimensions) and centre c: (…, k)."""
        nearness: Codes = 2 * (words @ self.centres_.T) - np.vecdot(self.centres_, self.centres_)
        return nearness

    def _shares(self, words: Codes) -> Codes:
        """a_j(x) of words (images, positions, dimensions): (images, positions, k)."""
        nearness = self._nearness(words)
        if self.assignment == "hard":
            shares = np.zeros_like(nearness)
            np.put_along_axis(shares, nearness.argmax(axis=-1)[..., None], 1, axis=-1)
            return shares
        return _softmax(self.alpha_ * nearness)

    def _long(self, words: Codes) -> Codes:
        shares = self._shares(words)
        # Σ a (x - c) = Σ a x - (Σ a) c: two products, never (images, positions, k, dimensions).
        V = shares.swapaxes(1, 2) @ words  # (images, k, dimensions)
        V -= shares.sum(axis=1)[..., None] * self.centres_
        if self.intra:
            V = unit(V)
        return unit(signed_power(V.reshape(len(V), -1), self.power))


class FisherVector(_Codebook):
    """Improved Fisher vector (Perronnin et al., ECCV 2010).

    With a mixture of k Gaussians (weights w_j, means μ_j, standard deviations σ_j a dimension) and
    the posterior γ_j(x), the gradients over T descriptors are

        G_μj = 1 / (T √w_j)    Σ_x γ_j(x) (x - μ_j) / σ_j
        G_σj = 1 / (T √(2w_j)) Σ_x γ_j(x) ((x - μ_j)² / σ_j² - 1),

    code = (G_μ1, …, G_μk, G_σ1, …, G_σk), then the signed square root, length 1, and whitening as
    in `VLAD`, whose parameters k, pca, whiten, seed and normalise these are.

    Attributes
    ----------
    weights_ : (k,). means_ and variances_ : (k, dimensions), of the mixture; the others as in
    `VLAD`.
    """

    _gradients = 2  # by the mean and by the deviation
    _fitted = (
        "axes_", "shift_", "weights_", "means_", "variances_", "whiten_mean_", "whiten_axes_"
    )  # fmt: skip

    def __init__(
        self, k: int = 16, pca: int | None = 64, whiten: int | None = 256, seed: int = 0,
        normalise: bool = True,
    ) -> None:  # fmt: skip
        self.k = k
        self.pca = pca
        self.whiten = whiten
        self.seed = seed
        self.normalise = normalise

    def _learn_words(self, words: Codes) -> None:
        from sklearn.mixture import GaussianMixture

        x = words.astype(np.float64)
        # A floor under the variances in the words' own unit, for words of length 1 are small.
        floor = 1e-3 * x.var(axis=0).mean() + 1e-12
        mixture = GaussianMixture(
            self.k,
            covariance_type="diag",
            reg_covar=floor,
            max_iter=ROUNDS,
            random_state=self.seed,
        )
        with _fitting(words, self.k):
            mixture.fit(x)
        self.weights_ = mixture.weights_
        self.means_ = mixture.means_
        self.variances_ = mixture.covariances_

    def _posteriors(self, x: Floats) -> Floats:
        """γ: words (images, positions, dimensions) to (images, positions, k), rows sum to 1."""
        precision = 1 / self.variances_
        constant = np.log(self.weights_) - 0.5 * (
            np.log(self.variances_) + self.means_**2 * precision
        ).sum(axis=1)
        linear = x @ (self.means_ * precision).T
        return _softmax(linear - 0.5 * (x**2 @ precision.T) + constant)

    def _long(self, words: Codes) -> Codes:
        x = words.astype(np.float64)  # the second moments nearly cancel
        posteriors = self._posteriors(x)
        transposed = posteriors.swapaxes(1, 2)
        zeroth = posteriors.mean(axis=1)[..., None]  # (images, k, 1); all three over T
        first = transposed @ x / x.shape[1]  # (images, k, dimensions)
        second = transposed @ x**2 / x.shape[1]
        root, mean, variance = np.sqrt(self.weights_)[:, None], self.means_, self.variances_
        by_mean = (first - zeroth * mean) / np.sqrt(variance) / root
        spread = second - 2 * mean * first + zeroth * mean**2  # Σ γ (x - μ)²
        by_deviation = (spread / variance - zeroth) / (math.sqrt(2) * root)
        long = np.concatenate([by_mean, by_deviation], axis=1).reshape(len(x), -1)
        return unit(signed_power(long, 0.5)).astype(np.float32)


def _lengths(x: Codes) -> Codes:
    """Length of each row, (n, 1); 1 for a row of zeros."""
    length = np.sqrt(np.vecdot(x, x))[:, None]
    return np.where(length > 0, length, np.float32(1))


def _softmax(x: NDArray[Any]) -> NDArray[Any]:
    """Exponentials that sum to 1 along the last axis."""
    with np.errstate(under="ignore"):
        raised = np.exp(x - x.max(axis=-1, keepdims=True))
    shares: NDArray[Any] = raised / raised.sum(axis=-1, keepdims=True)
    return shares


# --------------------------------------------------------------------------- fitting


def top_axes(covariance: Floats, limit: int) -> tuple[Floats, Floats]:
    """Variances (m,) and axes (d, m) of a covariance (d, d), largest first.

    At most `limit`, and none whose variance is below 1e-6 of the first's; at least one.
    """
    import scipy.linalg

    d = len(covariance)
    variances, axes = scipy.linalg.eigh(covariance, subset_by_index=(max(0, d - limit), d - 1))
    variances, axes = variances[::-1], axes[:, ::-1]
    kept = max(1, int((variances > VARIANCE_FLOOR * variances[0]).sum()))
    return variances[:kept], axes[:, :kept]


def whitening(codes: Codes, limit: int) -> tuple[Codes, Codes]:
    """Mean (D,) and axes (m, D) that give codes (n, D) variance 1 along their first m axes.

    m is at most `limit` and n - 1, and axes without variance are left out (Jégou & Chum, 2012).
    The axes come from the inner products of the n codes, of which there are fewer than D: where
    C is centred and C Cᵀ = U Λ Uᵀ, the axes are Λ^(-1/2) Uᵀ C, with variances Λ / (n - 1).
    """
    n = len(codes)
    mean = codes.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = codes - mean
    products = np.zeros((n, n))
    for start in range(0, codes.shape[1], 4096):
        part = centred[:, start : start + 4096].astype(np.float64)
        products += part @ part.T
    squares, U = top_axes(products, min(limit, n - 1))
    scale = np.where(squares > 0, math.sqrt(n - 1) / np.where(squares > 0, squares, 1), 0)
    return mean, (U * scale).T.astype(np.float32) @ centred


@contextmanager
def _fitting(words: Codes, k: int) -> Iterator[None]:
    """Fit k clusters to words (n, dimensions): refuse fewer distinct ones, and be repeatable.

    scikit-learn's k-means adds up its threads' sums in the order in which they finish, so it gets
    one thread. A mixture that is still moving after its last iteration is as good a codebook.
    """
    from threadpoolctl import threadpool_limits

    whole_rows = np.ascontiguousarray(words).view(np.dtype((np.void, words[0].nbytes)))
    distinct = len(np.unique(whole_rows))
    if distinct < k:
        raise FitError(
            f"the {len(words)} descriptors to learn from are only {distinct} distinct ones, fewer "
            f"than k = {k}; give training images that differ more, or a smaller k"
        )
    with threadpool_limits(1, "openmp"), quiet_mixtures():
        yield


@contextmanager
def quiet_mixtures() -> Iterator[None]:
    """Do not warn of mixtures that still move; only from the main thread, for filters are global.

    Who fits in threads of a pool opens this around the pool.
    """
    from sklearn.exceptions import ConvergenceWarning

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


# --------------------------------------------------------------------------- by name


ENCODERS: Mapping[str, Callable[..., BaseEncoder]] = MappingProxyType(
    {
        "avg": partial(PoolEncoder, pooling="avg"),
        "max": partial(PoolEncoder, pooling="max"),
        "gem": partial(PoolEncoder, pooling="gem"),
        "pyramid": SpatialPyramid,
        "bilinear": CompactBilinear,
        "vlad": VLAD,
        "fisher": FisherVector,
    }
)


LEARNED = ("vlad", "fisher")  # those that learn from descriptors, and so anew in each fold


def encoder_from_arrays(
    name: str, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]
) -> BaseEncoder:
    """The encoder of that name in `ENCODERS` from what its `to_arrays` gave.

    Raises
    ------
    ScenarioError
        There is no encoder of that name.
    """
    if name not in ENCODERS:
        raise ScenarioError(f"no encoder {name!r}; there are: {', '.join(ENCODERS)}")
    return type(ENCODERS[name]()).from_arrays(arrays, settings)
