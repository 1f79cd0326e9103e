"""What a budget of minutes buys: how long and on how much networks are trained.

Decided once, before anything is trained, from a few timed steps; what was decided becomes part of
the scenarios' keys, so that the same run can be had again without a clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from medgraft.learn.depth import rungs_of, searched
from medgraft.learn.fast_steps import half_precision
from medgraft.learn.finetune_setup import HOLDOUT, VIEWS, FinetuneSetup, pixels_of_networks
from medgraft.scenario import BEST, INPUT, Finetune
from medgraft.training_recipe import Recipe

SEARCH = 0.35  # of the time left may be spent on finding the depth
RUNGS = ("1200x2+2400x3", "800x2+1600x2", "400x2+800x2", "200x2+400x2")
SOUND = 2  # of these, from the first: with less, a smaller input is the better buy
SMALLER = (160, 128)  # input sizes to train at where the backbone's own takes too long
FEWER = 3  # folds, where a class has at least `MANY` images: then three say as much as five
MANY = 500
ENOUGH = 0.7  # of the recipe's epochs: with fewer, a smaller input is the better buy
EXTRA = 1.35  # of the time of the steps, with views made and what is judged after each epoch
READING = 120  # images a second through the frozen trunk, at least


@dataclass(frozen=True, slots=True)
class Bought:
    """Input size, folds, epochs and rungs that fit the time, and the seconds they should take.

    size : 0 is the backbone's own. steps : of the recipe. rungs : '' where no depth is searched.
    precision : in which it is trained. depth : from which, '' for what was asked for; where it is
    everything, the last epoch is kept (decision 0031).
    """

    size: int
    n_folds: int
    epochs: int
    steps: int
    rungs: str
    seconds: float
    fits: bool
    precision: str = "f32"
    depth: str = ""

    @property
    def params(self) -> tuple[tuple[str, str], ...]:
        """As a scenario's `params`."""
        params = [("epochs", str(self.epochs)), ("steps", str(self.steps))]
        params += [("rungs", self.rungs)] if self.rungs else []
        params += [("precision", self.precision)] if self.precision != "f32" else []
        params += [("keep", "last")] if self.depth else []
        return tuple(params)


def in_faster_precision(setup: FinetuneSetup) -> FinetuneSetup:
    """The setup in bfloat16 where this processor trains no slower in it: it takes half the memory.

    Where another precision was asked for, that stays. Timed at the whole network, of which every
    depth is a part, and at a small input, for a large one takes gigabytes in single precision.
    """
    training = setup.scenario.classifier
    assert isinstance(training, Finetune)  # for the type checker
    if "precision" in dict(training.settings) or not half_precision():
        return setup
    settings = (*training.settings, ("precision", "bf16"))
    scenario = replace(setup.scenario, classifier=Finetune(settings))
    half = FinetuneSetup.of(scenario, setup.development, setup.extractor, setup.weight, setup.view)
    sized = [one.at_size(max(SMALLER)) if one.backbone.any_size else one for one in (half, setup)]
    in_half, in_single = (one.speed(INPUT) for one in sized)
    return half if in_half >= in_single else setup


def buy(setup: FinetuneSetup, n_folds: int, seconds: float, *, fewer: bool = True) -> Bought:
    """The best training of this scenario that `seconds` hold.

    The largest input at which most epochs of the recipe fit, of its own size, 160 and 128; where
    all do not fit and classes are large, in three folds, if there may be `fewer`. Where they fit at
    none, fewer epochs at the smallest. What time is left buys further networks (`spend_budget`).
    Where not even one epoch fits, the least is bought and `fits` is False.

    Where the depth is to be found: everything is trained if classes are large and that fits, else a
    sound search has to fit, too, and the slowest depth is reckoned with.
    """
    own = setup.feature_plan.canvas.size
    sizes = [0, *(size for size in SMALLER if size < own and setup.backbone.any_size)]
    many = np.bincount(setup.development.labels).min() >= MANY
    choices = (n_folds, FEWER) if many and fewer and n_folds > FEWER else (n_folds,)
    recipe, searching = setup.recipe, setup.scenario.tap == BEST
    most = math.ceil(ENOUGH * recipe.epochs)
    for size in sizes:
        sized = setup.at_size(size) if size else setup
        speed = {INPUT: sized.speed(INPUT)}
        if searching and many:
            offers = product(range(recipe.epochs, most - 1, -1), choices, ("",))
            found = _first(sized, size, speed, offers, seconds)
            if found:
                return replace(found, depth=INPUT)
        if searching:
            speed = {depth: speed.get(depth) or sized.speed(depth) for depth in searched(sized)}
        else:
            speed = {setup.scenario.tap: sized.speed(setup.scenario.tap)}
        last = size == sizes[-1]
        rungs = (RUNGS if last else RUNGS[:SOUND]) if searching else ("",)
        offers = product(range(recipe.epochs, 0 if last else most - 1, -1), choices, rungs)
        found = _first(sized, size, speed, offers, seconds)
        if found:
            return found
    slowest, rungs_least = replace(recipe, epochs=1, steps=0), RUNGS[-1] if searching else ""
    _, total = _seconds(sized, speed, choices[-1], slowest, rungs_least)
    fits = total <= seconds
    return Bought(size, choices[-1], 1, 0, rungs_least, total, fits, recipe.precision)


def _first(
    setup: FinetuneSetup,
    size: int,
    speed: dict[str, float],
    offers: Iterable[tuple[int, int, str]],
    seconds: float,
) -> Bought | None:
    """The first of the offers (epochs, folds, rungs) that fits."""
    recipe = setup.recipe
    for epochs, folds, rungs in offers:
        search, total = _seconds(setup, speed, folds, replace(recipe, epochs=epochs), rungs)
        if total > seconds or search > SEARCH * seconds:
            continue
        return Bought(size, folds, epochs, recipe.steps, rungs, total, True, recipe.precision)
    return None


def _seconds(
    setup: FinetuneSetup, speed: dict[str, float], n_folds: int, recipe: Recipe, rungs: str
) -> tuple[float, float]:
    """Of the search for a depth, and of everything. rungs : '' where nothing is searched."""
    n_images = len(setup.development)
    seen = sum(pixels_of_networks(recipe, setup.feature_plan.canvas.size, setup.backbone.any_size))
    learned = seen * (n_folds - 1) * (1 - HOLDOUT) + (recipe.deploy != "folds")  # times all images
    epochs = recipe.for_images(n_images).epochs
    passes = n_images * learned / min(speed.values())
    kept = 0.0 if set(speed) == {INPUT} else VIEWS * n_images / READING
    search = _search(speed, rungs) if rungs else 0.0
    return search, search + kept + EXTRA * epochs * passes


def _search(speed: dict[str, float], rungs: str) -> float:
    """Seconds of a depth search: all depths in the first rung, the slower half in each next."""
    running = sorted(speed.values())
    seconds = 0.0
    for images, epochs in rungs_of(rungs):
        seconds += sum(EXTRA * images * epochs / pace for pace in running)
        running = running[: max(1, -(-len(running) // 2))]
    return seconds
