"""How part of a network is trained: the settings of a run, checked, and named presets of them.

The loop that follows a recipe is `finetune.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from medgraft.errors import ScenarioError

Balance = Literal["none", "loss", "sampler"]
BOOLEANS = {"True": True, "False": False}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a part of a network is trained.

    epochs : at most. steps : where images are few, as many epochs more as it takes to make so many
    steps, and as much more patience (`for_images`). patience : epochs without a lower holdout loss
    after which training stops; 0 never stops it. keep : the weights of the epoch with the lowest
    holdout loss (`best`), or of the last one, to which the rate has fallen (`last`); then nothing
    stops it. batch_size : about so many images a step, two at
    least, for batch norm can learn nothing from one. optimizer : `adamw`, or `adam` whose weight
    decay joins the gradient. rate : the highest learning rate, of the head; a stage's is
    `rate_decay` times that of the stage behind it. warmup : share of all steps in which the rate
    rises. schedule : how it falls after. smoothing : of labels (Szegedy et al., 2016). balance :
    classes weigh the same in the loss, or are drawn as often by the sampler. mixup : alpha of the
    beta distribution (Zhang et al., 2018). clip : largest norm of the gradient, 0 for none. ema :
    decay a step of the running mean of the weights that is judged and kept instead of them, 0 for
    none. average : the weights of so many last epochs are averaged where that lowers the holdout
    loss. dropout : before the head.
    norm : batch norm learns its statistics, or keeps those of the pretrained network.
    probe : the head starts as a linear probe of the frozen network (Kumar et al., 2022); else at
    zero, as a study has it where the probe would learn the surface of the images.
    rungs : of the search for a depth, training images at most × epochs; the better half goes on.
    tta : views of an image whose scores are averaged, out of fold and in use: the image itself and
    mild views of it; 1 is the image alone.
    networks : that are trained in every fold and answer together; with `distilled` they teach, and
    one of every fold judges. differ : in what; in their seeds
    (`seed`), or every second one also in the scale at which it sees things (`scale`): a smaller
    input, in views that zoom in where the others' zoom out.
    deploy : what is used after the folds have judged: the mean of their networks' scores (`folds`),
    or one network, which answers as many times faster: trained on all images' labels (`once`), or
    to answer as those of the folds do (`distilled`).
    precision : `bf16` computes in half precision where that is safe; a GPU always does.
    """

    epochs: int = 6
    steps: int = 100
    patience: int = 3
    keep: Literal["best", "last"] = "best"
    batch_size: int = 32
    optimizer: Literal["adam", "adamw"] = "adamw"
    rate: float = 4e-4
    rate_decay: float = 1.0
    decay: float = 0.02
    warmup: float = 0.2
    schedule: Literal["cosine", "constant"] = "cosine"
    smoothing: float = 0.1
    balance: Balance = "loss"
    mixup: float = 0.0
    clip: float = 1.0
    ema: float = 0.0
    average: int = 0
    dropout: float = 0.2
    norm: Literal["train", "frozen"] = "train"
    probe: bool = True
    rungs: str = "1200x2+2400x3"
    tta: int = 1
    networks: int = 1
    differ: Literal["seed", "scale"] = "seed"
    deploy: Literal["folds", "once", "distilled"] = "folds"
    precision: Literal["f32", "bf16"] = "f32"

    def __post_init__(self) -> None:
        rules = {
            "epochs": self.epochs >= 1,
            "steps": self.steps >= 0,
            "patience": self.patience >= 0,
            "keep": self.keep in ("best", "last"),
            "batch_size": self.batch_size >= 2,
            "optimizer": self.optimizer in ("adam", "adamw"),
            "rate": 0 < self.rate < 1e30,
            "rate_decay": 0 < self.rate_decay <= 1,
            "decay": 0 <= self.decay < math.inf,
            "warmup": 0 <= self.warmup < 1,
            "schedule": self.schedule in ("cosine", "constant"),
            "smoothing": 0 <= self.smoothing < 1,
            "balance": self.balance in get_args(Balance),
            "mixup": 0 <= self.mixup < math.inf,
            "clip": 0 <= self.clip < math.inf,
            "ema": 0 <= self.ema < 1,
            "average": self.average >= 0,
            "dropout": 0 <= self.dropout < 1,
            "norm": self.norm in ("train", "frozen"),
            "rungs": bool(re.fullmatch(r"[1-9]\d*x[1-9]\d*(\+[1-9]\d*x[1-9]\d*)*", self.rungs)),
            "tta": 1 <= self.tta <= 64,
            "networks": 1 <= self.networks <= 64,
            "differ": self.differ == "seed" or (self.differ, self.deploy) == ("scale", "folds"),
            "deploy": self.deploy in ("folds", "once", "distilled"),
            "precision": self.precision in ("f32", "bf16"),
        }
        for name, holds in rules.items():
            if not holds:
                raise ScenarioError(
                    f"{name} = {getattr(self, name)} makes no sense in a training recipe; the "
                    f"default is {getattr(Recipe(), name)}"
                )

        if self.networks > 1 and self.deploy == "once":
            raise ScenarioError(
                f"networks = {self.networks} with deploy = once would train networks that nothing "
                "uses; leave one of the two out, or take deploy = folds or distilled"
            )

    def for_images(self, n: int) -> Recipe:
        """The recipe with the epochs and the patience that n training images need.

        >>> recipe_of(()).for_images(64).epochs, recipe_of(()).for_images(6400).epochs
        (54, 6)
        """
        passes = self.epochs * n
        more = math.ceil(self.steps * self.batch_size / max(1, passes))
        if more <= 1:
            return self
        return replace(self, epochs=more * self.epochs, patience=more * self.patience, steps=0)


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "": Recipe(),
        # The recipe of the study that medgraft grew from.
        "classic": Recipe(
            epochs=300,
            steps=0,
            patience=10,
            optimizer="adam",
            rate=1e-6,
            decay=0.0,
            warmup=0.0,
            schedule="constant",
            smoothing=0.0,
            balance="none",
            clip=0.0,
            dropout=0.0,
            probe=False,
        ),
    }
)


def recipe_of(params: Sequence[tuple[str, str]]) -> Recipe:
    """The recipe that a scenario's `params` name: a preset, then what differs from it.

    Raises
    ------
    ScenarioError
        There is no such preset or setting, or its value makes no sense.

    Examples
    --------
    >>> recipe_of((("classic", ""), ("epochs", "20"))).epochs
    20
    """
    named = [name for name, value in params if name in RECIPES and not value]
    recipe = RECIPES[named[0] if named else ""]
    if "epochs" in dict(params):  # so many were asked for
        recipe = replace(recipe, steps=0)
    kinds = {field.name: type(getattr(recipe, field.name)) for field in fields(Recipe)}
    for name, value in params:
        if name in named:
            continue
        if name not in kinds:
            raise ScenarioError(
                f"no training setting {name!r}; there are {', '.join(kinds)}, and the recipe "
                f"{', '.join(filter(None, RECIPES))}"
            )
        try:
            change: Any = BOOLEANS[value] if kinds[name] is bool else kinds[name](value)
        except (ValueError, KeyError) as error:
            raise ScenarioError(f"{name} = {value!r} is no {kinds[name].__name__}") from error
        recipe = replace(recipe, **{name: change})
    return recipe
