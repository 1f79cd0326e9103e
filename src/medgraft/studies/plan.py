"""Which scenarios a study compares, and which of two is the simpler.

The order of simplicity is fixed: fewer multiply-adds for one image first, then fewer numbers to
be kept, then the order of the heads. It is what `recommend` walks along.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import get_args

from medgraft.data.preprocess import edit_from_key
from medgraft.errors import ScenarioError
from medgraft.evaluate.metrics import COMMON
from medgraft.features.backbones import DEFAULT, STAGES
from medgraft.features.encoders import check_pooling
from medgraft.features.extract import Extractor
from medgraft.learn.heads import HEADS
from medgraft.types import Cost, ResizeRule, Scenario

SIMPLICITY = (
    "fewer multiply-adds for one image, then fewer numbers to be kept, then svm before logistic "
    "before knn"
)


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """What a study may be told; every default is the one to use when in doubt.

    backbones : timm names. heads : names in `HEADS`. metric : what scenarios are chosen by.
    preprocess : `raw` or an edit's key (`clahe`), each compared with the others.
    test_fraction : of the images, set aside where no test split is given. What is named twice is
    compared once; edits are kept under their full key.
    """

    backbones: tuple[str, ...] = (DEFAULT,)
    families: tuple[str, ...] = ("probe",)
    heads: tuple[str, ...] = ("svm", "logistic", "knn")
    poolings: tuple[str, ...] = ("avg",)
    preprocess: tuple[str, ...] = ("raw",)
    resize: ResizeRule = "squash"
    metric: str = "auroc"
    n_folds: int = 5
    test_fraction: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        _check("family", self.families, tuple(PLANS))
        _check("head", self.heads, tuple(HEADS))
        _check("metric", (self.metric,), COMMON)
        _check("resize rule", (self.resize,), get_args(ResizeRule))
        for pooling in self.poolings:
            check_pooling(pooling)
        if not 0 <= self.seed < 2**32:
            raise ScenarioError(f"the seed is {self.seed}; it must be from 0 to 2**32 - 1")
        edits = tuple(key if key == "raw" else edit_from_key(key).key for key in self.preprocess)
        object.__setattr__(self, "preprocess", edits)
        for name in ("backbones", "families", "heads", "poolings", "preprocess"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        if not self.backbones or not self.preprocess or not self.poolings:
            raise ScenarioError("a study needs at least one backbone, preprocessing and pooling")


def _check(what: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not given:
        raise ScenarioError(f"no {what} was given; choose among: {', '.join(known)}")
    for name in given:
        if name not in known:
            raise ScenarioError(f"no {what} {name!r}; there are: {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Planned:
    """A scenario and what it costs in use."""

    scenario: Scenario
    cost: Cost
    head_rank: int

    @property
    def simplicity(self) -> tuple[int, int, int, str]:
        """Sorts the simplest first (see `SIMPLICITY`); the key breaks what ties are left."""
        cost = self.cost
        return (cost.multiply_adds, cost.parameters, self.head_rank, self.scenario.key)


def plan(
    options: StudyOptions, extractor: Extractor, n_images: int, n_classes: int
) -> tuple[Planned, ...]:
    """The scenarios of a study, simplest first.

    n_images and n_classes size the heads: a linear head keeps one row a class, kNN every code.
    """
    planned = [
        entry
        for family in options.families
        for entry in PLANS[family](options, extractor, n_images, n_classes)
    ]
    return tuple(sorted(planned, key=lambda entry: entry.simplicity))


def _plan_probes(
    options: StudyOptions, extractor: Extractor, n_images: int, n_classes: int
) -> list[Planned]:
    """Every tap and all stages joined, every pooling, preprocessing and head."""
    planned = []
    rows = 1 if n_classes == 2 else n_classes
    for name in options.backbones:
        backbone = extractor.backbone(name)
        for where in [*(tap.name for tap in backbone.taps), STAGES]:
            taps = backbone.named(where)
            channels = sum(tap.channels for tap in taps)
            poolings = options.poolings if taps[-1].stride else ("avg",)
            for pooling, edit, head in product(poolings, options.preprocess, options.heads):
                scenario = Scenario(
                    family="probe",
                    backbone=name,
                    tap=where,
                    head=head,
                    pooling=pooling,
                    resize=options.resize,
                    edits=() if edit == "raw" else (edit,),
                    seed=options.seed,
                )
                kept = channels * (n_images if head == "knn" else rows)
                deepest = taps[-1].cost
                cost = Cost(deepest.multiply_adds, deepest.parameters + kept)
                planned.append(Planned(scenario, cost, list(HEADS).index(head)))
    return planned


PLANS = MappingProxyType({"probe": _plan_probes})
