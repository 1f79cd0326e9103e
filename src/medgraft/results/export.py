"""What an export did, and how close the graph's answers are to the model's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
class Export:
    """A written export. size : of the canvas in pixels."""

    folder: Path
    format: str
    scenario: str
    size: int
    resize: str
    bytes: int
    parity: Parity
    skipped: int
