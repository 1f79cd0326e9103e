"""Distances from ImageNet: the formula, few images, where it is read, what is said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import integrate, stats

from medgraft.errors import BackboneError
from medgraft.features.backbones import load_backbone
from medgraft.features.engine import Output, tap_network
from medgraft.features.norms import BEFORE_NORM, MOMENTS, before_norm
from medgraft.profile.known_sets import known_sets
from medgraft.profile.similarity import EPSILON, similarity_of, squared_hellinger
from medgraft.report.text.similarity import sentence
from medgraft.results.recommendation import KnownSet, Similarity
from medgraft.types import Estimate

NORMAL = np.array([np.zeros(40), np.ones(40)], np.float32)
KNOWN = {"shallow": NORMAL, "deep": NORMAL}
DEEP = np.array([False, True])


def test_the_distance_is_the_integral_that_defines_it() -> None:
    own, theirs = stats.norm(0.7, np.sqrt(2.0 + EPSILON)), stats.norm(0.0, np.sqrt(0.5 + EPSILON))
    overlap, _ = integrate.quad(lambda x: np.sqrt(own.pdf(x) * theirs.pdf(x)), -30, 30)
    moments = np.array([0.7, 2.0 + 0.7**2])
    found = squared_hellinger(moments, np.array([0.0]), np.array([0.5]))
    assert found == pytest.approx(1 - overlap, abs=1e-6)


def test_a_dead_channel_counts_as_one_at_most() -> None:
    never = squared_hellinger(np.array([5.0, 25.0]), np.zeros(1), np.ones(1))
    assert 0.9 < never <= 1


def drawn(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Images of pooled mean .5 and variance 1.3, a third of the variance between images."""
    mean = rng.normal(0.5, np.sqrt(0.45), (n, 40))
    values = np.concatenate([mean, mean**2 + 0.85], axis=1).astype(np.float32)
    return {"shallow": values, "deep": values}


def test_few_images_are_not_farther_than_many() -> None:
    truth = squared_hellinger(np.repeat([0.5, 1.3 + 0.25], 40), np.zeros(40), np.ones(40))
    rng = np.random.default_rng(0)
    found = [
        similarity_of(drawn(rng, 6), np.arange(6).astype(str), KNOWN, DEEP) for _ in range(200)
    ]
    estimates = [one.distance for one in found if one.distance is not None]
    values = np.array([one.value for one in estimates])
    plain = [
        squared_hellinger(drawn(rng, 6)["deep"].mean(axis=0), *KNOWN["deep"]) for _ in range(200)
    ]
    assert abs(np.mean(plain) - truth) > 4 * abs(values.mean() - truth)
    assert values.mean() == pytest.approx(truth, abs=0.004)
    holds = np.mean([one.low <= truth <= one.high for one in estimates])
    assert holds >= 0.9


def test_patients_are_left_out_whole() -> None:
    one = drawn(np.random.default_rng(1), 5)
    twice = {layer: np.repeat(values, 3, axis=0) for layer, values in one.items()}
    alone = similarity_of(one, np.arange(5).astype(str), KNOWN, DEEP)
    repeated = similarity_of(twice, np.repeat(np.arange(5), 3).astype(str), KNOWN, DEEP)
    assert alone.distance is not None
    assert repeated.distance is not None
    assert repeated.distance.value == pytest.approx(alone.distance.value, abs=1e-6)
    assert repeated.distance.high == pytest.approx(alone.distance.high, abs=1e-6)
    assert (repeated.n_images, repeated.n_groups) == (15, 5)


@pytest.mark.parametrize(("n", "reason"), [(1, "one image"), (3, "one group")])
def test_one_patient_tells_nothing(n: int, reason: str) -> None:
    found = similarity_of(drawn(np.random.default_rng(0), n), np.repeat("a", n), KNOWN, DEEP)
    assert (found.distance, found.reason) == (None, reason)
    assert sentence(found).startswith("Similarity to ImageNet: ")


def test_what_is_read_is_what_the_norm_is_given() -> None:
    """The first stage ends with its norm: what comes out of it follows from what went in."""
    import torch

    backbone = load_backbone()
    tap, norm = before_norm(backbone.network, backbone.tap("blocks.0"))
    wanted = [Output(tap.name, MOMENTS), Output("blocks.0", "avg")]
    with torch.inference_mode():
        network = tap_network(backbone, wanted)
        given, after = network(255 * torch.rand(2, 3, 64, 64, generator=torch.manual_seed(0)))
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    expected = (given[:, : tap.channels] - norm.running_mean) * scale + norm.bias
    assert norm.eps == EPSILON
    assert torch.allclose(after, expected, atol=1e-4)
    assert (given[:, tap.channels :] >= given[:, : tap.channels] ** 2).all()
    assert backbone.tap(f"blocks.0{BEFORE_NORM}") == tap


def test_a_network_without_norms_says_so() -> None:
    vgg = load_backbone("vgg16", "random")
    with pytest.raises(BackboneError, match="no batch norm"):
        vgg.tap(f"block1_conv1{BEFORE_NORM}")


def known(name: str, distance: float, n: int = 500) -> KnownSet:
    return KnownSet(name, f"{name}s", n, distance, distance - 0.002, distance + 0.002)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.049, 0.052, "about as far from ImageNet as X-rays"),
        (0.035, 0.045, "farther from ImageNet than scenes and nearer than X-rays"),
        (0.01, 0.015, "nearer to ImageNet than scenes"),
        (0.08, 0.09, "farther from ImageNet than phantoms"),
        (0.01, 0.09, "too few to place"),
    ],
)
def test_the_place_among_known_sets(low: float, high: float, said: str) -> None:
    sets = (known("scene", 0.03), known("X-ray", 0.05), known("part", 0.05, 98),
            known("phantom", 0.07))  # fmt: skip
    distance = Estimate((low + high) / 2, low, high, 8, "jackknife")
    found = Similarity(distance, distance, (), 8, 8, sets)
    assert said in sentence(found)
    assert "part" not in sentence(found)
    assert sentence(dataclasses.replace(found, known=())).endswith(".")


def test_the_committed_scale_is_in_order() -> None:
    """Photographs of scenes are nearest, made radiographs farthest, X-rays between."""
    order = [one.name for one in known_sets() if one.n >= 150]
    assert order[0] == "scenes_ot8"
    assert order.index("scenes_ot8") < order.index("chest_xray") < order.index("phantoms")
    assert all(one.low <= one.distance <= one.high for one in known_sets())
