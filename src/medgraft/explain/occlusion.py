"""What a score loses when part of the image is covered: for any classifier, gradient or not.

It intervenes and so needs no network to look into, at the price of a score a window: some 80 an
image by default. Maps read from inside a network stand in `cam.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.errors import ScenarioError
from medgraft.types import Attribution, Box, Canvas, FittedScenario, Floats, Ints, Pixels

Fill = Literal["blur", "mean"]
BLUR = 0.1  # standard deviation of the blurred picture, as a share of the picture's longer side


@dataclass(frozen=True, slots=True)
class Occluder:
    """A square window that is moved over the picture, and what it covers with.

    window, stride : shares of the picture's sides. fill : `blur` covers with the image's own
    blurred picture, which leaves brightness and hides form; `mean` with its mean colour.

    Raises
    ------
    ScenarioError
        A share that covers nothing or leaves gaps, or no such fill.
    """

    window: float = 0.2
    stride: float = 0.1
    fill: Fill = "blur"

    def __post_init__(self) -> None:
        if not 0 < self.stride <= self.window <= 1:
            raise ScenarioError(
                f"a window of {self.window} of a side moved by {self.stride} leaves gaps or covers "
                "nothing; take 0 < stride <= window <= 1"
            )
        if self.fill not in get_args(Fill):
            raise ScenarioError(f"no fill {self.fill!r}; there are: {', '.join(get_args(Fill))}")


DEFAULT = Occluder()


def occlusion(
    fitted: FittedScenario,
    canvases: Sequence[Canvas],
    target: str | Sequence[str] | None = None,
    occluder: Occluder = DEFAULT,
) -> list[Attribution]:
    """Occlusion maps (Zeiler and Fergus 2014), positive where covering lowers the class's score.

    The map at a pixel is the mean, over the windows that cover it, of the score of the class with
    nothing covered minus the score with the window covered; what covering raises is left out (0).
    Windows lie within the picture: padding is never covered, and is 0.

    Parameters
    ----------
    canvases
        Made for `fitted.spec`.
    target
        The class explained, one for all or one for each canvas; by default the one of the highest
        score.

    Raises
    ------
    ScenarioError
        The target is no class.
    """
    windows = [_windows(canvas.geometry.content, occluder) for canvas in canvases]

    def stream() -> Iterator[Canvas]:
        for canvas, boxes in zip(canvases, windows, strict=True):
            yield canvas
            background = filled(canvas, occluder.fill)
            for box in boxes:
                yield covered(canvas, _mask(canvas, box), background)

    scores = fitted.scores(stream())  # (sum of 1 + windows, n_classes)
    found = []
    start = 0
    rows = target_rows(
        fitted, scores[np.cumsum([0, *(len(boxes) + 1 for boxes in windows)])[:-1]], target
    )
    for canvas, boxes, row in zip(canvases, windows, rows.tolist(), strict=True):
        own = scores[start : start + len(boxes) + 1, row]
        start += len(boxes) + 1
        map = _spread(canvas, boxes, own[0] - own[1:])
        found.append(
            Attribution(
                np.maximum(map, 0),
                canvas.geometry,
                fitted.classes[row],
                "pixels",
                f"occlusion by windows of {occluder.window:g} of a side ({occluder.fill})",
            )
        )
    return found


def target_rows(fitted: FittedScenario, scores: Floats, target: str | Sequence[str] | None) -> Ints:
    """The class explained of each image (n,), from its scores (n, n_classes) where none is named.

    Raises
    ------
    ScenarioError
        A name is no class.
    """
    if target is None:
        return np.asarray(scores.argmax(axis=1), np.int64)
    names = [target] * len(scores) if isinstance(target, str) else list(target)
    unknown = sorted(set(names) - set(fitted.classes))
    if unknown:
        raise ScenarioError(
            f"no class {', '.join(map(repr, unknown))}; there are: {', '.join(fitted.classes)}"
        )
    return np.array([fitted.classes.index(name) for name in names], np.int64)


def filled(canvas: Canvas, fill: Fill) -> Pixels:
    """What a canvas is covered with, of its shape: its picture blurred, or its mean colour.

    The padding around the picture stays as it is.
    """
    box = canvas.geometry.content
    inside = np.s_[box.top : box.top + box.height, box.left : box.left + box.width]
    picture = canvas.pixels[inside]
    found = canvas.pixels.copy()
    if fill == "mean":
        found[inside] = np.rint(picture.mean(axis=(0, 1)))
    else:
        sigma = BLUR * max(box.height, box.width)
        blurred = cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        found[inside] = blurred
    return found


def covered(canvas: Canvas, mask: NDArray[np.bool_], background: Pixels) -> Canvas:
    """The canvas with `background` (its own shape) where `mask` (height, width) is true."""
    where = mask if canvas.pixels.ndim == 2 else mask[..., None]
    return dataclasses.replace(canvas, pixels=np.where(where, background, canvas.pixels))


def _windows(content: Box, occluder: Occluder) -> list[Box]:
    """The windows over a picture, the last of each row and column flush with its edge."""
    rows = _starts(content.height, occluder)
    columns = _starts(content.width, occluder)
    height, width = (
        max(1, round(occluder.window * side)) for side in (content.height, content.width)
    )
    return [
        Box(content.top + top, content.left + left, height, width)
        for top in rows
        for left in columns
    ]


def _starts(side: int, occluder: Occluder) -> list[int]:
    length, step = (max(1, round(share * side)) for share in (occluder.window, occluder.stride))
    last = side - length
    return sorted({*range(0, last, step), last})


def _mask(canvas: Canvas, box: Box) -> NDArray[np.bool_]:
    mask = np.zeros(canvas.pixels.shape[:2], bool)
    mask[box.top : box.top + box.height, box.left : box.left + box.width] = True
    return mask


def _spread(canvas: Canvas, boxes: Sequence[Box], drops: Floats) -> NDArray[np.float32]:
    """The mean drop of the windows that cover each pixel, (height, width); 0 where none does."""
    total, times = np.zeros((2, *canvas.pixels.shape[:2]), np.float64)
    for box, drop in zip(boxes, drops.tolist(), strict=True):
        inside = np.s_[box.top : box.top + box.height, box.left : box.left + box.width]
        total[inside] += drop
        times[inside] += 1
    mean: NDArray[np.float32] = (total / np.maximum(times, 1)).astype(np.float32)
    return mean
