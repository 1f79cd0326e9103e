"""What stands out in a layer, on networks whose channels do one known thing each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from medgraft.errors import DataError, ScenarioError
from medgraft.explain.layers import emptied, layer_atlases, standing_out
from medgraft.features.backbones import Backbone, load_backbone
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan
from medgraft.features.taps import Tap
from medgraft.learn.network import NetworkWithHead
from medgraft.results.layers import Atlas
from medgraft.scenario import Head
from medgraft.types import (
    PLAIN,
    Box,
    Canvas,
    Card,
    Cost,
    FeatureSpec,
    Floats,
    Geometry,
    Scenario,
)

SIZE = 20
LOUD, HORIZONTAL, VERTICAL, TWIN, QUIET = range(5)


class HandMade(nn.Module):
    """Block 1 finds edges, block 2 is its mean over 2 x 2 positions.

    Channels: always loud and everywhere alike; where brightness falls to the row below; where it
    falls to the column on the right; half of that channel; a millionth of where it rises from the
    row above.
    """

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(3, 5, 3, padding=1)
        self.edges = nn.Sequential(conv, nn.ReLU())
        self.second = nn.AvgPool2d(2)
        weight = torch.zeros(5, 3, 3, 3)
        weight[HORIZONTAL, 0, 1:, 1] = torch.tensor([1.0, -1.0])
        weight[VERTICAL, 0, 1, 1:] = torch.tensor([1.0, -1.0])
        weight[TWIN] = weight[VERTICAL] / 2
        weight[QUIET, 0, :2, 1] = torch.tensor([-1e-6, 1e-6])
        with torch.no_grad():
            conv.weight.copy_(weight)
            conv.bias.copy_(torch.tensor([1000.0, 0, 0, 0, 0]))  # type: ignore[union-attr]

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(self.edges(images))


class Counting(Extractor):
    """Notes what was asked of the engine: the blocks of each run, and its canvases."""

    def __init__(self, cache: Cache) -> None:
        super().__init__(cache, engine="torch", workers=1)
        self.runs: list[tuple[str, ...]] = []
        self.canvases_run = 0

    def run(self, canvases: Iterable[Canvas], spec: FeatureSpec, blocks: Any = None) -> Any:
        self.runs.append(tuple(blocks))

        def counted() -> Iterator[Canvas]:
            for canvas in canvases:
                self.canvases_run += 1
                yield canvas

        return super().run(counted(), spec, blocks)


@pytest.fixture
def extractor(cache: Cache) -> Counting:
    card = Card("hand", "made", "none", "none", "0", SIZE, (0.0, 0.0, 0.0), (1 / 255,) * 3)
    backbone = Backbone(card, lambda: None)
    backbone.__dict__["network"] = HandMade().requires_grad_(False)
    backbone.__dict__["taps"] = (
        Tap("edges", "edges", "NCHW", 5, 1, Cost(1, 0), block=1),
        Tap("second", "second", "NCHW", 5, 2, Cost(2, 0), block=2),
    )
    made = Counting(cache)
    made.adopt(backbone)
    return made


SPEC = FeatureSpec("hand", "0", SIZE, ("second",), engine="torch")


def canvas_of(pixels: np.ndarray) -> Canvas:
    return Canvas("hand", pixels, Geometry.identity(*pixels.shape[:2]))


@pytest.fixture
def bar() -> Canvas:
    """Black, with an upright bar of brightness 100 in columns 6 and 7, all rows."""
    pixels = np.zeros((SIZE, SIZE), np.uint8)
    pixels[:, 6:8] = 100
    return canvas_of(pixels)


def layer_atlas(fitted: NetworkWithHead, canvas: Canvas, **how: Any) -> Atlas:
    (atlas,) = layer_atlases(fitted, [canvas], **how)
    return atlas


def strengths(atlas: Atlas, view: int) -> dict[int, float]:
    return {one.channel: one.strength for one in atlas.views[view].channels}


def network(
    extractor: Extractor, spec: FeatureSpec = SPEC, kind: type[NetworkWithHead] = NetworkWithHead
) -> NetworkWithHead:
    """A classifier whose head nobody asks."""
    scenario, nothing = Scenario(spec.backbone, "", Head("svm")), cast(Any, None)
    plan = FeaturePlan.one(spec)
    return kind(scenario, ("ill", "well"), None, None, plan, nothing, nothing, extractor, PLAIN)


# --------------------------------------------------------------------------- the measure


def test_a_channel_that_picks_out_a_tenth_scores_most_however_loud_it_is() -> None:
    maps = np.zeros((4, 100), np.float32)
    maps[0, :10] = 7  # a tenth: sqrt(1 / .1)
    maps[1, :40] = 7  # four tenths: 7 / (7 sqrt(.4))
    maps[2] = 7  # everywhere
    maps[3, :1] = 7  # a spark: .7 / (7 * .1)
    expected = [10**0.5, 2.5**0.5, 1, 1]
    np.testing.assert_allclose(standing_out(maps), expected, rtol=1e-6)
    np.testing.assert_allclose(standing_out(1e-3 * maps), expected, rtol=1e-6)


def test_what_falls_everywhere_does_not_stand_out() -> None:
    assert standing_out(np.full((1, 20), -2, np.float32)).tolist() == [-1]


# --------------------------------------------------------------------------- the atlas by hand


def test_upright_edges_are_found_by_the_channel_made_for_them(
    extractor: Counting, bar: Canvas
) -> None:
    atlas = layer_atlas(network(extractor), bar)
    first, second = atlas.views
    assert first.channels[0].channel == VERTICAL
    # The bar's right edge lies in column 7, where 100 falls to 0, in all 20 rows, and the image
    # was emptied to 10: there column 19 falls from 10 to the padding's 0, and here it does not.
    answers = np.zeros((SIZE, SIZE))
    answers[:, 7], answers[:, 19] = 100, -10
    unit = np.sqrt((answers**2).mean())
    np.testing.assert_allclose(first.channels[0].map, answers / unit, rtol=1e-5, atol=1e-6)
    # A tenth of 400 positions are 40: 20 with 100 and 20 with 0.
    assert first.channels[0].strength == pytest.approx(50 / unit, rel=1e-5)
    assert first.channels[0].peak[1] == 7
    assert second.channels[0].map.shape == (10, 10)
    assert second.channels[0].peak[1] == 3
    assert (first.stride, first.grid, first.n_channels) == (1, (20, 20), 5)


def test_loud_quiet_and_repeated_channels_are_passed_over(extractor: Counting, bar: Canvas) -> None:
    upright = layer_atlas(network(extractor), bar, channels=5)
    lying = layer_atlas(network(extractor), canvas_of(bar.pixels.T.copy()), channels=5)
    for view in (*upright.views, *lying.views):
        shown = {one.channel for one in view.channels}
        assert shown
        assert not shown & {LOUD, TWIN, QUIET}


def test_strongest_first_and_no_more_than_asked_for(extractor: Counting, bar: Canvas) -> None:
    pixels = bar.pixels.copy()
    pixels[:10] = 200  # the horizontal edge is longer than a tenth, and as high
    atlas = layer_atlas(network(extractor), canvas_of(pixels))
    for view in atlas.views:
        values = [one.strength for one in view.channels]
        assert len(values) == 2
        assert values == sorted(values, reverse=True)
    (one,) = layer_atlas(network(extractor), canvas_of(pixels), channels=1).views[0].channels
    assert one.channel == atlas.views[0].channels[0].channel


def test_grey_equals_the_same_in_three_colours(extractor: Counting, bar: Canvas) -> None:
    colour = canvas_of(np.repeat(bar.pixels[..., None], 3, axis=2))
    one, other = layer_atlases(network(extractor), [bar, colour])
    assert strengths(one, 0) == strengths(other, 0)
    assert other.pixels.shape == (SIZE, SIZE, 3)


def test_all_blocks_come_from_one_pass_over_image_and_empty_picture(
    extractor: Counting, bar: Canvas
) -> None:
    found = list(layer_atlases(network(extractor), [bar, bar, bar]))
    assert extractor.runs == [("edges@grid", "second@grid")]
    assert extractor.canvases_run == 6
    alone = layer_atlas(network(extractor), bar)
    assert all(strengths(atlas, 1) == strengths(alone, 1) for atlas in found)


def test_in_a_constant_image_nothing_stands_out(extractor: Counting) -> None:
    """Though the border of every image is an edge to a network that pads with zeros."""
    for pixels in (np.full((SIZE, SIZE), 90, np.uint8), np.full((SIZE, SIZE, 3), 90, np.uint8)):
        atlas = layer_atlas(network(extractor), canvas_of(pixels))
        assert [view.channels for view in atlas.views] == [(), ()]


def test_a_speck_of_noise_is_not_blown_up(extractor: Counting) -> None:
    pixels = np.full((SIZE, SIZE), 90, np.uint8)
    pixels[4, 4] = 91
    atlas = layer_atlas(network(extractor), canvas_of(pixels))
    assert [view.channels for view in atlas.views] == [(), ()]


def test_inputs_stay_as_they_were(extractor: Counting, bar: Canvas) -> None:
    before = bar.pixels.copy()
    layer_atlas(network(extractor), bar)
    np.testing.assert_array_equal(bar.pixels, before)


def test_emptied_keeps_the_bars_around_the_picture() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[1:3, :, 0] = [10, 20, 30, 41]  # its mean is 25.25
    box = Box(1, 0, 2, 4)
    geometry = Geometry((2, 4), 1, Box(0, 0, 2, 4), (4, 4), box)
    empty = emptied(Canvas("x", pixels, geometry))
    expected = np.zeros((4, 4, 3), np.uint8)
    expected[1:3, :, 0] = 25
    np.testing.assert_array_equal(empty.pixels, expected)
    np.testing.assert_array_equal(emptied(empty).pixels, expected)


# --------------------------------------------------------------------------- blocks


def test_blocks_without_a_tap_share_the_last_view(extractor: Counting, bar: Canvas) -> None:
    atlas = layer_atlas(network(extractor), bar)
    assert [(view.tap, view.blocks) for view in atlas.views] == [
        ("edges", (1,)),
        ("second", (2, 3, 4, 5)),
    ]
    (only,) = layer_atlas(network(extractor), bar, blocks=(2, 1, 2)).views[1:]
    assert only.blocks == (2,)


@pytest.mark.parametrize("blocks", [(0,), (1, 6), ()])
def test_a_block_that_is_not_there_is_refused(
    extractor: Counting, bar: Canvas, blocks: tuple[int, ...]
) -> None:
    with pytest.raises(ScenarioError, match="blocks 1 to 5"):
        layer_atlas(network(extractor), bar, blocks=blocks)


def test_no_channels_are_refused(extractor: Counting, bar: Canvas) -> None:
    with pytest.raises(ScenarioError, match="ask for 1 or more"):
        layer_atlas(network(extractor), bar, channels=0)


def test_a_vit_has_one_view_for_all_its_blocks(cache: Cache) -> None:
    name = "test_vit"  # timm's tiny one: 160 px in patches of 16
    extractor = Extractor(cache, engine="torch", workers=1)
    extractor.adopt(load_backbone(name, "random"))
    size = extractor.backbone(name).card.size
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    spec = FeatureSpec(name, "random-0", size, (), engine="torch")
    (view,) = layer_atlas(network(extractor, spec), canvas_of(pixels)).views
    assert view.blocks == (1, 2, 3, 4, 5)
    assert view.grid == (size // 16, size // 16)
    assert all(np.isfinite(one.map).all() for one in view.channels)


# --------------------------------------------------------------------------- files


def test_explain_layers_writes_one_picture_an_image_and_names_those_it_cannot_read(
    extractor: Counting, bar: Canvas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medgraft.bundle import explain

    class Known(NetworkWithHead):
        def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
            return np.array([[0.25, 0.75]] * len(list(canvases)))

    monkeypatch.setattr(explain, "load_model", lambda _path, cache: network(extractor, kind=Known))
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    other = tmp_path / "good.bmp"
    Image.fromarray(bar.pixels).save(good)
    Image.fromarray(bar.pixels).save(other)
    bad.write_bytes(b"")
    written, skipped = explain.explain_layers(tmp_path, [bad, good, other, good], tmp_path / "out")
    assert [path.name for path in written] == [
        f"{tmp_path.name}-good{n}-layers.png" for n in ("", "-2")
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    assert [row.source for row in skipped] == [str(bad)]
    with pytest.raises(DataError, match="none of 1 images can be explained"):
        explain.explain_layers(tmp_path, [bad], tmp_path / "out")
