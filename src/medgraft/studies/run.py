"""One study from a table to a result, read from top to bottom.

Codes → folds → every scenario out of fold → recommendation, and the audit of its evidence →
everything frozen → the test split, once → findings → the run's folder. Everything slow is in the
cache, so that a killed study goes on where it stopped and a second one ends with the same numbers.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from medgraft.audit.evidence import Audit
from medgraft.data.augment import judging_view
from medgraft.data.decode import shorter_side
from medgraft.data.split import keep_copies_together, labelled, make_folds, with_test_split
from medgraft.evaluate.compare import estimate_all
from medgraft.evaluate.estimates import evaluate, evaluate_by_group
from medgraft.evaluate.overlap import lower_end
from medgraft.evaluate.selection import resample_in_and_out
from medgraft.features.extract import Extractor, readable
from medgraft.features.feature_plan import encoder_of, feature_plan_of
from medgraft.features.subnetwork import last_map
from medgraft.features.taps import STAGES
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.depth import TrainingLog
from medgraft.learn.finetune_setup import FinetuneSetup
from medgraft.learn.fit import cross_fitted_all
from medgraft.profile.image_stats import ImageStats, read_image_stats
from medgraft.profile.profile import ProfileInputs, examine
from medgraft.profile.shortcut_probe import TELLING, predict_from_surface, shortcut_findings
from medgraft.profile.traces import Traces
from medgraft.scenario import TRAINED, Head, Pooled, Preprocessing, Scenario
from medgraft.studies.audit_candidates import (
    audit_candidates,
    audit_unseen,
    explain_audits,
    scenario_of,
)
from medgraft.studies.budget import buy
from medgraft.studies.plan import PRETRAINED, STEP, Planned, StudyOptions, input_sizes, plan
from medgraft.studies.questions import answer
from medgraft.studies.recommend import Recommendation, explain_choice, recommend
from medgraft.studies.store import RunStore
from medgraft.types import (
    Edit,
    Estimate,
    Evaluation,
    FeatureSpec,
    Finding,
    FittedScenario,
    Folds,
    ImageTable,
    Predictions,
    ScenarioResult,
    StudyResult,
)

RESERVE = 60  # seconds of a budget for frozen scenarios, comparisons and the report


@dataclass(frozen=True, eq=False)
class Study:
    """A finished study: the result, and what the report draws it from.

    oof, test : predictions by scenario key, oof of images as they were judged (`Folds.view`).
    unchanged : out of fold, of the recommended scenario and of images as they are, as in use.
    validation, tested : Evaluations of `unchanged` and of its test; by_patient : the latter (the
    former without a test split) with one row a group, where groups repeat.
    seconds : by step. training : of each scenario whose network was trained, by key. audits : by
    key, of the recommended scenario and of those that failed before it. traces : by which the
    images learned from are known.
    """

    result: StudyResult
    options: StudyOptions
    folds: Folds
    planned: tuple[Planned, ...]
    oof: Mapping[str, Predictions]
    test: Mapping[str, Predictions]
    unchanged: Predictions
    fitted: FittedScenario
    validation: Evaluation
    tested: Evaluation | None
    by_patient: Evaluation | None
    seconds: Mapping[str, float]
    training: Mapping[str, TrainingLog]
    audits: Mapping[str, Audit]
    traces: Traces


def run_study(
    table: ImageTable,
    options: StudyOptions,
    extractor: Extractor,
    store: RunStore | None = None,
) -> Study:
    """Compare the planned scenarios on a table and recommend one.

    Parameters
    ----------
    table
        From `data.ingest.load`; where it has no test split, one is made.
    store
        Where the run's events are written; nothing is where it is None.

    Raises
    ------
    DataError, FitError
        There is not enough to learn from.
    """
    clock = _Clock()
    progress = extractor.progress
    table = keep_copies_together(labelled(table))
    table = with_test_split(table, options.test_fraction, options.seed)
    make_folds(table.development, options.n_folds, options.seed)  # or fail before any image is read
    shorter = shorter_side(table.development)
    planned = _plan(table, options, extractor, shorter)
    table = _read_all(table, planned, extractor)
    clock.lap("read the images")
    plain = _plain_canvas(planned, extractor)
    image_stats = read_image_stats(table, plain, extractor)
    clock.lap("look at every image")

    development = table.development
    options = _within_budget(options, planned, development, extractor, store, clock)
    surface = predict_from_surface(
        image_stats.surface[table.splits != "test"], development, options.seed
    )
    folds, telling = _folds(development, options, surface, extractor)
    if folds.view is not None and "probe" not in dict(options.training):
        # A head that starts as a linear probe would start with what the surface tells.
        training = (*options.training, ("probe", "False"))
        options = dataclasses.replace(options, training=training)
    if folds.view is not None:
        extractor.prepare(development, *_changed(planned, folds.view, extractor))
    planned = _plan(table, options, extractor, shorter)  # what could not be read is left out now
    found = _judge(planned, development, folds, extractor, store)
    clock.lap("judge the scenarios out of fold")

    oof = [found[entry.scenario.key].predictions for entry in planned]
    estimates = _estimates(oof, options.metric, folds)
    found_oof = {p.scenario: p for p in oof}
    drawn = resample_in_and_out(oof, options.metric)
    choice = recommend(drawn)
    clock.lap("compare and recommend")
    audited = None
    if options.audit:
        audited = audit_candidates(
            choice,
            lambda failed: recommend(drawn, failed),
            lambda key: audit_unseen(
                scenario_of(planned, key), development, folds, options, extractor
            ),
            store,
        )
        choice = audited.choice
        clock.lap("audit the evidence")
    chosen = found[choice.recommended]
    validation = evaluate(chosen.unchanged)
    least = lower_end(chosen.predictions, surface, options.metric)
    if store is not None:
        store.event("recommended", key=choice.recommended, margin=choice.margin)

    # From here on every scenario is frozen, and the test split is looked at, once.
    progress.say("Every scenario is frozen; looking at the test split once.")
    test, tested, by_patient, test_estimates = _look_at_test(
        table.test, found, choice, options.metric, chosen
    )
    if store is not None:
        store.event("test split looked at", images=len(table.test), scenarios=len(test))
    clock.lap("look at the test split once")

    findings = (
        *table.findings,
        *_about_sizes(options, extractor, shorter),
        *telling,
        *_profile(table, chosen.unchanged, image_stats, planned, extractor, options.seed),
    )
    clock.lap("check the data")
    result = StudyResult(
        metric=options.metric,
        table=table,
        findings=findings,
        scenarios=_results(
            planned,
            found,
            _with_all(estimates, options.metric, choice, validation),
            _with_all(test_estimates, options.metric, choice, tested),
        ),
        recommended=choice.recommended,
        why=" ".join(
            [
                explain_choice(
                    choice, estimates, table, options.metric, _by_tap(planned, estimates, choice)
                ),
                *([explain_audits(audited)] if audited else []),
            ]
        ),
        corrected=choice.corrected,
        comparisons=choice.comparisons,
        audit=audited.mine.result if audited else None,
        versions=versions(),
        seconds=clock.total(),
        questions=answer(
            [entry.scenario for entry in planned],
            drawn,
        ),
        lower_end=least,
        calibration={
            "validation": validation.calibration,
            "test": None if tested is None else tested.calibration,
        },
    )
    return Study(
        result=result,
        options=options,
        folds=folds,
        planned=planned,
        oof=found_oof,
        test=test,
        unchanged=chosen.unchanged,
        fitted=chosen.fitted,
        validation=validation,
        tested=tested,
        by_patient=by_patient,
        seconds=clock.laps,
        training={key: c.training for key, c in found.items() if c.training is not None},
        audits=audited.audits if audited else {},
        traces=Traces.of(development, image_stats, plain),
    )


def check(table: ImageTable, options: StudyOptions, extractor: Extractor) -> None:
    """Refuse what cannot be planned, before anything is written or read for long.

    Raises
    ------
    ScenarioError, BackboneError
        As `plan`.
    """
    _plan(table, options, extractor, shorter_side(table.development))


def config(table: ImageTable, options: StudyOptions, extractor: Extractor) -> dict[str, object]:
    """What decides a run's numbers, for `config.json`."""
    return {
        "data": table.fingerprint,
        "masks": int((table.masks != "").sum()),
        "engine": extractor.engine,
        "weights": {name: extractor.backbone(name).card.sha256 for name in options.backbones},
        **dataclasses.asdict(options),
    }


# --------------------------------------------------------------------------- the steps


def _plan(
    table: ImageTable, options: StudyOptions, extractor: Extractor, shorter: int
) -> tuple[Planned, ...]:
    return plan(options, extractor, len(table.development), len(table.classes), shorter)


def _read_all(table: ImageTable, planned: Sequence[Planned], extractor: Extractor) -> ImageTable:
    """Read what every scenario needs once, and leave out the images that cannot be read."""
    return readable(table, extractor.prepare(table, *_inputs(planned, extractor)))


def _plain_canvas(planned: Sequence[Planned], extractor: Extractor) -> FeatureSpec:
    """On which every image is looked at: unedited, at the size of the first scenario."""
    return dataclasses.replace(feature_plan_of(planned[0].scenario, extractor).canvas, edits=())


def _folds(
    development: ImageTable, options: StudyOptions, surface: Predictions, extractor: Extractor
) -> tuple[Folds, tuple[Finding, ...]]:
    """The folds that all scenarios share, and what is to be said where the surface was looked at.

    Images are judged in changed views where that was asked for, or where a network is to be trained
    and the surface tells the classes so well that the images as they are could not tell who learned
    it from who learned the subject.
    """
    plain = make_folds(development, options.n_folds, options.seed)
    plain = dataclasses.replace(plain, metric=options.metric)
    trained = bool(set(TRAINED) & set(options.families))
    if options.validate == "plain" or (options.validate == "auto" and not trained):
        return plain, ()
    findings = shortcut_findings(surface)
    (area,) = estimate_all([surface], "auroc")
    if options.validate == "auto" and area.low < TELLING:
        return plain, findings
    extractor.progress.say(
        f"Exposure, sharpness and frame alone tell the classes apart with an AUROC of "
        f"{area.value:.3f}: scenarios are judged on changed views of the images they have not seen."
    )
    return dataclasses.replace(plain, view=judging_view(options.augment, options.seed)), findings


def _within_budget(
    options: StudyOptions,
    planned: Sequence[Planned],
    development: ImageTable,
    extractor: Extractor,
    store: RunStore | None,
    clock: _Clock,
) -> StudyOptions:
    """The options with the training that the budget buys; a resumed run keeps its own."""
    trained = [p.scenario for p in planned if p.scenario.trained]
    if not options.budget or not trained:
        return options
    earlier = store.events("budget") if store is not None else []
    if earlier:
        params = tuple((str(name), str(value)) for name, value in earlier[-1]["params"])
        size, n_folds = int(earlier[-1]["size"]), int(earlier[-1]["folds"])
    else:
        left = (options.budget - clock.total()) / len(trained) - RESERVE
        setup = FinetuneSetup.of(trained[0], development, extractor)
        found = buy(setup, options.n_folds, left)
        params, size, n_folds = found.params, found.size, found.n_folds
        extractor.progress.say(
            f"{options.budget / 60:.0f} minutes buy {found.epochs} epochs in {n_folds} folds"
            f"{f' at {size} pixels' if size else ''} and a search of the depth on {found.rungs} "
            f"images x epochs; about {found.seconds / 60:.0f} minutes for training"
            f"{'' if found.fits else ', more than there are: this is the least'}."
        )
        if store is not None:
            store.event(
                "budget",
                params=params,
                size=size,
                folds=n_folds,
                seconds=round(found.seconds),
                fits=found.fits,
            )
    kept = tuple(one for one in options.training if one[0] not in dict(params))
    return dataclasses.replace(
        options, training=(*kept, *params), training_size=size, n_folds=n_folds
    )


def _inputs(planned: Sequence[Planned], extractor: Extractor) -> list[FeatureSpec]:
    """What the network is asked for by any scenario: codes, or the descriptors to be encoded."""
    found: dict[FeatureSpec, None] = {}
    for entry in planned:
        for scenario in entry.scenario.members or (entry.scenario,):
            feature_plan = feature_plan_of(scenario, extractor)
            if encoder_of(scenario) is None:
                found |= dict.fromkeys(feature_plan.specs)
            else:
                found |= dict.fromkeys(feature_plan.grids.specs)
    return list(found)


def _changed(planned: Sequence[Planned], view: Edit, extractor: Extractor) -> list[FeatureSpec]:
    """What frozen networks are asked for of images in the view that is judged."""
    frozen = [entry for entry in planned if not entry.scenario.trained]
    return [
        dataclasses.replace(spec, edits=(view, *spec.edits)) for spec in _inputs(frozen, extractor)
    ]


def _about_sizes(options: StudyOptions, extractor: Extractor, shorter: int) -> Iterator[Finding]:
    """Say where larger inputs were not tried, or go beyond what the images hold."""
    if not {"multiscale", "vlad"} & set(options.families):
        return
    for name in options.backbones:
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


def _judge(
    planned: Sequence[Planned],
    development: ImageTable,
    folds: Folds,
    extractor: Extractor,
    store: RunStore | None,
) -> dict[str, CrossFitted]:
    """Every scenario out of fold, and its refit on all development images, by key."""
    found = {}
    scenarios = [entry.scenario for entry in planned]
    with extractor.progress.task("Judging scenarios out of fold", len(planned)) as advance:
        for judged in cross_fitted_all(scenarios, development, folds, extractor):
            key = judged.predictions.scenario
            found[key] = judged
            if store is not None:
                store.event("scenario judged", key=key, seconds=round(judged.seconds, 3))
            advance(1)
    return {scenario.key: found[scenario.key] for scenario in scenarios}


def _estimates(oof: Sequence[Predictions], metric: str, folds: Folds) -> dict[str, Estimate]:
    """The metric of every scenario by key; it says where images were judged changed."""
    found = dict(zip([p.scenario for p in oof], estimate_all(oof, metric), strict=True))
    if folds.view is None:
        return found
    return {
        key: dataclasses.replace(one, method=f"{one.method}; images in changed views")
        for key, one in found.items()
    }


def _look_at_test(
    test_table: ImageTable,
    found: Mapping[str, CrossFitted],
    choice: Recommendation,
    metric: str,
    chosen: CrossFitted,
) -> tuple[dict[str, Predictions], Evaluation | None, Evaluation | None, dict[str, Estimate]]:
    """The one pass over the test split: the metric of every scenario, all metrics of the chosen.

    Its results by patient are out of fold where there is no test split.
    """
    if not len(test_table):
        return {}, None, evaluate_by_group(chosen.unchanged), {}
    test = {key: cross.fitted.predict(test_table)[0] for key, cross in found.items()}
    thresholds = {key: cross.fitted.operating for key, cross in found.items()}
    estimates = estimate_all(list(test.values()), metric, thresholds)
    mine = test[choice.recommended]
    tested = evaluate(mine, chosen.fitted.operating)
    by_patient = evaluate_by_group(mine, chosen.fitted.operating)
    return test, tested, by_patient, dict(zip(test, estimates, strict=True))


def _profile(
    table: ImageTable,
    oof: Predictions,
    image_stats: ImageStats,
    planned: Sequence[Planned],
    extractor: Extractor,
    seed: int,
) -> tuple[Finding, ...]:
    """The data checks, with codes and out-of-fold predictions of the recommended scenario."""
    scenario = scenario_of(planned, oof.scenario)
    (first, *_) = scenario.members or (scenario,)
    tap = {"finetune": last_map(extractor.backbone(first.backbone)).name, "hybrid": PRETRAINED}
    where = tap.get(first.family, first.tap)  # of a trained network, as it was before
    pixels = Preprocessing(resize=first.pixels.resize)
    plain = Scenario(first.backbone, where, Head("svm"), pixels)
    codes, _ = extractor.codes(table, feature_plan_of(plain, extractor).canvas)
    return examine(table, ProfileInputs(codes, image_stats, oof), seed=seed).findings


def _results(
    planned: Sequence[Planned],
    found: Mapping[str, CrossFitted],
    validation: Mapping[str, Mapping[str, Estimate]],
    test: Mapping[str, Mapping[str, Estimate]],
) -> tuple[ScenarioResult, ...]:
    """One line a scenario, simplest first."""
    return tuple(
        ScenarioResult(
            key=entry.scenario.key,
            family=entry.scenario.family,
            backbone=entry.scenario.backbone,
            seconds=found[entry.scenario.key].seconds,
            cost=entry.cost,
            validation=validation[entry.scenario.key],
            test=test.get(entry.scenario.key),
            operating=found[entry.scenario.key].fitted.operating,
        )
        for entry in planned
    )


def _with_all(
    estimates: Mapping[str, Estimate],
    metric: str,
    choice: Recommendation,
    evaluation: Evaluation | None,
) -> dict[str, Mapping[str, Estimate]]:
    """The metric of every scenario, and every other metric of the recommended one."""
    found: dict[str, Mapping[str, Estimate]] = {
        key: {metric: estimate} for key, estimate in estimates.items()
    }
    if evaluation is not None:
        own = found[choice.recommended]
        found[choice.recommended] = {**evaluation.estimates, **own}
    return found


def _by_tap(
    planned: Sequence[Planned], estimates: Mapping[str, Estimate], choice: Recommendation
) -> list[tuple[str, float]]:
    """(tap, value) from shallow to deep, of the plain probes of the recommended backbone and head.

    Of the first head, where the recommended scenario's is not one of the probes'.
    """
    mine = scenario_of(planned, choice.recommended)
    plain = [
        p.scenario
        for p in planned
        if (p.scenario.family, p.scenario.backbone) == ("probe", mine.backbone)
        and not (p.scenario.pixels.edits or p.scenario.pixels.views or p.scenario.tap == STAGES)
        and p.scenario.code == Pooled()
    ]
    heads = {scenario.head for scenario in plain}
    head = mine.head if mine.head in heads else next(iter(sorted(heads)), "")
    return [(s.tap, estimates[s.key].value) for s in plain if s.head == head]


def versions() -> dict[str, str]:
    """The versions that numbers depend on."""
    names = ("medgraft", "torch", "timm", "openvino", "numpy", "scikit-learn", "simplejpeg")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **found}


class _Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.began = self.last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self.last
        self.last = now

    def total(self) -> float:
        return time.perf_counter() - self.began
