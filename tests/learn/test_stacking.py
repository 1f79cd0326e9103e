"""The light stack: weights that say whom to believe, cross-fitted."""

import numpy as np
import pytest
from scipy.special import log_softmax

from medgraft.errors import FitError
from medgraft.learn import stacking
from medgraft.learn.stacking import Stack, fit_stack


def members(n=600, n_classes=2, noise=(0.5, 1.5, 6.0), seed=0):
    """Members that see the truth through noise of their own."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % n_classes)
    scores = [2 * np.eye(n_classes)[y] + a * rng.standard_normal((n, n_classes)) for a in noise]
    return scores, y


@pytest.mark.parametrize("n_classes", [2, 4])
def test_believes_the_better_member_more(n_classes):
    scores, y = members(n_classes=n_classes)
    weights = fit_stack(scores, y).weights
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    assert weights[0] > weights[1] > weights[2]


def test_members_that_are_the_same_share_equally():
    scores, y = members(noise=(1.0,))
    weights = fit_stack([scores[0], scores[0].copy(), scores[0].copy()], y).weights
    np.testing.assert_allclose(weights, 1 / 3, atol=1e-3)
    assert fit_stack(scores, y).weights == (1.0,)


def test_a_member_that_misleads_has_no_weight():
    scores, y = members(noise=(1.0, 1.0))
    assert fit_stack([scores[0], -scores[1]], y).weights[1] == 0


def test_beats_the_mean_where_one_member_is_noise():
    scores, y = members(noise=(0.8, 8.0))
    half = np.arange(len(y)) % 2 == 0
    fitted = fit_stack([s[half] for s in scores], y[half])
    mean = Stack((0.5, 0.5), fitted.scales)
    others = [s[~half] for s in scores]
    right = [(stack(others).argmax(axis=1) == y[~half]).mean() for stack in (fitted, mean)]
    assert right[0] > right[1]


def test_combination_by_hand():
    """Scores (0, log 3) have probabilities 1/4, 3/4; weights 3/4 and 1/4 of two members."""
    a, b = np.array([[0.0, np.log(3)]]), np.array([[np.log(3), 0.0]])
    combined = Stack((0.75, 0.25), (1.0, 1.0))([a, b])
    np.testing.assert_allclose(
        combined, [0.75 * np.log([0.25, 0.75]) + 0.25 * np.log([0.75, 0.25])]
    )
    np.testing.assert_allclose(Stack((1.0,), (2.0,))([a]), log_softmax(a / 2, axis=1))


def test_gradient_leads_to_the_least_loss_of_a_grid():
    """Two classes and members of one bias: a grid of weights and slopes finds nothing better."""
    scores, y = members(400, noise=(1.0, 2.0))
    fitted = fit_stack(scores, y)
    units = [s / a for s, a in zip(scores, fitted.scales, strict=True)]
    target = (0.25 + 200 * np.eye(2)[y]) / 200.5
    best, where = np.inf, None
    for w in np.linspace(0, 1, 51):
        combined = w * log_softmax(units[0], axis=1) + (1 - w) * log_softmax(units[1], axis=1)
        for slope in np.linspace(0.2, 4, 39):
            for bias in np.linspace(-0.2, 0.2, 9):
                log_p = log_softmax(slope * combined + [-bias, bias], axis=1)
                loss = -(target * log_p).sum(axis=1).mean()
                loss += 2 * stacking.PULL * (w**2 + (1 - w) ** 2 - 0.5)
                if loss < best:
                    best, where = loss, w
    assert fitted.weights[0] == pytest.approx(where, abs=0.03)


def test_scale_and_shift_of_a_member_change_nothing():
    scores, y = members()
    changed = [1000 * scores[0] + 5, *scores[1:]]
    np.testing.assert_allclose(fit_stack(changed, y).weights, fit_stack(scores, y).weights, 1e-4)


def test_weights_count_copies():
    scores, y = members(150)
    times = np.arange(150) % 3
    copies = np.repeat(np.arange(150), times)
    ours = fit_stack(scores, y, times).weights
    theirs = fit_stack([s[copies] for s in scores], y[copies]).weights
    np.testing.assert_allclose(ours, theirs, atol=1e-2)  # smoothing counts images, not weight


def test_inputs_stay_and_results_repeat():
    scores, y = members()
    kept = [s.copy() for s in scores]
    assert fit_stack(scores, y) == fit_stack(scores, y)
    np.testing.assert_array_equal(kept, scores)


def test_refusals():
    scores, y = members(60)
    with pytest.raises(FitError, match="at least one member"):
        fit_stack([], y)
    with pytest.raises(FitError, match="same images with every member"):
        fit_stack([scores[0], scores[1][1:]], y)
    with pytest.raises(FitError, match="NaN"):
        fit_stack([np.full_like(scores[0], np.nan)], y)
    with pytest.raises(FitError, match="two classes"):
        fit_stack(scores, np.zeros(60, int))
