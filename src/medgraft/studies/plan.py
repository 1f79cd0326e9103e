"""Which scenarios a study compares, and which of two is the simpler.

The order of simplicity is fixed: fewer multiply-adds for one image first, then fewer numbers to
be kept, then the order of the heads. It is what `recommend` walks along.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

from medgraft.errors import ScenarioError
from medgraft.features.backbones import HYBRIDS, Backbone
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import encoder_of, feature_plan_of
from medgraft.features.subnetwork import last_map
from medgraft.features.taps import STAGES
from medgraft.learn.estimators import HEADS
from medgraft.learn.finetune_setup import pixels_of_networks
from medgraft.scenario import (
    Encoded,
    Finetune,
    Head,
    Pooled,
    Preprocessing,
    Scenario,
    Views,
    encoding_of,
    steps_of,
    views_of,
)
from medgraft.studies.options import StudyOptions
from medgraft.types import Cost, FeatureSpec

SIMPLICITY = (
    "fewer multiply-adds for one image, then fewer numbers to be kept, then the raw image before "
    f"an edited one, then {' before '.join(HEADS)}"
)
PRETRAINED = "block3_pool"  # the last layer of a hybrid that is pretrained
PLAIN = Pooled()
STEP = 320  # pixels from one input size to the next
SIZES = 3  # input sizes at most, where none are named
DEEP = 3  # ends of stages, from the deepest, that encoders and larger inputs are tried on
LANDMARKS = 512  # rows an RBF head keeps


@dataclass(frozen=True, slots=True)
class PlannedScenario:
    """A scenario and what it costs in use."""

    scenario: Scenario
    cost: Cost
    head_rank: int

    @property
    def simplicity(self) -> tuple[int, int, int, int, str]:
        """Sorts the simplest first (see `SIMPLICITY`); the key breaks what ties are left."""
        several = self.scenario.members or (self.scenario,)
        cost, edits = self.cost, max(len(one.pixels.edits) for one in several)
        return (cost.multiply_adds, cost.parameters, edits, self.head_rank, self.scenario.key)


def plan(
    options: StudyOptions, extractor: Extractor, n_images: int, n_classes: int, shorter: int = 0
) -> tuple[PlannedScenario, ...]:
    """The scenarios of a study, simplest first.

    n_images and n_classes size the heads: a linear head keeps one row a class, kNN every code.
    shorter : pixels that the images hold on their shorter side (`data.decode_pool.shorter_side`).

    Raises
    ------
    ScenarioError
        The families asked for have no scenario for these images and options.
    """
    scenarios: list[Scenario] = []
    hybrids = [name for name in options.networks if name in HYBRIDS] or [next(iter(HYBRIDS))]
    others = [name for name in options.networks if name not in HYBRIDS]
    wanted = [make for family, make in PLANS.items() if family in options.families]
    for make in (*wanted, _plan_ways):
        for name in hybrids if make is _plan_hybrid else others:
            backbone = extractor.backbone(name)
            sizes = input_sizes(options, backbone, shorter)
            scenarios += make(options, backbone, sizes, scenarios)
    if options.second is not None and options.second.tried:
        probes = [_scenario(options, extractor.backbone(name), STAGES) for name in others]
        scenarios.append(Scenario.joining("mean", probes))
    found = {scenario.family for scenario in scenarios}
    if not scenarios or ("ensemble" in options.families and "ensemble" not in found):
        lacking = next(family for family in options.families if family not in found)
        needs = {
            "probe": "a network whose last layers are pretrained too (a hybrid's are not)",
            "multiscale": f"further input sizes (the images hold {shorter} pixels; --sizes "
            "224,544 enlarges them)",
            "ensemble": "scenarios of one input size to join (add probe or vlad to --families)",
        }
        raise ScenarioError(
            f"nothing to compare for {lacking}: it needs {needs.get(lacking, needs['probe'])}"
        )
    heads = list(HEADS)
    planned = [
        PlannedScenario(
            scenario,
            _cost_in_use(scenario, options.n_folds, extractor, (n_images, n_classes)),
            heads.index(scenario.head) if scenario.head in heads else len(heads),
        )
        for scenario in scenarios
    ]
    return tuple(sorted(planned, key=lambda entry: entry.simplicity))


def plain_canvas(planned: Sequence[PlannedScenario], extractor: Extractor) -> FeatureSpec:
    """On which every image is looked at: unedited, at the size of the first scenario."""
    return dataclasses.replace(feature_plan_of(planned[0].scenario, extractor).canvas, edits=())


def trained_otherwise(
    planned: Sequence[PlannedScenario],
    options: StudyOptions,
    extractor: Extractor,
    shape: tuple[int, int],
) -> tuple[PlannedScenario, ...]:
    """A plan whose networks are trained as these options say, simplest first.

    shape : images and classes that are learned from.
    """
    found = []
    for entry in planned:
        if entry.scenario.trained:
            again = dataclasses.replace(entry.scenario, classifier=Finetune(options.training))
            cost = _cost_in_use(again, options.n_folds, extractor, shape)
            entry = dataclasses.replace(entry, scenario=again, cost=cost)
        found.append(entry)
    return tuple(sorted(found, key=lambda entry: entry.simplicity))


def input_sizes(options: StudyOptions, backbone: Backbone, shorter: int) -> tuple[int, ...]:
    """The sizes that were asked for, else the backbone's own + 320 n that the images hold."""
    own = backbone.card.size
    held = [own + STEP * n for n in range(1, SIZES) if own + STEP * n <= shorter]
    return options.sizes or (own, *(held if held and backbone.any_size else []))


# --------------------------------------------------------------------------- families


def _plan_probes(
    options: StudyOptions, backbone: Backbone, sizes: tuple[int, ...], known: list[Scenario]
) -> Iterator[Scenario]:
    """Every tap and all stages joined, every pooling, preprocessing and head."""
    for where in [*(tap.name for tap in backbone.taps), STAGES]:
        extent = backbone.named(where)[-1].stride
        poolings = options.poolings if extent else ("avg",)
        for pooling, edit, head in product(poolings, options.preprocess, options.compared_heads):
            yield _scenario(options, backbone, where, edit, Head(head), Pooled(pooling))


def _plan_sizes(
    options: StudyOptions, backbone: Backbone, sizes: tuple[int, ...], known: list[Scenario]
) -> Iterator[Scenario]:
    """Each larger input alone, and all sizes joined and averaged; deep taps and the stages."""
    several = [sizes[:n] for n in range(2, len(sizes) + 1)]
    for where in [*_deep(backbone), STAGES]:
        for size in sizes:
            if size != backbone.card.size:
                yield _scenario(options, backbone, where, sizes=(size,))
        for some in several:
            yield _scenario(options, backbone, where, sizes=some)
            yield _scenario(options, backbone, where, sizes=some, join="mean")


def _plan_encoders(
    options: StudyOptions, backbone: Backbone, sizes: tuple[int, ...], known: list[Scenario]
) -> Iterator[Scenario]:
    """Every encoder on every deep tap; at the last, the first on descriptors of all sizes too."""
    deep = _deep(backbone)
    for where, word in product(deep, options.encoders):
        code = encoding_of(word)
        yield _scenario(options, backbone, where, code=code)
        joined = where == deep[-1] and word == options.encoders[0] and len(sizes) > 1
        if joined and code.encoder != "pyramid":  # which takes one map only
            yield _scenario(options, backbone, where, code=code, sizes=sizes)


def _plan_stack(
    options: StudyOptions, backbone: Backbone, sizes: tuple[int, ...], known: list[Scenario]
) -> Iterator[Scenario]:
    """One stack: the stages joined, every deep tap, and every encoder, at the backbone's size."""
    wanted = {STAGES, *_deep(backbone)}
    plain = _scenario(options, backbone, "")
    members = tuple(
        scenario
        for scenario in known
        if scenario.tap in wanted
        and scenario.family in {"probe", "vlad"}
        and dataclasses.replace(scenario, tap="", code=Pooled()) == plain
    )
    if len(members) > 1:
        yield Scenario.joining("stack", members)


def _plan_ways(
    options: StudyOptions, backbone: Backbone, sizes: tuple[int, ...], known: list[Scenario]
) -> Iterator[Scenario]:
    """What is compared with the plain probe of the same tap: averaged edits, augmented views."""
    if "probe" not in options.families:
        return
    edits = [key for key in options.preprocess if "+" not in key and key != "raw"]
    for where in [*(tap.name for tap in backbone.taps), STAGES]:
        plain = _scenario(options, backbone, where, "raw")
        if "raw" in options.preprocess:
            for edit in edits:
                yield Scenario.joining("mean", (plain, plain.with_pixels(edits=steps_of(edit))))
        if options.augment:
            alone = _scenario(options, backbone, where)
            views = dataclasses.replace(views_of(options.augment), number=options.views)
            yield alone.with_pixels(views=views)


def _plan_finetune(
    options: StudyOptions, backbone: Backbone, sizes: tuple[int, ...], known: list[Scenario]
) -> Iterator[Scenario]:
    """The network trained from every depth asked for, on strongly augmented images."""
    for depth in options.depths:
        yield _trained(options, backbone, depth)


def _plan_hybrid(
    options: StudyOptions, backbone: Backbone, sizes: tuple[int, ...], known: list[Scenario]
) -> Iterator[Scenario]:
    """The hybrid's separable blocks trained behind VGG's blocks, which stay as they are."""
    yield _trained(options, backbone, PRETRAINED)


def _trained(options: StudyOptions, backbone: Backbone, depth: str) -> Scenario:
    return _scenario(
        options,
        backbone,
        depth,
        classifier=Finetune(options.training),
        sizes=(options.training_size,) if options.training_size else (),
        views=Views(views_of(options.augment).modality if options.augment else "", strong=True),
    )


PLANS = MappingProxyType(  # in this order, for an ensemble joins what was planned before it
    {
        "probe": _plan_probes,
        "multiscale": _plan_sizes,
        "vlad": _plan_encoders,
        "finetune": _plan_finetune,
        "hybrid": _plan_hybrid,
        "ensemble": _plan_stack,
    }
)


def _scenario(
    options: StudyOptions,
    backbone: Backbone,
    tap: str,
    edit: str = "",
    classifier: Head | Finetune | None = None,
    code: Pooled | Encoded = PLAIN,
    **pixels: Any,
) -> Scenario:
    """A scenario of these options: the first head and preprocessing by default."""
    edits = steps_of(edit or options.preprocess[0])
    return Scenario(
        backbone.name,
        tap,
        classifier or Head(options.compared_heads[0]),
        Preprocessing(edits, resize=options.resize, **pixels),
        code,
        options.seed,
    )


def _deep(backbone: Backbone) -> list[str]:
    """The taps that encoders and larger inputs are tried on: late stages, the last convolution."""
    stages = [tap.name for tap in backbone.stages[-DEEP:]]
    return list(dict.fromkeys([*stages, last_map(backbone).name]))


# --------------------------------------------------------------------------- costs


def _cost_in_use(
    scenario: Scenario, n_folds: int, extractor: Extractor, shape: tuple[int, int]
) -> Cost:
    """What a scenario costs in use, where the networks of all its folds may have to answer.

    shape : images and classes that it learns from.
    """
    n_images, n_classes = shape
    one = _cost(scenario, extractor, n_images, 1 if n_classes == 2 else n_classes)
    decides = scenario.classifier
    if not isinstance(decides, Finetune) or decides.recipe.deploy != "folds":
        return one
    passes = n_folds * sum(pixels_seen(scenario, extractor))
    networks = n_folds * decides.recipe.networks
    return Cost(round(passes * one.multiply_adds), networks * one.parameters)


def pixels_seen(scenario: Scenario, extractor: Extractor) -> list[float]:
    """Pixels that each of a fold's networks sees of an image, over those that the first sees."""
    assert isinstance(scenario.classifier, Finetune)  # for the type checker
    size = feature_plan_of(scenario, extractor).canvas.size
    any_size = extractor.backbone(scenario.backbone).any_size
    return pixels_of_networks(scenario.classifier.recipe, size, any_size)


def _cost(scenario: Scenario, extractor: Extractor, n_images: int, rows: int) -> Cost:
    """Multiply-adds of all passes over one image, and the numbers of network and head."""
    if scenario.members:
        specs = [spec for m in scenario.members for spec in feature_plan_of(m, extractor).specs]
        kept = sum(_kept(member, extractor, n_images, rows) for member in scenario.members)
    else:
        specs = list(feature_plan_of(scenario, extractor).specs)
        kept = _kept(scenario, extractor, n_images, rows)
    deepest: dict[FeatureSpec, int] = {}  # one pass for what differs in taps and poolings only
    parameters: dict[str, int] = {}
    for spec in specs:
        backbone = extractor.backbone(spec.backbone)
        costs = [backbone.cost(tap, spec.size) for tap in spec.taps]
        recipe = dataclasses.replace(spec, taps=(), poolings=())
        pass_cost = max(cost.multiply_adds for cost in costs)
        deepest[recipe] = max(deepest.get(recipe, 0), pass_cost)
        most = max(cost.parameters for cost in costs)
        parameters[spec.backbone] = max(parameters.get(spec.backbone, 0), most)
    return Cost(sum(deepest.values()), sum(parameters.values()) + kept)


def _kept(scenario: Scenario, extractor: Extractor, n_images: int, rows: int) -> int:
    """The numbers that encoder and head keep; of an encoder that learns, about as many."""
    backbone = extractor.backbone(scenario.backbone)
    feature_plan = feature_plan_of(scenario, extractor)
    taps = feature_plan.views[0][0].taps
    channels = sum(tap.channels for tap in backbone.taps if tap.name in taps)
    found = encoder_of(scenario)
    if found is None:
        width = channels * (1 if scenario.pixels.join == "mean" else len(feature_plan.views[0]))
        n_images *= len(feature_plan.views)
        extra = 0
    else:
        width, extra = found[1].size(channels)
    per = {"knn": n_images, "rbf": min(LANDMARKS, n_images), "ordinal": 1}.get(scenario.head, rows)
    return width * per + extra
