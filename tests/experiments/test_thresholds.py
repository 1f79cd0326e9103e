"""The rules of a threshold that experiments compare, on classes whose shares are known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from page import read_cells
from shift import thresholds
from shift.thresholds import KNOWN, RULES, STEADY, Seen, bbse, em, quantile


def place(share: float, moved: float = 0.0) -> tuple[Seen, np.ndarray]:
    """Learned where half are positive, sensitivity and specificity .89; log odds moved there."""
    rng = np.random.default_rng(0)

    def drawn(n: int, positive: float) -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(n) < round(positive * n)
        return y, rng.normal(np.where(y, 1.5, -1.5), np.sqrt(3))

    y, odds = drawn(4000, 0.5)
    truth, there = drawn(2000, share)
    groups = np.arange(2000).astype(str)
    seen = Seen(y, expit(odds), expit(there + moved), groups, 0.5, bool(moved), share)
    return seen, truth


def right(rule: str, seen: Seen, truth: np.ndarray) -> float:
    return float((RULES[rule](seen) == truth).mean())


def test_shares_are_found_where_only_the_mix_changed() -> None:
    seen, truth = place(0.2)
    assert em(seen) == pytest.approx(0.2, abs=0.02)
    assert bbse(seen) == pytest.approx(0.2, abs=0.03)
    assert right("EM, most probable", seen, truth) > right(STEADY, seen, truth) + 0.03
    assert right("quantile", seen, truth) < right(STEADY, seen, truth) - 0.1


def test_a_quantile_undoes_a_change_of_look_and_shares_do_not() -> None:
    seen, truth = place(0.5, moved=2.0)
    assert logit(quantile(seen)) == pytest.approx(2, abs=0.15)
    whole, gated = (right(rule, seen, truth) for rule in ("quantile", KNOWN))
    assert whole == pytest.approx(gated, abs=0.01)
    halfway = right("halfway, where images look different", seen, truth)
    assert right(STEADY, seen, truth) + 0.05 < halfway < whole
    assert em(seen) > 0.7


def test_where_images_look_as_before_the_gate_keeps_the_threshold() -> None:
    seen, _ = place(0.2)
    for rule in ("quantile, where images look different", "halfway, where images look different"):
        np.testing.assert_array_equal(RULES[rule](seen), RULES[STEADY](seen))
        other = dataclasses.replace(seen, unlike=True)
        assert (RULES[rule](other) != RULES[STEADY](other)).any()


def test_a_line_cut_short_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "thresholds.jsonl"
    names = {"data": "a", "pair": "b", "probe": "c", "mix": "d"}
    monkeypatch.setattr(thresholds, "RESULTS", file)
    file.write_text('{"data": "a", "pair"')
    thresholds._append(names)
    thresholds._append({**names, "mix": "e"})
    assert [row["mix"] for row in read_cells(file)] == ["d", "e"]
