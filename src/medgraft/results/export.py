"""What an export did, and how close the graph's answers are to the model's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medgraft.results.figures import Comparison
from medgraft.types import Estimate


@dataclass(frozen=True, slots=True)
class FromFiles:
    """The same images read by the small program beside the graph, in a process without torch.

    difference : largest of a probability. changed : labels. seconds : from start to first answer.
    """

    n: int
    unread: int
    difference: float
    changed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Parity:
    """A graph held to the model that it was made of, on the canvases of n images.

    difference : largest of a probability. changed : labels. batches : largest difference of an
    image's probability between batches of 1, 2 and 7. per_second, model_per_second : images, from
    the canvas, by the graph in batches of 16 and by the model. one : seconds an image, alone.
    """

    n: int
    difference: float
    changed: int
    batches: float
    per_second: float
    model_per_second: float
    one: float
    from_files: FromFiles | None = None


@dataclass(frozen=True, slots=True)
class Int8:
    """A graph whose networks compute in 8 bits, on n labelled images that set no range.

    learned : from how many of the n the model has learned; None where it keeps no traces of what it
    learned from. before, after : AUROC in single precision and in 8 bits. lost : the first minus
    the second, paired. difference : largest of a probability. changed : labels. per_second :
    images, from the canvas, in batches of 16.
    """

    n: int
    learned: int | None
    calibrated: int
    before: Estimate
    after: Estimate
    lost: Comparison
    difference: float
    changed: int
    per_second: float


@dataclass(frozen=True, slots=True)
class Export:
    """A written export. size : of the canvas in pixels. parity : of the graph before `int8`."""

    folder: Path
    format: str
    scenario: str
    size: int
    resize: str
    bytes: int
    parity: Parity
    skipped: int
    int8: Int8 | None = None
