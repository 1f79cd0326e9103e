"""What each layer sees in one image: the channels that stand out, block by block.

This shows the backbone, not the classifier on top of it: which features a layer offers, from
edges in block 1 to parts of things in block 5. Where a score comes from stands in `cam.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import ScenarioError
from medgraft.features.backbones import Backbone
from medgraft.features.taps import Tap
from medgraft.results.layers import Atlas, BlockView, ChannelView
from medgraft.types import Canvas, FittedNetwork, FittedScenario

BLOCKS = (1, 2, 3, 4, 5)
SHARE = 0.1  # of a layer's positions: what a channel must single out to stand out most
QUIET = 0.5  # of the layer's average answer: channels that vary less are passed over
SILENT = 0.01  # of the layer's activation: a layer that varies less than this says nothing
ALIKE = 0.8  # correlation from which two channels' maps are the same picture again


def has_layers(fitted: FittedScenario) -> bool:
    """Whether it has a network whose layers can be shown."""
    return _first_network(fitted) is not None


def _first_network(fitted: FittedScenario) -> FittedNetwork | None:
    """The network that stands for a classifier of several, which have one backbone as a rule."""
    if fitted.networks:
        return fitted.networks[0]
    return _first_network(fitted.members[0]) if fitted.members else None


def layer_atlases(
    fitted: FittedScenario,
    canvases: Iterable[Canvas],
    blocks: Sequence[int] = BLOCKS,
    channels: int = 4,
) -> Iterator[Atlas]:
    """For each canvas and block the channels that stand out, all blocks from one forward pass.

    A channel's answer is what it gives for the canvas minus what it gives, at the same place, for
    the same canvas emptied to its mean colour. So a channel that is always loud has no advantage,
    and neither has one that answers to the border of every image. Channels are ordered by
    `standing_out`. Passed over are those that this image hardly moves (less than half the layer's
    average), and those whose map looks like a stronger one's (correlation from 0.8 on). Nothing
    but the network and the canvas is needed: no other images.

    Parameters
    ----------
    fitted
        Of its first network the layers are shown.
    canvases
        Made for `fitted.spec`.
    blocks
        Of 1 to 5. Blocks without a tap of their own share the next deeper one's view (a ViT has
        one view for all).
    channels
        How many to show of each block, at most.

    Raises
    ------
    ScenarioError
        There is no such block, no channel is asked for, or no network can be looked into.
    """
    network = _first_network(fitted)
    if network is None:
        raise ScenarioError(f"{fitted.scenario.key} is no network whose layers could be shown")
    taps = _taps(network.backbone, blocks)
    if channels < 1:
        raise ScenarioError(f"{channels} channels a block show nothing; ask for 1 or more")
    pairs = (one for canvas in canvases for one in (canvas, emptied(canvas)))
    results = network.activations(pairs, [tap.name for tap in taps])
    for (canvas, seen), (_, empty) in zip(results, results, strict=True):
        shape = canvas.pixels.shape[:2]
        views = tuple(
            _view(
                tap, numbers, _grid(seen[tap.name], shape), _grid(empty[tap.name], shape), channels
            )
            for tap, numbers in taps.items()
        )
        yield Atlas(canvas.id, canvas.pixels, canvas.geometry, views)


def emptied(canvas: Canvas) -> Canvas:
    """The canvas with its picture replaced by the picture's mean colour; padding stays."""
    box = canvas.geometry.content
    inside = np.s_[box.top : box.top + box.height, box.left : box.left + box.width]
    pixels = canvas.pixels.copy()
    pixels[inside] = np.rint(canvas.pixels[inside].mean(axis=(0, 1)))
    return dataclasses.replace(canvas, pixels=pixels)


def standing_out(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much each channel singles out a small part of the image.

    With d (positions,) the answers of a channel, its strength is

        mean of the largest 10 % of d / sqrt(mean of d²)

    which does not change when the channel is made louder. It is 1 where the channel answers alike
    everywhere and at most sqrt(1 / 0.1) = 3.2, where it answers to exactly 10 % of the positions
    and to nothing else; 10 % and not the largest one alone, so that a spark does not win.

    Parameters
    ----------
    maps : (channels, positions); a channel that is zero everywhere has strength 0.

    Returns
    -------
    (channels,) float32

    >>> standing_out(np.array([[1, 1, 1, 1], [0, 0, 8, 0], [0, 0, 0, 0]], np.float32)).tolist()
    [1.0, 2.0, 0.0]
    """
    n = math.ceil(SHARE * maps.shape[1])
    top = np.partition(maps, -n, axis=1)[:, -n:].mean(axis=1)
    loud = _rms(maps, axis=1)
    strengths: NDArray[np.float32] = np.divide(top, loud, out=np.zeros_like(loud), where=loud > 0)
    return strengths


def _taps(backbone: Backbone, blocks: Sequence[int]) -> dict[Tap, tuple[int, ...]]:
    """The taps of those blocks, shallow to deep, each once, with the blocks it stands for."""
    unknown = [k for k in blocks if k not in BLOCKS]
    if unknown or not blocks:
        raise ScenarioError(
            f"no block {', '.join(map(str, unknown)) or 'given'}; a backbone has blocks 1 to 5"
        )
    found: dict[Tap, tuple[int, ...]] = {}
    for k in sorted(set(blocks)):
        tap = backbone.block(k)
        found[tap] = (*found.get(tap, ()), k)
    return found


def _grid(descriptors: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """(positions, channels) as (channels, rows, columns), as wide and high as the canvas is."""
    positions = len(descriptors)
    rows = round(math.sqrt(positions * shape[0] / shape[1]))
    return descriptors.T.reshape(-1, rows, positions // rows)


def _view(
    tap: Tap,
    blocks: tuple[int, ...],
    seen: NDArray[np.float32],
    empty: NDArray[np.float32],
    channels: int,
) -> BlockView:
    """The view of one tap from its maps (channels, rows, columns) of the canvas, and emptied."""
    n_channels, *grid = seen.shape
    answers = (seen - empty).reshape(n_channels, -1)  # (channels, positions)
    loud = _rms(answers, axis=1)
    floor = max(QUIET * _rms(answers), SILENT * _rms(seen))
    speaks = answers.std(axis=1) > floor
    strengths = np.where(speaks, standing_out(answers), 0)
    found = []
    for c in _different(answers, strengths, channels):
        row, column = divmod(int(answers[c].argmax()), grid[1])
        map = (answers[c] / loud[c]).reshape(grid)
        found.append(ChannelView(c, float(strengths[c]), map, (row, column)))
    return BlockView(blocks, tap.name, tap.stride, (grid[0], grid[1]), n_channels, tuple(found))


def _different(
    answers: NDArray[np.float32], strengths: NDArray[np.float32], channels: int
) -> list[int]:
    """So many channels, strongest first, that answer at all and are not alike."""
    order = np.argsort(-strengths, kind="stable")
    chosen: list[int] = []
    for c in order[strengths[order] > 0]:
        if len(chosen) == channels:
            break
        if all(np.corrcoef(answers[c], answers[other])[0, 1] < ALIKE for other in chosen):
            chosen.append(int(c))
    return chosen


def _rms(values: NDArray[np.float32], axis: int | None = None) -> NDArray[np.float32]:
    """The root of the mean of the squares, over all or along an axis."""
    return np.asarray(np.sqrt(np.mean(np.square(values), axis=axis)), np.float32)
