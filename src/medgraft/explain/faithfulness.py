"""Do maps tell the truth: what the model says once the places a map marks are taken away.

Each measure stands beside that of maps that know nothing. Whether maps lie where people expect the
evidence stands in `agreement.py`, whether they depend on what was learned in `randomised.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DataError
from medgraft.evaluate.intervals import DEFAULT, Sampling
from medgraft.explain.chance_baseline import ChanceComparison, beside_chance
from medgraft.explain.occlusion import Fill, covered, filled
from medgraft.types import Attribution, Canvas, FittedScenario, Floats, Ints, Pixels, Strings

STEPS = 20
CELLS = 7  # a side of the random maps, as coarse as a network's last grid


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """The probability of the class explained as pixels go, or come.

    shares : (steps + 1,) of the picture's pixels changed, 0 to 1. probabilities : (n, steps + 1).
    """

    shares: Floats
    probabilities: Floats

    @property
    def area(self) -> Floats:
        """(n,) under each curve, by trapezoids; the mean probability along the way."""
        return np.asarray(np.trapezoid(self.probabilities, self.shares, axis=1))


def deletion(
    fitted: FittedScenario,
    canvases: Sequence[Canvas],
    attributions: Sequence[Attribution],
    steps: int = STEPS,
    fill: Fill = "blur",
) -> Curve:
    """Cover the most marked pixels first (Petsiuk et al. 2018): a faithful map's curve falls fast.

    Equal values of a map are ordered by a seeded draw, the same for every map of a canvas; padding
    is never touched.

    Parameters
    ----------
    canvases
        Made for `fitted.spec`, n of them.
    attributions
        One for each canvas: its map (height, width) and class.
    fill
        What covers, see `Occluder`.

    Raises
    ------
    DataError
        They do not go together, or there are no steps.
    """
    return _curve(fitted, canvases, attributions, steps, fill, insert=False)


def insertion(
    fitted: FittedScenario,
    canvases: Sequence[Canvas],
    attributions: Sequence[Attribution],
    steps: int = STEPS,
    fill: Fill = "blur",
) -> Curve:
    """Uncover the most marked pixels first (Petsiuk et al. 2018): a faithful curve rises fast.

    It begins with all of the picture covered. Parameters and errors as of `deletion`.
    """
    return _curve(fitted, canvases, attributions, steps, fill, insert=True)


def drop_and_rise(
    fitted: FittedScenario,
    canvases: Sequence[Canvas],
    attributions: Sequence[Attribution],
    fill: Fill = "blur",
) -> tuple[Floats, Floats]:
    """What is left when only what a map marks is shown (Chattopadhay et al. 2018), (n,) twice.

    With p the class's probability and p' that of the image faded to its covered picture by
    ``1 - map / max(map)``: the drop ``max(0, p - p') / p``, and whether it rose, ``p' > p``.
    Parameters and errors as of `deletion`.
    """
    _check(canvases, attributions)

    def stream() -> Iterator[Canvas]:
        for canvas, one in zip(canvases, attributions, strict=True):
            yield canvas
            yield _faded(canvas, one.map, filled(canvas, fill))

    rows = _rows(fitted, attributions)
    prob = fitted.probabilities(stream()).reshape(len(canvases), 2, -1)
    before, after = prob[np.arange(len(rows)), :, rows].T
    drop = np.maximum(0, before - after) / np.maximum(before, 1e-12)
    return drop, (after > before).astype(float)


def random_maps(attributions: Sequence[Attribution], seed: int = 0) -> list[Attribution]:
    """Maps that know nothing of the images: 7 × 7 uniform noise, enlarged as CAMs are."""
    rng = np.random.default_rng(seed)
    made = []
    for one in attributions:
        noise = rng.random((CELLS, CELLS)).astype(np.float32)
        size = one.map.shape[::-1]
        map = np.asarray(cv2.resize(noise, size, interpolation=cv2.INTER_LINEAR), np.float32)
        made.append(dataclasses.replace(one, map=map, method="random"))
    return made


def faithfulness(
    fitted: FittedScenario,
    canvases: Sequence[Canvas],
    attributions: Sequence[Attribution],
    groups: Strings,
    sampling: Sampling = DEFAULT,
) -> tuple[ChanceComparison, ...]:
    """Deletion, insertion, average drop and increase, each beside that of random maps.

    Four lines of about 90 scores an image in all. groups : (n,); the others and errors as of
    `deletion`.
    """
    against = "smooth random maps"
    noise = random_maps(attributions, sampling.seed)
    found = []
    for name, curve, higher in (("deletion", deletion, False), ("insertion", insertion, True)):
        values, chance = (curve(fitted, canvases, maps).area for maps in (attributions, noise))
        found.append(
            beside_chance(
                name, values, chance, groups, against, higher_is_better=higher, sampling=sampling
            )
        )
    (drop, rise), (drop_by_chance, rise_by_chance) = (
        drop_and_rise(fitted, canvases, maps) for maps in (attributions, noise)
    )
    for name, values, chance, higher in (
        ("average drop", drop, drop_by_chance, False),
        ("increase in confidence", rise, rise_by_chance, True),
    ):
        found.append(
            beside_chance(
                name, values, chance, groups, against, higher_is_better=higher, sampling=sampling
            )
        )
    return tuple(found)


def _curve(
    fitted: FittedScenario,
    canvases: Sequence[Canvas],
    attributions: Sequence[Attribution],
    steps: int,
    fill: Fill,
    *,
    insert: bool,
) -> Curve:
    _check(canvases, attributions)
    if steps < 1:
        raise DataError(f"{steps} steps make no curve; take 1 or more ({STEPS})")

    def stream() -> Iterator[Canvas]:
        for canvas, one in zip(canvases, attributions, strict=True):
            place, total = _places(canvas, one.map)
            background = filled(canvas, fill)
            for step in range(steps + 1):
                first = place < round(total * step / steps)
                inside = place < total
                yield covered(canvas, inside & ~first if insert else first, background)

    rows = _rows(fitted, attributions)
    prob = fitted.probabilities(stream()).reshape(len(canvases), steps + 1, -1)
    return Curve(np.linspace(0, 1, steps + 1), prob[np.arange(len(rows)), :, rows])


def _places(canvas: Canvas, map: NDArray[np.float32]) -> tuple[Ints, int]:
    """Each pixel's place (height, width) by falling value, and how many lie in the picture.

    Pixels of the padding come behind them all.
    """
    box = canvas.geometry.content
    inside = np.zeros(map.shape, bool)
    inside[box.top : box.top + box.height, box.left : box.left + box.width] = True
    tie = np.random.default_rng(0).permutation(map.size)
    order = np.lexsort((tie, -map.ravel(), ~inside.ravel()))
    place = np.empty(map.size, np.int64)
    place[order] = np.arange(map.size)
    return place.reshape(map.shape), int(inside.sum())


def _faded(canvas: Canvas, map: NDArray[np.float32], background: Pixels) -> Canvas:
    """The canvas where the map is largest, its covered picture where it is 0."""
    top = float(map.max())
    shown = np.clip(map / top, 0, 1) if top > 0 else np.zeros_like(map)
    shown = shown if canvas.pixels.ndim == 2 else shown[..., None]
    mixed = background + shown * (canvas.pixels.astype(np.float32) - background)
    return dataclasses.replace(canvas, pixels=np.rint(mixed).astype(np.uint8))


def _check(canvases: Sequence[Canvas], attributions: Sequence[Attribution]) -> None:
    shapes = [canvas.pixels.shape[:2] for canvas in canvases]
    if not shapes or shapes != [one.map.shape for one in attributions]:
        raise DataError(
            f"{len(canvases)} canvases and {len(attributions)} maps do not go together; give one "
            "map of its canvas's height and width for each, and at least one"
        )


def _rows(fitted: FittedScenario, attributions: Sequence[Attribution]) -> Ints:
    return np.array([fitted.classes.index(one.target) for one in attributions], np.int64)
