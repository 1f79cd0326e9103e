"""Weights between two networks: the ends, the middle by hand, batch norm against pooled data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medgraft.errors import FitError
from medgraft.learn.blend import blend


def states() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2)
        )
        network.train()
        network[1](torch.randn(8, 3, 2, 2) + seed)
        made.append({name: value.numpy().copy() for name, value in network.state_dict().items()})
    return made[0], made[1]


def test_the_ends_are_the_two_networks_and_nothing_is_changed() -> None:
    frozen, tuned = states()
    before = {name: value.copy() for name, value in [*frozen.items()]}
    for share, expected in ((0.0, frozen), (1.0, tuned)):
        found = blend(frozen, tuned, share)
        assert list(found) == list(tuned)
        for name, value in found.items():
            np.testing.assert_array_equal(value, expected[name])
            assert value.dtype == tuned[name].dtype
            assert not np.shares_memory(value, tuned[name])
    for name, value in frozen.items():
        np.testing.assert_array_equal(value, before[name])


def test_a_linear_network_between_two_gives_scores_between_theirs() -> None:
    """Scores of a linear layer are linear in its weights."""
    frozen, tuned = states()
    codes = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)

    def scores(state: dict[str, np.ndarray]) -> np.ndarray:
        return codes @ state["3.weight"].T + state["3.bias"]

    found = scores(blend(frozen, tuned, 0.3))
    np.testing.assert_allclose(found, 0.7 * scores(frozen) + 0.3 * scores(tuned), atol=1e-6)


def test_running_statistics_are_those_of_what_both_saw() -> None:
    """A quarter of the rows from the tuned network's images, three quarters from the other's."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (3000, 2)), rng.normal([2, -1], 3, (1000, 2))
    of = [{"n.running_mean": x.mean(0), "n.running_var": x.var(0)} for x in (a, b)]
    found = blend(of[0], of[1], 0.25)
    both = np.concatenate([a, b])
    np.testing.assert_allclose(found["n.running_mean"], both.mean(0))
    np.testing.assert_allclose(found["n.running_var"], both.var(0))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(FitError, match="no share"):
        blend(*states(), share)


def test_states_of_two_networks_are_refused() -> None:
    frozen, tuned = states()
    with pytest.raises(FitError, match=r"the first: 3\.bias"):
        blend({name: v for name, v in frozen.items() if name != "3.bias"}, tuned, 0.5)
    with pytest.raises(FitError, match=r"\(4, 3\) frozen and \(2, 3\) tuned"):
        blend({**frozen, "3.weight": np.zeros((4, 3), np.float32)}, tuned, 0.5)
