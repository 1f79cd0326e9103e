"""Which scenarios a study compares, and which of two is the simpler.

The order of simplicity is fixed: fewer multiply-adds for one image first, then fewer numbers to
be kept, then the order of the heads. It is what `recommend` walks along.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any, get_args

from medgraft.audit.regions import layout_of
from medgraft.data.augment import PRESETS
from medgraft.data.preprocess import Clahe, edit_from_key
from medgraft.errors import ScenarioError
from medgraft.evaluate.metrics import COMMON
from medgraft.features.backbones import DEFAULT, HYBRIDS, Backbone
from medgraft.features.encoders import check_pooling
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import encoder_of, feature_plan_of
from medgraft.features.taps import DENSE, STAGES
from medgraft.learn.estimators import HEADS
from medgraft.scenario import (
    TRAINED,
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
from medgraft.training_recipe import recipe_of
from medgraft.types import Cost, FeatureSpec, ResizeRule

SIMPLICITY = (
    "fewer multiply-adds for one image, then fewer numbers to be kept, then the raw image before "
    f"an edited one, then {' before '.join(HEADS)}"
)
PRETRAINED = "block3_pool"  # the last layer of a hybrid that is pretrained
VALIDATE = ("auto", "plain", "changed")
PLAIN = Pooled()
STEP = 320  # pixels from one input size to the next
SIZES = 3  # input sizes at most, where none are named
DEEP = 3  # ends of stages, from the deepest, that encoders and larger inputs are tried on
LANDMARKS = 512  # rows an RBF head keeps


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """What a study may be told; every default is the one to use when in doubt.

    backbones : timm names. heads : names in `HEADS`; families other than `probe` use the first.
    metric : what scenarios are chosen by. preprocess : `raw`, an edit's key (`clahe`), or both
    side by side (`raw+clahe`), each compared with the others; families other than `probe` use the
    first. sizes : input sizes of `multiscale`; by default the backbone's own + 320 n as far as the
    images hold so many pixels. encoders : of `vlad`, such as k64, fisher16 or bilinear2048 (see
    `features.feature_plan.encoder_of`). augment : a preset, of which `views` views of each image
    are compared with the image alone. depths : from which trained families train; `best` finds it
    out. training : settings of their recipe (`training_recipe.Recipe`), as a scenario's
    `params`; they augment by the strong version of `augment`. training_size : input size of
    networks that are trained; 0 is their own. validate : out of fold images are judged as they are
    (`plain`), in `changed` views (`data.augment.judging_view`), or `auto`: changed where networks
    are trained and the surface tells much (`profile.shortcut_probe`). budget : seconds that the
    whole study may take, by which epochs and search of trained networks are cut; 0 cuts nothing.
    test_fraction : of the images, set aside where no test split is given. audit : whether the
    evidence of what is recommended is audited, with `audit_pairs` pairs of donors at most. modality
    : what the images are, by which the audit knows regions that are no evidence
    (`audit.regions.LAYOUTS`). masks : the table's masks hold the evidence of every class, and what
    is outside of them is none. What is named twice is compared once; edits are kept under their
    full key.
    """

    backbones: tuple[str, ...] = (DEFAULT,)
    families: tuple[str, ...] = ("probe",)
    heads: tuple[str, ...] = ("svm", "logistic", "knn")
    poolings: tuple[str, ...] = ("avg",)
    preprocess: tuple[str, ...] = ("raw",)
    sizes: tuple[int, ...] = ()
    encoders: tuple[str, ...] = ("k16", "k64")
    augment: str = ""
    views: int = 4
    depths: tuple[str, ...] = ("best",)
    training: tuple[tuple[str, str], ...] = ()
    training_size: int = 0
    validate: str = "auto"
    budget: float = 0.0
    resize: ResizeRule = "squash"
    metric: str = "auroc"
    n_folds: int = 5
    test_fraction: float = 0.2
    seed: int = 0
    audit: bool = True
    audit_pairs: int = 80
    modality: str = ""
    masks: bool = False

    def __post_init__(self) -> None:
        layout_of(self.modality)
        _check("family", self.families, tuple(PLANS))
        _check("head", self.heads, tuple(HEADS))
        _check("metric", (self.metric,), COMMON)
        _check("resize rule", (self.resize,), get_args(ResizeRule))
        _check("way to validate", (self.validate,), VALIDATE)
        recipe_of(self.training)
        if self.augment:
            _check("preset of views", (self.augment,), tuple(PRESETS))
            views_of(self.augment)
        for pooling in self.poolings:
            check_pooling(pooling)
        if self.augment and not {"probe", *TRAINED} & set(self.families):
            raise ScenarioError("augmented views are compared with probes; add probe to --families")
        if not 0 <= self.seed < 2**32:
            raise ScenarioError(f"the seed is {self.seed}; it must be from 0 to 2**32 - 1")
        if self.augment and not 2 <= self.views <= 64:
            raise ScenarioError(f"{self.views} views of an image; choose from 2 to 64")
        if self.audit_pairs < 1:
            raise ScenarioError(f"{self.audit_pairs} pairs of donors; an audit needs at least one")
        if any(not 1 <= size <= 4096 for size in self.sizes):
            raise ScenarioError(
                f"input sizes {', '.join(map(str, self.sizes))}: each must be from 1 to 4096 "
                "pixels; usual are 224,544,864"
            )
        if self.sizes and not {"multiscale", "vlad"} & set(self.families):
            raise ScenarioError(
                "several input sizes are read by multiscale and vlad; add one to --families"
            )
        object.__setattr__(self, "preprocess", tuple(map(_full_key, self.preprocess)))
        object.__setattr__(self, "sizes", tuple(sorted(set(self.sizes))))
        for name in ("backbones", "families", "heads", "poolings", "preprocess", "encoders"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        for name in ("backbones", "preprocess", "poolings", "encoders"):
            if not getattr(self, name):
                raise ScenarioError(f"a study needs at least one of its {name}")
        for encoder in self.encoders:
            encoder_of(Scenario("any", "any", Head("svm"), code=encoding_of(encoder)))


def _check(what: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not given:
        raise ScenarioError(f"no {what} was given; choose among: {', '.join(known)}")
    for name in given:
        if name not in known:
            raise ScenarioError(f"no {what} {name!r}; there are: {', '.join(known)}")


def _full_key(preprocess: str) -> str:
    """`raw+clahe` as `raw+clahe2-8`."""
    ways = [way for step in steps_of(preprocess) or (("raw",),) for way in step]
    edits = [way if way == "raw" else edit_from_key(way) for way in ways]
    if not all(edit == "raw" or isinstance(edit, Clahe) for edit in edits):
        raise ScenarioError(
            f"{preprocess!r} is no preprocessing; there are raw, clahe and raw+clahe (views of an "
            "image come by --augment)"
        )
    ways = [edit if isinstance(edit, str) else edit.key for edit in edits]
    if len(set(ways)) < len(ways):
        raise ScenarioError(f"{preprocess!r} names one preprocessing twice; name each once")
    return "+".join(ways)


@dataclass(frozen=True, slots=True)
class Planned:
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
) -> tuple[Planned, ...]:
    """The scenarios of a study, simplest first.

    n_images and n_classes size the heads: a linear head keeps one row a class, kNN every code.
    shorter : pixels that the images hold on their shorter side (`data.decode.shorter_side`).

    Raises
    ------
    ScenarioError
        The families asked for have no scenario for these images and options.
    """
    scenarios: list[Scenario] = []
    hybrids = [name for name in options.backbones if name in HYBRIDS] or [next(iter(HYBRIDS))]
    others = [name for name in options.backbones if name not in HYBRIDS]
    wanted = [make for family, make in PLANS.items() if family in options.families]
    for make in (*wanted, _plan_ways):
        for name in hybrids if make is _plan_hybrid else others:
            backbone = extractor.backbone(name)
            sizes = input_sizes(options, backbone, shorter)
            scenarios += make(options, backbone, sizes, scenarios)
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
        Planned(
            scenario,
            _cost_in_use(scenario, options.n_folds, extractor, (n_images, n_classes)),
            heads.index(scenario.head) if scenario.head in heads else len(heads),
        )
        for scenario in scenarios
    ]
    return tuple(sorted(planned, key=lambda entry: entry.simplicity))


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
        for pooling, edit, head in product(poolings, options.preprocess, options.heads):
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
    """A scenario of these options: the first head and preprocessing, unless told."""
    edits = steps_of(edit or options.preprocess[0])
    return Scenario(
        backbone.name,
        tap,
        classifier or Head(options.heads[0]),
        Preprocessing(edits, resize=options.resize, **pixels),
        code,
        options.seed,
    )


def _deep(backbone: Backbone) -> list[str]:
    """The taps that encoders and larger inputs are tried on: late stages, the last convolution."""
    last = [tap.name for tap in backbone.taps if tap.stride and tap.name not in DENSE][-1]
    return list(dict.fromkeys([*(tap.name for tap in backbone.stages[-DEEP:]), last]))


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
    folds = isinstance(decides, Finetune) and decides.recipe.deploy == "folds"
    networks = n_folds if folds else 1
    return Cost(networks * one.multiply_adds, networks * one.parameters)


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
    per = {"knn": n_images, "rbf": min(LANDMARKS, n_images)}.get(scenario.head, rows)
    return width * per + extra
