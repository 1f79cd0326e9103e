"""Shortcuts as they are planted: where they lie, whom they mark, and one trial from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medgraft.audit.marks import KINDS, Kind, Mark
from medgraft.audit.regions import layout_of, regions_of
from medgraft.errors import ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.results.evidence import CORNERS, RING
from medgraft.types import Canvas, Geometry, Scenario
from planted import SIDE, Shortcut, Trial, mixed, run_trial

REGIONS = {region.name: region.base for region in regions_of(SIDE, layout_of("xray"))}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("corner", CORNERS)
def test_a_mark_lies_in_its_corner_and_nowhere_else(kind: Kind, corner: str) -> None:
    canvas = Canvas("", np.full((SIDE, SIDE), 100, np.uint8), Geometry.identity(SIDE, SIDE))
    for size in (0.03, 0.15):
        changed = Mark(kind, size, corner, 1)(canvas).pixels != 100
        assert changed.any()
        assert not (changed & ~REGIONS[corner]).any()
    assert (canvas.pixels == 100).all()


def test_marks_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ScenarioError, match="no corner 'middle'"):
        Mark("text", 0.1, "middle")
    with pytest.raises(ScenarioError, match="of sizes between 0 and 1"):
        Mark("text", 1.5, CORNERS[0])


@pytest.mark.parametrize(("rho", "shares"), [(0.0, (0.5, 0.5)), (0.8, (0.1, 0.9)), (1.0, (0, 1))])
def test_carriers_agree_with_the_class_as_much_as_was_asked(
    rho: float, shares: tuple[float, float]
) -> None:
    labels = np.arange(20000) % 2
    carriers = Shortcut("box", rho=rho).carriers(labels, np.random.default_rng(0))
    for label, share in enumerate(shares):
        assert abs(carriers[labels == label].mean() - share) < 0.015


def test_mixed_images_keep_their_middle_and_lose_what_surrounds_it() -> None:
    images = np.repeat(np.arange(50, dtype=np.uint8), SIDE * SIDE).reshape(50, SIDE, SIDE)
    changed = mixed(images, np.random.default_rng(0))
    outer = np.any([REGIONS[name] for name in (RING, *CORNERS)], axis=0)
    middle = np.s_[30:98, 30:98]
    assert (changed[:, 30:98, 30:98] == images[:, 30:98, 30:98]).all()
    assert not outer[middle].any()
    for image in changed:
        assert len(np.unique(image[outer])) == 1  # all of it from one other image
    assert (changed[:, 0, 0] != images[:, 0, 0]).mean() > 0.9
    assert sorted(changed[:, 0, 0]) == sorted(images[:, 0, 0])


@pytest.mark.slow
def test_a_model_that_was_taught_a_mark_fails_for_it(tmp_path: Path, graphs: Path) -> None:
    """Noise tells no class, so that only the mark can; without it the model knows nothing."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "graphs").symlink_to(graphs)
    extractor = Extractor(Cache(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    images = rng.normal(110, 20, (300, SIDE, SIDE)).clip(0, 255).astype(np.uint8)
    labels = np.arange(300) % 2
    scenario = Scenario.from_key(f"multiscale/tf_efficientnet_lite0/blocks.1/s{SIDE}/logistic")
    shortcut = Shortcut("box", 0.12, CORNERS[2], 1.0)
    found = run_trial(
        Trial("noise", scenario, shortcut, False, 3), images, labels, extractor, tmp_path
    )
    assert found.uses
    assert found.auroc > 0.95
    assert abs(found.without - 0.5) < 0.15
    assert found.verdict == "FAIL"
    assert found.right
    assert not list(tmp_path.glob("*.npz"))
