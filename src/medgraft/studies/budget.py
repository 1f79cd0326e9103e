"""What a budget of minutes buys: how long and on how much networks are trained.

Decided once, before anything is trained, from a few timed steps; what was decided becomes part of
the scenarios' keys, so that the same run can be had again without a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from medgraft.learn.depth import rungs_of, searched
from medgraft.learn.workbench import VIEWS, Workbench

SEARCH = 0.35  # of the time left may be spent on finding the depth
RUNGS = ("1200x2+2400x3", "800x2+1600x2", "400x2+800x2", "200x2+400x2")
JUDGING = 1.12  # of the time of training, with what is judged after each epoch
READING = 120  # images a second through the frozen trunk, at least


@dataclass(frozen=True, slots=True)
class Bought:
    """Epochs and rungs that fit the time, and the seconds that they are expected to take."""

    epochs: int
    rungs: str
    seconds: float
    fits: bool

    @property
    def params(self) -> tuple[tuple[str, str], ...]:
        """As a scenario's `params`."""
        return (("epochs", str(self.epochs)), ("rungs", self.rungs))


def buy(bench: Workbench, n_folds: int, seconds: float) -> Bought:
    """The longest training of this scenario that `seconds` hold, the search for its depth included.

    The slowest depth is reckoned with, since which one wins is not known. Where not even one epoch
    fits, the least is bought and `fits` is False.
    """
    speed = {depth: bench.speed(depth) for depth in searched(bench)}
    n_images = len(bench.development)
    passes = n_images * n_folds / min(speed.values())  # the folds' n - 1 parts, and all images
    kept = VIEWS * n_images / READING
    found = Bought(1, RUNGS[-1], _search(speed, RUNGS[-1]) + kept + JUDGING * passes, False)
    for epochs in range(bench.recipe.epochs, 0, -1):
        for rungs in RUNGS:
            search = _search(speed, rungs)
            total = search + kept + JUDGING * epochs * passes
            if total <= seconds and search <= SEARCH * seconds:
                return Bought(epochs, rungs, total, True)
    return replace(found, fits=found.seconds <= seconds)


def _search(speed: dict[str, float], rungs: str) -> float:
    """Seconds of a depth search: all depths in the first rung, the slower half in each next."""
    running = sorted(speed.values())
    seconds = 0.0
    for images, epochs in rungs_of(rungs):
        seconds += sum(JUDGING * images * epochs / pace for pace in running)
        running = running[: max(1, -(-len(running) // 2))]
    return seconds
