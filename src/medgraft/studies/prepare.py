"""The first step of a study: what is compared, on which images, judged in which folds.

From a table to images that are read, planned scenarios, and development images dealt to folds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medgraft.data.augment import judging_view
from medgraft.data.pool.pool import shorter_side
from medgraft.data.sites import leave_one_site_out
from medgraft.data.split import (
    Development,
    Together,
    folds_of,
    keep_copies_together,
    labelled,
    make_folds,
    with_test_split,
)
from medgraft.evaluate.compare import estimate_all
from medgraft.evaluate.subgroups import subgroup_columns
from medgraft.features.extract import Extractor, readable
from medgraft.features.shared import images_key
from medgraft.profile.image_stats import ImageStats, read_image_stats
from medgraft.profile.shortcut_probe import predict_from_surface
from medgraft.profile.similarity import measure_similarity
from medgraft.results.figures import MADE, TELLING, whether
from medgraft.results.recommendation import Similarity
from medgraft.scenario import TRAINED
from medgraft.studies.budget_plan import PlannedStep, first_options, planned_in, with_training
from medgraft.studies.defaults import with_defaults
from medgraft.studies.near_copies import without_torn_copies
from medgraft.studies.options import StudyOptions
from medgraft.studies.plan import STEP, PlannedScenario, input_sizes, plain_canvas, plan
from medgraft.studies.readings import inputs_of
from medgraft.studies.session import Session
from medgraft.studies.within_budget import Drawn, draw, plan_within, train_within
from medgraft.types import BudgetUse, FeatureSpec, Finding, Folds, ImageTable, Predictions, Strings


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a study compares, and on what.

    options : with what a budget bought. table : the images that could be read, test included.
    shorter : pixels of the images' shorter side, which decides what sizes are planned. canvas : on
    which every image was looked at, giving `image_stats`. surface : predictions of the
    development images by exposure, sharpness and frame alone. findings : on input sizes, on sites
    and on what the surface tells. similarity : of the development images to ImageNet. sites : (n,)
    of the development images, where folds are sites. steps : in which a budget has them run, if it
    decides that; budget : what became of it.
    """

    options: StudyOptions
    table: ImageTable
    development: Development
    planned: tuple[PlannedScenario, ...]
    shorter: int
    canvas: FeatureSpec
    image_stats: ImageStats
    surface: Predictions
    findings: tuple[Finding, ...]
    similarity: Similarity
    sites: Strings | None = None
    steps: tuple[PlannedStep, ...] = ()
    budget: BudgetUse | None = None


def prepare(
    table: ImageTable,
    options: StudyOptions,
    session: Session,
    folds: Folds | None = None,
    together: Together | None = None,
) -> Prepared:
    """Read what all scenarios need of the images, and deal those to learn from to folds.

    folds : that are given, of these images among others; then `table` has its test split, and where
    that holds no image none is set aside. together : the findings that networks learn at once, of
    which this is one; its folds are those given.

    Raises
    ------
    DataError, FitError
        There is not enough to learn from.
    ScenarioError, BackboneError
        As `plan`.
    """
    extractor = session.extractor
    read = _read(table, options, session, folds)
    table, development, options = read.table, read.table.development, read.options
    if read.drawn is None:
        trained = [entry.scenario for entry in read.planned if entry.scenario.trained]
        options = train_within(options, trained, development, session)
    surface = predict_from_surface(
        read.image_stats.surface[table.splits != "test"], development, options.seed
    )
    steps: tuple[PlannedStep, ...] = ()
    if read.drawn is not None:
        tells = options.validate == "auto" and _tells(surface)
        near = read.similarity
        options, steps = plan_within(read.drawn, options, development, near, tells, session)
    plain, sites, about_sites = _dealt(development, options, folds)
    judging = _in_view(plain, options, surface, extractor)
    if judging.view is not None:
        options = _without_probe(options)
        extractor.prepare(development, *inputs_of(read.planned, extractor, judging.view))
    if read.drawn is None:
        planned = _plan(table, options, extractor, read.shorter)  # without what is not readable
    else:
        steps = with_training(steps, options, read.drawn.data, extractor)
        planned = planned_in(steps)
    return Prepared(
        options=options,
        table=table,
        development=Development(
            development, judging, together=None if together is None else together.judged_as(judging)
        ),
        planned=planned,
        shorter=read.shorter,
        canvas=read.canvas,
        image_stats=read.image_stats,
        surface=surface,
        findings=(*_about_sizes(options, extractor, read.shorter), *about_sites),
        similarity=read.similarity,
        sites=sites,
        steps=steps,
        budget=read.drawn.use(options, steps) if read.drawn else None,
    )


@dataclass(frozen=True, eq=False)
class _Read:
    """Images that were read, with what was found by looking at them; fields as of `Prepared`.

    planned : whose inputs were read. drawn : all steps that there are, where a budget decides.
    """

    options: StudyOptions
    table: ImageTable
    planned: tuple[PlannedScenario, ...]
    shorter: int
    canvas: FeatureSpec
    image_stats: ImageStats
    similarity: Similarity
    drawn: Drawn | None


def _read(table: ImageTable, options: StudyOptions, session: Session, folds: Folds | None) -> _Read:
    """Read what all scenarios need, or where a budget decides those that come first."""
    extractor = session.extractor
    whole = keep_copies_together(labelled(table))
    # What was dealt to folds has its test split; a finding may be known nowhere in it.
    table = with_test_split(whole, options.test_fraction, options.seed) if folds is None else whole
    options = _foldable(table.development, options, folds)  # or fail before any image is read
    shorter = shorter_side(table.development)
    drawn = None
    if options.automatic:
        drawn = draw(table, options, shorter, session)
        session.end_step("time a few images")
    planned = _plan(table, first_options(options), extractor, shorter)
    table = _read_all(table, planned, extractor)
    session.end_step("read the images")
    canvas = plain_canvas(planned, extractor)
    image_stats = read_image_stats(table, canvas, extractor)
    if folds is None and not (whole.splits == "test").any():
        table = without_torn_copies(whole, table, image_stats, canvas, options, extractor)
    session.end_step("look at every image")
    similarity = _similarity(table.development, extractor)
    session.end_step("measure the similarity to ImageNet")
    options = _foldable(table.development, options, folds) if options.site else options
    return _Read(options, table, planned, shorter, canvas, image_stats, similarity, drawn)


def _similarity(development: ImageTable, extractor: Extractor) -> Similarity:
    """That of the development images to ImageNet, in which no label has a part."""
    if extractor.shared is None:
        return measure_similarity(development, extractor)
    return extractor.shared.get(
        images_key(development), "similarity", lambda: measure_similarity(development, extractor)
    )


def divided(table: ImageTable, options: StudyOptions) -> ImageTable:
    """The labelled images with a test split; what is black and white is found without it."""
    table = keep_copies_together(labelled(table))
    return with_test_split(table, options.test_fraction, options.seed)


def check(table: ImageTable, options: StudyOptions, extractor: Extractor) -> None:
    """Refuse what cannot be planned, before anything is written or read for long.

    Raises
    ------
    ScenarioError, BackboneError
        As `plan`.
    DataError, FitError
        What is said to name sites does not, or not so that they can judge.
    """
    options = with_defaults(options, table, extractor)
    _plan(table, first_options(options), extractor, shorter_side(table.development))
    subgroup_columns(labelled(table), options.subgroups, options.metric)
    if options.site:
        _foldable(divided(table, options).development, options)


def _plan(
    table: ImageTable, options: StudyOptions, extractor: Extractor, shorter: int
) -> tuple[PlannedScenario, ...]:
    return plan(options, extractor, len(table.development), len(table.classes), shorter)


def _read_all(
    table: ImageTable, planned: Sequence[PlannedScenario], extractor: Extractor
) -> ImageTable:
    """Read what every scenario needs once, and leave out the images that cannot be read."""
    return readable(table, extractor.prepare(table, *inputs_of(planned, extractor)))


def _dealt(
    development: ImageTable, options: StudyOptions, given: Folds | None
) -> tuple[Folds, Strings | None, tuple[Finding, ...]]:
    """The folds that all scenarios share; by site where that was asked for, with the sites."""
    if options.site:
        found = leave_one_site_out(development, options.site, options.seed)
        folds = dataclasses.replace(found.folds, metric=options.metric)
        return folds, found.sites, found.findings
    folds = (
        make_folds(development, options.n_folds, options.seed)
        if given is None
        else folds_of(given, development)
    )
    return dataclasses.replace(folds, metric=options.metric), None, ()


def _foldable(
    development: ImageTable, options: StudyOptions, given: Folds | None = None
) -> StudyOptions:
    """The options with as many folds as there are sites, where folds are sites; or an error."""
    folds, _, _ = _dealt(development, options, given)
    return dataclasses.replace(options, n_folds=folds.n_folds) if options.site else options


def _in_view(
    plain: Folds, options: StudyOptions, surface: Predictions, extractor: Extractor
) -> Folds:
    """The folds with the view in which images are judged.

    Images are judged in changed views where that was asked for, or where a network is to be trained
    and the surface tells the classes so well that the images as they are could not tell who learned
    it from who learned the subject.
    """
    trained = bool(set(TRAINED) & set(options.families))
    if options.validate == "plain" or (options.validate == "auto" and not trained):
        return plain
    if options.validate == "auto" and not _tells(surface):
        return plain
    (area,) = estimate_all([surface], "auroc")
    extractor.progress.say(
        f"{whether(MADE, area)}: scenarios are judged on changed views of the images they have not "
        "seen."
    )
    return dataclasses.replace(plain, view=judging_view(options.augment, options.seed))


def _tells(surface: Predictions) -> bool:
    """Whether exposure, sharpness and frame alone tell the classes apart."""
    (area,) = estimate_all([surface], "auroc")
    return area.low >= TELLING


def _without_probe(options: StudyOptions) -> StudyOptions:
    """Train from a head of zeros unless the recipe asks: a probe would begin with the surface."""
    if "probe" in dict(options.training):
        return options
    return dataclasses.replace(options, training=(*options.training, ("probe", "False")))


def _about_sizes(options: StudyOptions, extractor: Extractor, shorter: int) -> Iterator[Finding]:
    """Say where larger inputs were not tried, or go beyond what the images hold."""
    if not {"multiscale", "vlad"} & set(options.families):
        return
    for name in options.networks:
        sizes = input_sizes(options, extractor.backbone(name), shorter)
        own = extractor.backbone(name).card.size
        if not options.sizes and sizes == (own,) and "multiscale" in options.families:
            yield Finding(
                "input sizes",
                "info",
                f"The images hold {shorter} pixels on their shorter side, and the next input size "
                f"of {name} is {own + STEP}, so `multiscale` had nothing to compare.",
                {"shorter_side": shorter},
                remedy=f"To try enlarged images, pass --sizes {own},{own + STEP}.",
            )
        elif max(sizes) > max(shorter, own):
            yield Finding(
                "input sizes",
                "info",
                f"Images that hold {shorter} pixels on their shorter side were enlarged to "
                f"{max(sizes)}, as was asked: larger inputs then show no more, only larger.",
                {"shorter_side": shorter, "largest_input": max(sizes)},
            )
