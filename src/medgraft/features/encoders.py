"""From the descriptors of a tap to one vector an image: pooling, and encoders without a codebook.

`pool` is what runs inside the network's graph, so that all poolings of all taps come out of one
forward pass; `PoolEncoder` does the same outside.

Encoders are scikit-learn transformers: X is (n_images, positions, channels), the codes are
(n_images, D) float32. Each rounds descriptors to float16 first (in `BaseEncoder._blocks`), so that
cached and served images get the same code, and takes a few images at a time, so that memory does
not grow with their number. But for `SpatialPyramid` the positions have no order, and their number
may differ from call to call: descriptors of several scales are more positions. What is fitted is
fitted on training images that somebody drew, never on labels. Those with a
codebook, and the names of all, stand in `codebooks.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from medgraft.errors import FitError, ScenarioError
from medgraft.scenario import POOLINGS
from medgraft.types import Floats

if TYPE_CHECKING:
    import torch


GEM_POWER = 3.0
GEM_FLOOR = 1e-6

BLOCK = 1 << 22  # numbers worked on at once: 16 MB of float32

Codes = NDArray[np.float32]


def check_pooling(name: str) -> None:
    """Refuse a pooling that does not exist.

    Raises
    ------
    ScenarioError
        With the list of those that do.
    """
    if name not in POOLINGS:
        raise ScenarioError(f"no pooling {name!r}; there are: {', '.join(POOLINGS)}")


def pool(features: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool a feature map (batch, channels, rows, columns) to codes (batch, channels).

    `avg` is the mean over positions, `max` the largest value, and `gem` the generalised mean
    ``(mean(max(x, 1e-6) ** 3)) ** (1 / 3)`` of Radenović et al. (2018), between the two.
    """
    check_pooling(pooling)
    if pooling == "max":
        return features.amax(dim=(2, 3))
    if pooling == "gem":
        powered = features.clamp(min=GEM_FLOOR) ** GEM_POWER
        return powered.mean(dim=(2, 3)) ** (1.0 / GEM_POWER)
    return features.mean(dim=(2, 3))


def pool_positions(descriptors: NDArray[np.float32], pooling: str) -> NDArray[np.float32]:
    """Pool descriptors (batch, positions, channels) to (batch, channels), as `pool` does."""
    check_pooling(pooling)
    pooled: NDArray[np.float32]
    if pooling == "max":
        pooled = descriptors.max(axis=1)
    elif pooling == "gem":
        powered = np.maximum(descriptors, np.float32(GEM_FLOOR)) ** np.float32(GEM_POWER)
        pooled = powered.mean(axis=1) ** np.float32(1 / GEM_POWER)
    else:
        pooled = descriptors.mean(axis=1)
    return pooled


def half(descriptors: Floats) -> NDArray[np.float16]:
    """Round descriptors to float16, as they are cached: all that any encoder ever sees.

    Values beyond ±65504 become infinite, which encoders refuse.
    """
    with np.errstate(over="ignore"):
        return descriptors.astype(np.float16, copy=False)


def product(rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float32]:
    """Rows (n, d) @ columns (d, m) in double precision, rounded to single.

    On some processors (OpenBLAS's kernels for AVX2) what single precision gives for a row depends
    on the rows beside it: copies would differ, and an image from its batch.
    """
    exact: NDArray[np.float64] = rows.astype(np.float64) @ columns.astype(np.float64)
    return exact.astype(np.float32)


def single(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """Widen finite float16 to the same numbers in float32 (infinity and NaN become finite).

    NumPy's conversion branches at every number, and rectified maps mix zeros into them: moving the
    bits, 5 of exponent and 10 of fraction, takes a fifth of its time there.
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13  # both exponent and fraction now end where those of float32 do
    bits &= ~0x70000000  # the copies of the sign below the sign
    wide = bits.view(np.float32)
    wide *= np.float32(2.0**112)  # exponents count from 127 now, and counted from 15
    return wide


# --------------------------------------------------------------------------- what all share


def check_descriptors(X: Any) -> Floats:
    """Give X back as an array (n_images, positions, channels) of floats.

    Raises
    ------
    ScenarioError
        It has another number of axes, no position, no channel, or does not hold real numbers.
    """
    array = np.asarray(X)
    if array.ndim != 3 or 0 in array.shape[1:] or array.dtype.kind not in "fiu":
        raise ScenarioError(
            f"descriptors of shape {array.shape} and type {array.dtype} cannot be encoded; give "
            "real numbers (n_images, positions, channels) with at least one position and channel "
            "(a tap with extent, not a class token)"
        )
    return array


class BaseEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Checks and rounding on the way in, blocks of images, and the fitted arrays."""

    _fitted: tuple[str, ...] = ()  # arrays that `fit` leaves; one that is None is not written

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from descriptors (n_images, positions, channels) of training images; y is ignored.

        Raises
        ------
        ScenarioError
            A parameter that makes no sense, or X of another shape.
        FitError
            NaN or infinity in X, or too few images or descriptors to learn from.
        """
        self.check_parameters()
        descriptors = check_descriptors(X)
        if not len(descriptors):
            raise FitError(f"{type(self).__name__} got no image to learn from; give at least one")
        self.n_features_in_ = descriptors.shape[2]
        self._learn(descriptors)
        return self

    def transform(self, X: ArrayLike) -> Codes:
        """Descriptors (n_images, positions, channels) to codes (n_images, D).

        Raises
        ------
        ScenarioError
            X has another shape, or other channels than at fit.
        FitError
            The encoder is not fitted, or X holds NaN or infinity.
        """
        self._check_fitted()
        descriptors = check_descriptors(X)
        if descriptors.shape[2] != self.n_features_in_:
            raise ScenarioError(
                f"descriptors have {descriptors.shape[2]} channels, but this "
                f"{type(self).__name__} was fitted on {self.n_features_in_}; encode the tap and "
                "backbone it was fitted on, or fit it again"
            )
        if not len(descriptors):  # (0, D), where only a code tells D
            return self.transform(np.zeros((1, *descriptors.shape[1:])))[:0]
        return np.concatenate([self._encode(block) for block in self._blocks(descriptors)])

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """What was fitted as arrays by name, and the settings; `encoder_from_arrays` reads both."""
        self._check_fitted()
        fitted = {name: getattr(self, name) for name in self._fitted}
        arrays = {name: np.ascontiguousarray(a) for name, a in fitted.items() if a is not None}
        settings = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.get_params().items()
        }
        return arrays, {**settings, "channels": int(self.n_features_in_)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """The encoder that `to_arrays` wrote; settings left out are the defaults."""
        parameters = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in settings.items()
            if name != "channels"
        }
        encoder = cls(**parameters)
        for name in cls._fitted:
            setattr(encoder, name, arrays.get(name))
        encoder.n_features_in_ = int(settings["channels"])
        return encoder

    def check_parameters(self) -> None:
        """Refuse parameters that make no sense; by default there are none."""

    def size(self, channels: int) -> tuple[int, int]:
        """Length of the codes of so many channels, and how many numbers are kept when fitted.

        Of an encoder that learns, about as many; by default a number a channel, and none.
        """
        return channels, 0

    def _check_fitted(self) -> None:
        if not hasattr(self, "n_features_in_"):
            raise FitError(
                f"this {type(self).__name__} is not fitted; call fit with descriptors of training "
                "images first"
            )

    def _blocks(self, descriptors: Floats) -> Iterator[Codes]:
        """Blocks (images, positions, channels) of rounded, finite float32."""
        n, positions, channels = descriptors.shape
        step = max(1, BLOCK // self._numbers(positions, channels))
        for start in range(0, n, step):
            block = half(descriptors[start : start + step])
            if (block.view(np.uint16) & 0x7FFF).max() >= 0x7C00:  # the exponent of infinity and NaN
                bad = np.flatnonzero(~np.isfinite(block).all(axis=(1, 2))) + start
                raise FitError(
                    f"descriptors hold NaN, infinity or values beyond 65504 (images "
                    f"{', '.join(map(str, bad[:5]))}{', …' if len(bad) > 5 else ''} of {n}); they "
                    "must be finite in float16: exclude these images or extract them again"
                )
            yield single(block)

    def _numbers(self, positions: int, channels: int) -> int:
        """How many numbers encoding one image needs at once, about."""
        return positions * channels

    def _learn(self, descriptors: Floats) -> None:
        """Fit on descriptors; an encoder without codebook only looks whether they are finite."""
        for _block in self._blocks(descriptors):
            pass

    def _encode(self, block: Codes) -> Codes:
        raise NotImplementedError


def unit(x: NDArray[Any], axis: int = -1) -> NDArray[Any]:
    """Scale to length 1 along an axis; zeros stay."""
    length = np.linalg.norm(x, axis=axis, keepdims=True)
    scaled: NDArray[Any] = x / np.where(length > 0, length, 1)
    return scaled


def signed_power(x: NDArray[Any], power: float) -> NDArray[Any]:
    """The signed power, sign(x) |x|^power."""
    raised: NDArray[Any] = np.copysign(np.abs(x) ** x.dtype.type(power), x)
    return raised


# --------------------------------------------------------------------------- without codebook


class PoolEncoder(BaseEncoder):
    """Average, maximum or generalised mean over positions; the formulas stand at `encoders.pool`.

    Examples
    --------
    >>> PoolEncoder("max").fit_transform([[[1.0, 2.0], [3.0, 0.0]]]).tolist()
    [[3.0, 2.0]]
    """

    def __init__(self, pooling: str = "avg") -> None:
        self.pooling = pooling

    def check_parameters(self) -> None:
        check_pooling(self.pooling)

    def _encode(self, block: Codes) -> Codes:
        return pool_positions(block, self.pooling)


class SpatialPyramid(BaseEncoder):
    """Pooling in the cells of ever finer grids, side by side (Lazebnik et al., CVPR 2006).

    Level l cuts the square map of side s into l × l cells; cell i spans the rows
    ⌊i s / l⌋ to ⌈(i + 1) s / l⌉ - 1, so that cells overlap where l does not divide s (as adaptive
    pooling does). Positions run row by row. D = channels Σ l², ordered by level, row of cells,
    column of cells, channel. Levels are not weighted: heads standardise what they get.

    Examples
    --------
    >>> SpatialPyramid((1, 2)).fit_transform([[[1.0], [2.0], [3.0], [6.0]]]).tolist()
    [[3.0, 1.0, 2.0, 3.0, 6.0]]
    """

    def __init__(self, levels: Sequence[int] = (1, 2, 4), pooling: str = "avg") -> None:
        self.levels = levels
        self.pooling = pooling

    def check_parameters(self) -> None:
        check_pooling(self.pooling)
        if not len(self.levels) or min(self.levels) < 1:
            raise ScenarioError(
                f"pyramid levels {tuple(self.levels)} must be cells a side, each at least 1, such "
                "as (1, 2, 4)"
            )

    def size(self, channels: int) -> tuple[int, int]:
        return channels * sum(level**2 for level in self.levels), 0

    def _encode(self, block: Codes) -> Codes:
        n, positions, channels = block.shape
        side = math.isqrt(positions)
        if side * side != positions:
            raise ScenarioError(
                f"{positions} positions are no square grid, which a spatial pyramid needs; encode "
                "one map of one scale, or use another encoder"
            )
        grid = block.reshape(n, side, side, channels)
        cells = [
            pool_positions(grid[:, rows, columns].reshape(n, -1, channels), self.pooling)
            for level in self.levels
            for rows in spans(side, level)
            for columns in spans(side, level)
        ]
        return np.concatenate(cells, axis=1)


def spans(side: int, cells: int) -> list[slice]:
    """The rows of each of so many cells of a side."""
    return [slice(i * side // cells, -(-(i + 1) * side // cells)) for i in range(cells)]


class CompactBilinear(BaseEncoder):
    """Bilinear pooling by tensor sketch (Gao et al., CVPR 2016; Pham & Pagh, KDD 2013).

    The outer product x xᵀ of a descriptor, summed over positions, has channels² numbers. Its sketch
    has n_components, and inner products are kept on average: ⟨ψ(x), ψ(y)⟩ ≈ ⟨x, y⟩². With count
    sketches C₁, C₂ (channel i goes to bin h(i) with sign s(i)),

        ψ(x) = F⁻¹(F(C₁ x) ∘ F(C₂ x)),    code = Σ_positions ψ(x), signed root, length 1.

    The sum is taken before F⁻¹, which is linear.
    """

    _fitted = ("bins_", "signs_")

    def __init__(self, n_components: int = 2048, seed: int = 0) -> None:
        self.n_components = n_components
        self.seed = seed

    def check_parameters(self) -> None:
        check_at_least_one("n_components", self.n_components)

    def size(self, channels: int) -> tuple[int, int]:
        return self.n_components, 4 * channels

    def _numbers(self, positions: int, channels: int) -> int:
        return positions * (channels + 4 * self.n_components)

    def _learn(self, descriptors: Floats) -> None:
        super()._learn(descriptors)
        rng = np.random.default_rng(self.seed)
        shape = (2, descriptors.shape[2])
        self.bins_ = rng.integers(self.n_components, size=shape)
        self.signs_ = rng.choice(np.array([-1, 1], np.int8), size=shape)

    def _encode(self, block: Codes) -> Codes:
        sketch = tensor_sketch(block, self.bins_, self.signs_, self.n_components)
        # A bin that no pair of channels falls into is zero but for the FFT's rounding, which the
        # root would enlarge and a head's scaler blow up.
        noise = 1e-6 * np.linalg.norm(sketch, axis=1, keepdims=True)
        return unit(signed_power(np.where(np.abs(sketch) > noise, sketch, np.float32(0)), 0.5))


def tensor_sketch(
    x: Codes, bins: NDArray[np.int64], signs: NDArray[np.int8], n_components: int
) -> Codes:
    """Sum over positions of the sketch of x xᵀ, (n, positions, channels) to (n, n_components).

    bins, signs : (2, channels), of the two count sketches.
    """
    import scipy.fft
    import scipy.sparse

    n, positions, channels = x.shape
    columns = np.ascontiguousarray(x.reshape(-1, channels).T)  # (channels, n positions)
    spectra = []
    for bin_of, sign_of in zip(bins, signs, strict=True):
        entries = (sign_of.astype(np.float32), (bin_of, np.arange(channels)))
        count = scipy.sparse.csr_array(entries, shape=(n_components, channels))
        spectra.append(scipy.fft.rfft(count @ columns, axis=0))
    product = (spectra[0] * spectra[1]).reshape(n_components // 2 + 1, n, positions).sum(axis=2)
    sketch: Codes = scipy.fft.irfft(product, n=n_components, axis=0).T
    return sketch


def check_at_least_one(name: str, value: int) -> None:
    """Refuse a number of things below 1.

    Raises
    ------
    ScenarioError
        Naming the parameter.
    """
    if value < 1:
        raise ScenarioError(f"{name} = {value} must be at least 1; pass a whole number of them")
