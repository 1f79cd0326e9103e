"""What raw numbers mean, on tables whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from medgraft.errors import AmbiguousModelError, ForeignModelError
from medgraft.foreign.interpret import (
    check_columns,
    check_order,
    kind_of_outputs,
    log_probabilities,
)

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (64, 3))
SOFT = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
ONE = RNG.normal(0, 3, (64, 1))
SIGMOID = 1 / (1 + np.exp(-ONE))


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (LOGITS, "logits"),
        (np.log(SOFT), "logits"),
        (np.abs(LOGITS) * 2, "logits"),
        (SOFT, "probabilities"),
        (SOFT.round(4), "probabilities"),
        (ONE, "logits"),
        (SIGMOID, "probabilities"),
    ],
)
def test_values_tell_logits_from_probabilities(raw: np.ndarray, kind: str) -> None:
    assert kind_of_outputs(raw, "it") == kind


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (1 / (1 + np.exp(-LOGITS)), "separate sigmoids; pass --outputs logits, or"),
        (SIGMOID / 2, "on one side of a half"),
    ],
)
def test_what_values_do_not_tell_is_asked(raw: np.ndarray, text: str) -> None:
    with pytest.raises(AmbiguousModelError, match=text):
        kind_of_outputs(raw, "it")


def test_percents_are_refused() -> None:
    with pytest.raises(ForeignModelError, match="divide them by 100"):
        kind_of_outputs(100 * SOFT, "it")


def test_probabilities_come_out_whatever_went_in() -> None:
    for raw in (LOGITS, np.log(SOFT)):
        np.testing.assert_allclose(np.exp(log_probabilities(raw, "logits", "it")), SOFT)
    np.testing.assert_allclose(np.exp(log_probabilities(SOFT, "probabilities", "it")), SOFT)
    both = np.concatenate([1 - SIGMOID, SIGMOID], axis=1)
    np.testing.assert_allclose(np.exp(log_probabilities(ONE, "logits", "it")), both)
    np.testing.assert_allclose(np.exp(log_probabilities(SIGMOID, "probabilities", "it")), both)
    certain = log_probabilities(np.array([[0.0, 1.0]]), "probabilities", "it")
    assert np.isfinite(certain).all()
    with pytest.raises(ForeignModelError, match="pass --outputs logits"):
        log_probabilities(LOGITS, "probabilities", "it")
    with pytest.raises(ForeignModelError, match="every class the probability 0"):
        log_probabilities(np.zeros((2, 3)), "probabilities", "it")


def test_a_number_for_each_class_or_one_for_two() -> None:
    check_columns(SOFT, ("a", "b", "c"), "it", given=False)
    check_columns(ONE, ("a", "b"), "it", given=False)
    for raw, classes in ((SOFT, ("a", "b")), (ONE, ("a", "b", "c"))):
        with pytest.raises(ForeignModelError, match=f"answers {raw.shape[1]} numbers"):
            check_columns(raw, classes, "it", given=True)


def test_another_order_of_classes_is_asked_only_where_it_surely_fits_better() -> None:
    labels = np.arange(64) % 2
    right = np.log(np.where(labels[:, None] == [[0, 1]], 0.7, 0.3))
    check_order(right, labels, ("a", "b"), "it")
    with pytest.raises(AmbiguousModelError, match=r"AUROC 0\.00.*--classes b,a if"):
        check_order(right[:, ::-1], labels, ("a", "b"), "it")
    for seed in range(50):  # a model that knows nothing is not asked about
        noise = np.log(np.random.default_rng(seed).dirichlet([1, 1], 64))
        check_order(noise, labels, ("a", "b"), "it")
    check_order(right[:, ::-1], np.zeros(64, np.int64), ("a", "b"), "it")


def test_of_three_classes_the_order_that_fits_is_named() -> None:
    labels = np.arange(63) % 3
    said = np.array([2, 0, 1])[labels]  # class a stands in column 2, b in 0, c in 1
    logs = np.log(np.where(said[:, None] == np.arange(3), 0.8, 0.1))
    with pytest.raises(AmbiguousModelError, match=r"0 of 63 labels.*--classes b,c,a if"):
        check_order(logs, labels, ("a", "b", "c"), "it")
    check_order(logs, said, ("a", "b", "c"), "it")
