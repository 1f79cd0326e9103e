"""What encoders without a codebook give, what all share, and how descriptors reach them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from medgraft.errors import FitError, ScenarioError
from medgraft.features import encoders
from medgraft.features.codebooks import ENCODERS, VLAD, FisherVector, encoder_from_arrays
from medgraft.features.encoders import (
    CompactBilinear,
    PoolEncoder,
    SpatialPyramid,
    pool,
    single,
    tensor_sketch,
)

SMALL = {
    "pyramid": {"levels": (1, 2)},
    "bilinear": {"n_components": 64},
    "vlad": {"k": 4, "pca": 5, "whiten": 6},
    "fisher": {"k": 3, "pca": 5, "whiten": 6},
}


def draw(n: int = 20, positions: int = 9, channels: int = 12, seed: int = 0) -> NDArray[np.float32]:
    """Rectified noise in float16's own values."""
    noise = np.random.default_rng(seed).normal(size=(n, positions, channels))
    return np.maximum(noise, 0).astype(np.float16).astype(np.float32)


# --------------------------------------------------------------------------- all encoders


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X = draw()
    before = X.copy()
    encoder = ENCODERS[name](**SMALL.get(name, {})).fit(X)
    codes = encoder.transform(X)
    assert codes.dtype == np.float32
    assert codes.shape == (20, encoder.size(12)[0])
    assert np.isfinite(codes).all()
    np.testing.assert_array_equal(X, before)

    again = ENCODERS[name](**SMALL.get(name, {})).fit(X, y=np.arange(20) % 2).transform(X)
    np.testing.assert_array_equal(again, codes)  # seeded, and labels are not looked at

    one_by_one = np.concatenate([encoder.transform(x[None]) for x in X])
    np.testing.assert_allclose(one_by_one, codes, atol=2e-5)
    monkeypatch.setattr(encoders, "BLOCK", 500)
    np.testing.assert_allclose(encoder.transform(X), codes, atol=2e-5)
    assert encoder.transform(X[:0]).shape == (0, codes.shape[1])

    assert np.isfinite(encoder.transform(np.zeros((2, 9, 12)))).all()
    assert np.isfinite(encoder.transform(np.full((2, 9, 12), 3.0))).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_comes_back_from_its_arrays(name: str) -> None:
    X = draw()
    encoder = ENCODERS[name](**SMALL.get(name, {})).fit(X)
    arrays, settings = encoder.to_arrays()
    settings = json.loads(json.dumps(settings))
    assert all(isinstance(a, np.ndarray) and a.dtype.kind in "fi" for a in arrays.values())
    back = encoder_from_arrays(name, arrays, settings)
    assert back.get_params() == encoder.get_params()
    np.testing.assert_array_equal(back.transform(X), encoder.transform(X))
    other, other_settings = back.to_arrays()
    assert other.keys() == arrays.keys()
    assert other_settings == settings


@pytest.mark.parametrize("name", ENCODERS)
def test_descriptors_are_rounded_to_float16_first(name: str) -> None:
    X = draw() * np.float32(1.0001)
    rounded = X.astype(np.float16)
    assert (rounded != X).any()
    encoder = ENCODERS[name](**SMALL.get(name, {})).fit(X)
    from_rounded = ENCODERS[name](**SMALL.get(name, {})).fit(rounded)
    np.testing.assert_array_equal(encoder.transform(X), from_rounded.transform(rounded))


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "pyramid"])
def test_positions_have_no_order_and_any_number(name: str) -> None:
    X = draw()
    encoder = ENCODERS[name](**SMALL.get(name, {})).fit(X)
    shuffled = X[:, np.random.default_rng(1).permutation(9)]
    np.testing.assert_allclose(encoder.transform(shuffled), encoder.transform(X), atol=2e-5)
    assert encoder.transform(draw(positions=14)).shape == encoder.transform(X).shape
    if name in ("avg", "vlad", "fisher", "gem", "max"):  # means, or sums brought to length 1
        twice = np.concatenate([X, X], axis=1)
        np.testing.assert_allclose(encoder.transform(twice), encoder.transform(X), atol=2e-5)


def test_the_pyramid_does_see_order() -> None:
    X = draw()
    pyramid = SpatialPyramid((1, 2)).fit(X)
    assert np.abs(pyramid.transform(X[:, ::-1]) - pyramid.transform(X)).max() > 0.1


@pytest.mark.parametrize("name", ENCODERS)
def test_bad_descriptors_are_refused(name: str) -> None:
    X = draw()
    encoder = ENCODERS[name](**SMALL.get(name, {}))
    with pytest.raises(FitError, match=r"not fitted.*call fit"):
        encoder.transform(X)
    with pytest.raises(FitError, match="not fitted"):
        encoder.to_arrays()
    with pytest.raises(FitError, match="no image"):
        encoder.fit(X[:0])
    for bad in (np.nan, np.inf, -np.inf, 70_000):
        spoilt = X.copy()
        spoilt[7, 3, 2] = bad
        with pytest.raises(FitError, match=r"images 7 of 20.*exclude"):
            encoder.fit(spoilt)
    encoder.fit(X)
    with pytest.raises(FitError, match=r"images 7 of 20"):
        encoder.transform(spoilt)
    with pytest.raises(ScenarioError, match=r"11 channels.*fitted on 12"):
        encoder.transform(X[..., :11])
    for shape in ((20, 0, 12), (20, 9, 0), (20, 12), (12,)):
        with pytest.raises(ScenarioError, match="n_images, positions, channels"):
            encoder.transform(np.zeros(shape))
    with pytest.raises(ScenarioError, match="real numbers"):
        encoder.fit(np.full((1, 1, 1), "x"))


def test_both_infinities_in_one_block_are_seen() -> None:
    X = draw()
    X[3, 0, 0], X[5, 0, 0] = np.inf, -np.inf
    with pytest.raises(FitError, match=r"images 3, 5 of 20"):
        PoolEncoder().fit(X)


def test_every_finite_half_is_widened_exactly() -> None:
    """Against NumPy's own conversion: zeros of both signs, subnormals, the largest."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    for given in (halves, halves[::-2], halves.reshape(2, -1, 2).swapaxes(0, 1)):
        before = given.copy()
        wide = single(given)
        assert wide.dtype == np.float32
        np.testing.assert_array_equal(wide, given.astype(np.float32))
        np.testing.assert_array_equal(np.signbit(wide), np.signbit(given))
        np.testing.assert_array_equal(given, before)


def test_names_are_read_only_and_checked() -> None:
    with pytest.raises(TypeError):
        ENCODERS["sum"] = PoolEncoder  # type: ignore[index]
    with pytest.raises(ScenarioError, match=r"'sum'; there are: avg, max, gem, pyramid"):
        encoder_from_arrays("sum", {}, {})
    for name in ("avg", "max", "gem"):
        assert ENCODERS[name]().get_params() == {"pooling": name}


@pytest.mark.parametrize(
    ("encoder", "text"),
    [
        (PoolEncoder("sum"), "no pooling 'sum'"),
        (SpatialPyramid(pooling="sum"), "no pooling 'sum'"),
        (SpatialPyramid(()), "pyramid levels"),
        (SpatialPyramid((1, 0)), "pyramid levels"),
        (CompactBilinear(0), "n_components = 0"),
        (VLAD(k=0), "k = 0"),
        (VLAD(pca=0), "pca = 0"),
        (VLAD(whiten=0), "whiten = 0"),
        (VLAD(power=0), "power 0"),
        (VLAD(power=1.5), "power 1.5"),
        (VLAD(assignment="fuzzy"), "'fuzzy' must be 'hard' or 'soft'"),  # type: ignore[arg-type]
        (FisherVector(k=0), "k = 0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    encoder: encoders.BaseEncoder, text: str
) -> None:
    with pytest.raises(ScenarioError, match=text):
        encoder.fit(draw())


# --------------------------------------------------------------------------- pooling, pyramid


@pytest.mark.parametrize("pooling", ["avg", "max", "gem"])
def test_pooling_equals_the_graph(pooling: str) -> None:
    X = draw()
    maps = torch.from_numpy(X).transpose(1, 2).reshape(20, 12, 3, 3)
    expected = pool(maps, pooling).numpy()
    codes = ENCODERS[pooling]().fit(X).transform(X)
    np.testing.assert_allclose(codes, expected, rtol=1e-5)


@pytest.mark.parametrize("side", [4, 7, 3])
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_pyramid_is_adaptive_pooling_at_every_level(side: int, pooling: str) -> None:
    X = draw(5, side * side, 3)
    maps = torch.from_numpy(X).transpose(1, 2).reshape(5, 3, side, side)
    adaptive = {
        "avg": torch.nn.functional.adaptive_avg_pool2d,
        "max": torch.nn.functional.adaptive_max_pool2d,
    }[pooling]
    levels = [adaptive(maps, level).flatten(2).transpose(1, 2).flatten(1) for level in (1, 2, 4)]
    codes = SpatialPyramid((1, 2, 4), pooling).fit(X).transform(X)
    np.testing.assert_allclose(codes, torch.cat(levels, 1).numpy(), rtol=1e-5, atol=1e-7)


def test_pyramid_needs_a_square() -> None:
    pyramid = SpatialPyramid().fit(draw())
    with pytest.raises(ScenarioError, match=r"8 positions are no square grid"):
        pyramid.transform(draw(positions=8))


# --------------------------------------------------------------------------- compact bilinear


@pytest.mark.parametrize("n_components", [8, 7])
def test_tensor_sketch_is_a_circular_convolution(n_components: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 5)).astype(np.float32)
    bins, signs = rng.integers(n_components, size=(2, 5)), rng.choice([-1, 1], size=(2, 5))
    expected = np.zeros((2, n_components))
    for image in range(2):
        for position in range(3):
            for i in range(5):  # ψ(x)_t = Σ s1(i) s2(j) x_i x_j over h1(i) + h2(j) = t mod D
                for j in range(5):
                    t = (bins[0, i] + bins[1, j]) % n_components
                    product = float(x[image, position, i]) * float(x[image, position, j])
                    expected[image, t] += signs[0, i] * signs[1, j] * product
    sketch = tensor_sketch(x, bins, signs.astype(np.int8), n_components)
    np.testing.assert_allclose(sketch, expected, atol=1e-5)


def test_tensor_sketch_keeps_the_squared_inner_product_on_average() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(1, 1, 6)).astype(np.float32) for _ in range(2))
    inner = []
    for seed in range(500):
        encoder = CompactBilinear(16, seed).fit(x)
        sketches = [tensor_sketch(z, encoder.bins_, encoder.signs_, 16)[0] for z in (x, y)]
        inner.append(float(sketches[0] @ sketches[1]))
    error = np.std(inner) / np.sqrt(len(inner))
    assert abs(np.mean(inner) - float(x[0, 0] @ y[0, 0]) ** 2) < 4 * error


def test_compact_bilinear_is_the_signed_root_of_length_one() -> None:
    # One channel of value 2 at one position: the sketch is ±4 in one bin, the code ±1.
    encoder = CompactBilinear(5, seed=3).fit([[[2.0]]])
    code = encoder.transform([[[2.0]]])[0]
    expected = np.zeros(5)
    expected[encoder.bins_.sum() % 5] = encoder.signs_.prod()
    np.testing.assert_allclose(code, expected, atol=1e-6)
    raw = tensor_sketch(draw(2), *_hashes(12, 64))
    roots = np.sign(raw) * np.sqrt(np.abs(raw))
    roots /= np.linalg.norm(roots, axis=1, keepdims=True)
    many = CompactBilinear(64).fit(draw(2))
    many.bins_, many.signs_ = _hashes(12, 64)[:2]
    # The root of an empty bin's rounding is what the encoder sets to zero.
    np.testing.assert_allclose(many.transform(draw(2)), roots, atol=2e-3)


def test_a_bin_that_nothing_falls_into_stays_zero() -> None:
    encoder = CompactBilinear(512).fit(draw(channels=3))  # 9 pairs of channels
    codes = encoder.transform(draw(200, channels=3))
    assert (codes != 0).any(axis=0).sum() <= 9


def _hashes(channels: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int8], int]:
    rng = np.random.default_rng(5)
    signs = rng.choice(np.array([-1, 1], np.int8), size=(2, channels))
    return rng.integers(n, size=(2, channels)), signs, n
