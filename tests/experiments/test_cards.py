"""That the proof still knows what the report's cards are given; its rates are `make test-all`'s."""

from __future__ import annotations

import numpy as np

from proof.cards import calibration, new_images


def test_cards_are_asked_as_the_report_asks_them() -> None:
    runs = [np.random.default_rng(seed) for seed in range(4)]
    assert all(new_images(rng, True, 1500, 1) for rng in runs)
    assert not all(new_images(rng, False, 1500, 1) for rng in runs)
    assert calibration(runs[0], True, 600, 1, 0.92)
