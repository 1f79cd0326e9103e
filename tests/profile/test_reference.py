"""What a classifier keeps of the images it learned from, to hold others to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medgraft.errors import BundleError
from medgraft.profile.reference import NEIGHBOURS, WIDTH, Reference, _short
from medgraft.types import Floats


def drawn(seed: int, n: int, moved: float = 0.0) -> np.ndarray:
    codes = np.random.default_rng(seed).normal(0, 1, (n, 2 * WIDTH)) + moved
    return codes.astype(np.float32)


def reference(n: int = 120, prob: Floats | None = None, groups: int = 0) -> Reference:
    rng = np.random.default_rng(1)
    truth = np.arange(n) % 2
    positive = np.clip(0.5 + 0.3 * (2 * truth - 1) + rng.normal(0, 0.1, n), 0.01, 0.99)
    return Reference(
        codes=drawn(0, n),
        prob=np.stack([1 - positive, positive], axis=1) if prob is None else prob,
        truth=truth,
        groups=(np.arange(n) % (groups or n)).astype(str),
        counts=np.bincount(truth),
        mean=np.zeros(3),
        scale=np.ones(3),
        weights="w",
        resize="squash",
    )


def test_it_reads_what_it_wrote_and_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text('{"sha256": {}}')
    kept = reference()
    kept.write(tmp_path)
    assert list(json.loads((tmp_path / "bundle.json").read_text())["sha256"]) == [
        "reference.safetensors"
    ]
    found = Reference.read(tmp_path)
    assert found is not None
    for name in ("codes", "prob", "truth", "groups", "counts", "mean", "scale"):
        np.testing.assert_allclose(
            getattr(found, name).astype(float), getattr(kept, name).astype(float), atol=2e-3
        )
    (tmp_path / "reference.safetensors").write_bytes(b"no")
    with pytest.raises(BundleError, match="garbles"):
        Reference.read(tmp_path)
    (tmp_path / "reference.safetensors").unlink()
    assert Reference.read(tmp_path) is None


def test_distances_are_to_the_fifth_nearest_of_other_groups() -> None:
    """By brute force, on the part of the codes that says what is shown."""
    kept = reference(30, groups=10)
    new = drawn(7, 4)
    mine = kept.codes[:, WIDTH:].astype(float)
    plain = np.sort(np.linalg.norm(new[:, None, WIDTH:] - mine[None], axis=2), axis=1)
    np.testing.assert_allclose(kept.distances(new), plain[:, NEIGHBOURS - 1], rtol=1e-4)
    every = np.linalg.norm(mine[:, None] - mine[None], axis=2)
    every[kept.groups[:, None] == kept.groups[None]] = np.inf
    own = np.sort(every, axis=1)[:, NEIGHBOURS - 1]
    np.testing.assert_allclose(kept.distances(kept.codes, kept.groups.tolist()), own, rtol=1e-4)


def test_short_codes_keep_distances_of_all_stages_and_of_the_last() -> None:
    """Johnson and Lindenstrauss: to about one part in sqrt(2 WIDTH), 6 %."""
    stages = np.random.default_rng(0).normal(5, 3, (40, 700)).astype(np.float32)
    mean, scale = stages.mean(axis=0), stages.std(axis=0)
    unit = (stages - mean) / scale
    short = _short(stages, mean, scale, 320)
    for part, whole in ((short[:, :WIDTH], unit), (short[:, WIDTH:], unit[:, -320:])):
        ratio = np.linalg.norm(part[:20] - part[20:], axis=1) / np.linalg.norm(
            whole[:20] - whole[20:], axis=1
        )
        assert abs(ratio.mean() - 1) < 0.04
        assert ratio.std() < 0.12


def test_images_of_the_same_place_cannot_be_told_apart_and_others_can() -> None:
    kept = reference()
    given = kept.prob.argmax(axis=1)
    labels, groups = np.arange(60) % 2, np.arange(60).astype(str)
    same = kept.shift(drawn(5, 60), labels, groups, given)
    other = kept.shift(drawn(5, 60, 0.5), labels, groups, given)
    assert same is not None
    assert other is not None
    assert same.p > 0.05
    assert other.p <= 0.01 < 0.9 < other.estimate.value
