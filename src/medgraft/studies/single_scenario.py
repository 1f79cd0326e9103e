"""One scenario without a study: judged out of fold, refitted, and on the test only if asked.

Nothing is compared and nothing is recommended, so the figures out of fold need no correction for a
choice. Which scenario, says its key (`scenario.py`) or a recipe's name.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from medgraft.data.augment import judging_view
from medgraft.data.split import Development, keep_copies_together, labelled, make_folds
from medgraft.errors import DataError, ScenarioError
from medgraft.evaluate.estimates import evaluate
from medgraft.features.extract import Extractor, readable
from medgraft.features.feature_plan import encoder_of, feature_plan_of
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.finetune_cv import held_out
from medgraft.learn.fit import cross_fitted
from medgraft.profile.image_stats import read_image_stats
from medgraft.results.figures import Evaluation
from medgraft.scenario import INPUT, Finetune, Scenario
from medgraft.studies.defaults import default_metric, require_grades
from medgraft.studies.store import BesideModel
from medgraft.types import Folds, ImageTable, Predictions, Skipped

VALIDATE = ("plain", "changed")


@dataclass(frozen=True, slots=True)
class SingleOptions:
    """How one scenario is judged.

    n_folds : of cross-validation. holdout_only : train once, and let one fold judge; with it
    `cap`, the minutes of training after whose epoch it ends, 0 for none. validate : `plain`
    images, or `changed` views of them (`data.augment.judging_view`). test : look at the test
    split, if any.
    """

    n_folds: int = 5
    holdout_only: bool = False
    cap: float = 0.0
    validate: str = "plain"
    test: bool = False

    def __post_init__(self) -> None:
        if self.validate not in VALIDATE:
            raise ScenarioError(
                f"no way to validate {self.validate!r}; there are: {', '.join(VALIDATE)}"
            )
        if self.cap < 0 or (self.cap and not self.holdout_only):
            raise ScenarioError(
                f"a cap of {self.cap:g} minutes is for a training that is judged by one holdout; "
                "give minutes above 0, with --holdout-only"
            )


@dataclass(frozen=True, eq=False)
class SingleResult:
    """What one scenario does.

    table : the images that could be read. crossed : predictions of images not learned from, out
    of fold or of the one holdout, and the fitted classifier. validation, tested : their
    Evaluations; tested is None where no test split was looked at. beside : what is saved beside
    the classifier.
    """

    table: ImageTable
    options: SingleOptions
    folds: Folds
    crossed: CrossFitted
    validation: Evaluation
    test: Predictions | None
    tested: Evaluation | None
    beside: BesideModel


def classic_scenario(
    params: tuple[tuple[str, str], ...] = (("classic", ""),),
    weights: str = "",
    start: str = INPUT,
    seed: int = 0,
) -> Scenario:
    """The recipe of the study that medgraft grew from, as a scenario: VGG-19, no augmentation.

    VGG-16, whose weights come by pip, where no weights are given. params : the recipe's name, and
    what differs from it. start : the layer trained from.
    """
    backbone = "vgg19" if weights else "vgg16"
    return Scenario(backbone, start, Finetune(params), seed=seed)


def single_config(
    table: ImageTable, scenario: Scenario, options: SingleOptions, extractor: Extractor
) -> dict[str, object]:
    """What decides the numbers of one scenario alone, for `config.json`."""
    return {
        "data": table.fingerprint,
        "scenario": scenario.key,
        "seed": scenario.seed,
        "engine": extractor.engine,
        "weights": {one: extractor.backbone(one).card.sha256 for one in scenario.networks},
        **({"ordered": True} if table.ordered else {}),
        **dataclasses.asdict(options),
    }


def run_single(
    table: ImageTable, scenario: Scenario, options: SingleOptions, extractor: Extractor
) -> SingleResult:
    """Judge one scenario on a table, and refit it.

    No test split is made; one that is there is left alone unless `options.test`.

    Raises
    ------
    DataError, FitError
        There is not enough to learn from, or no test split to look at.
    ScenarioError, BackboneError
        The scenario makes no sense, or is not one that is trained where that is needed.
    """
    if options.holdout_only and not scenario.trained:
        raise ScenarioError(
            f"{scenario.key} trains no network and is quick in every fold; leave --holdout-only out"
        )
    require_grades(scenario, table)
    table = keep_copies_together(labelled(table))
    if options.test and not len(table.test):
        raise DataError("there is no test split to look at; leave --test out")
    make_folds(table.development, options.n_folds, scenario.seed)  # or fail before any is read
    table = _readable(table, scenario, extractor)
    development = table.development
    metric = default_metric(table)
    folds = make_folds(development, options.n_folds, scenario.seed)
    folds = dataclasses.replace(folds, metric=metric)
    if options.validate == "changed":
        views = scenario.pixels.views
        preset = views.modality if views else ""
        folds = dataclasses.replace(folds, view=judging_view(preset, scenario.seed))
    if options.holdout_only:
        cap = 60 * options.cap or math.inf
        crossed = held_out(scenario, Development(development, folds), extractor, cap)
    else:
        crossed = cross_fitted(scenario, Development(development, folds), extractor)
    test, tested = None, None
    if options.test:
        extractor.progress.say("Everything is frozen; looking at the test split once.")
        test = crossed.fitted.predict(table.test)[0]
        tested = evaluate(test, crossed.fitted.operating, by=metric)
    spec = dataclasses.replace(feature_plan_of(scenario, extractor).canvas, edits=(), base=0)
    stats = read_image_stats(development, spec, extractor)
    validation = evaluate(crossed.unchanged, by=metric)
    beside = BesideModel.of(development, stats, spec, crossed, extractor)
    return SingleResult(table, options, folds, crossed, validation, test, tested, beside)


def _readable(table: ImageTable, scenario: Scenario, extractor: Extractor) -> ImageTable:
    """The table without the development images that cannot be read."""
    feature_plan = feature_plan_of(scenario, extractor)
    development = table.development
    if scenario.trained:  # what is read of its images is known after training only
        with extractor.progress.task("Looking for damaged images", len(development)) as advance:
            found = []
            for row in extractor.canvases(development, feature_plan.canvas):
                found += [row] if isinstance(row, Skipped) else []
                advance(1)
        skipped = tuple(found)
    else:
        specs = feature_plan.specs if encoder_of(scenario) is None else feature_plan.grids.specs
        skipped = extractor.prepare(development, *specs)
    return readable(table, skipped)
