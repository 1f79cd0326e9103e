"""The part 'What training added': did it pay, how it went epoch by epoch, and from which layer.

`section` is for the page, `lines` for the terminal; both say the same with the same words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medgraft.evaluate.metrics import METRICS
from medgraft.report.charts import training_curves
from medgraft.report.charts.training_curves import Histories
from medgraft.report.text import formatting
from medgraft.report.text.scenario_names import (
    OF_TWO_SCALES,
    depths_in_words,
    settings,
    short_names,
)
from medgraft.results.figures import Comparison
from medgraft.results.recommendation import Question, StudyResult
from medgraft.results.study import ReportInput
from medgraft.results.training import (
    AUROC,
    DEPLOYED,
    LOSS,
    DepthSearch,
    DepthTrial,
    Epoch,
    Gap,
    TrainedScenario,
    best_epoch,
)
from medgraft.scenario import TRAINED, Finetune
from medgraft.studies.questions import LEVEL
from medgraft.types import Estimate, Scenario

CHANGED = (
    "Out of fold, every scenario was judged on images it had not seen, moved, enlarged and lit a "
    "little differently, so that one that goes by sharpness, exposure or frame instead of the "
    "subject fails, as it would in another hospital. Scenarios are compared by that; "
    "probabilities, the threshold and the figures that go with them are of images as they are."
)
CHANGED_SHORT = (
    "Out of fold was judged on changed views of the images (moved, enlarged, lit differently): "
    "expect somewhat better figures on new images of the same source."
)
WHO = {"finetune": "Training the network again", "hybrid": "The hybrid network"}


def section(content: ReportInput) -> dict[str, object]:
    """What the template shows; nothing of it where no network was trained."""
    _, names = short_names(content.scenarios)
    described = {scenario.key: scenario for scenario in content.scenarios}
    return {
        "shift": CHANGED if content.changed else "",
        "shift_first": CHANGED_SHORT if content.changed and content.test_evaluation is None else "",
        "paid": earned(content.result, names) if content.trainings else [],
        "trainings": [
            _shown(one, described[one.key], names[one.key], i)
            for i, one in enumerate(content.trainings)
        ],
    }


def _shown(one: TrainedScenario, scenario: Scenario, name: str, i: int) -> dict[str, object]:
    runs, search, depths = one.log.held_out, one.log.search, depths_in_words(one.depths)
    return {
        "name": formatting.capitalised(name),
        "from": _from(one, scenario, depths),
        "history": runs
        and {
            "wide": training_curves.history(f"history-{i}-wide", runs),
            "narrow": training_curves.history(f"history-{i}-narrow", runs, narrow=True),
            "caption": _caption(runs, scenario),
        },
        "gap": gap_sentence(one.gap) if one.gap else "",
        "unmoved": _unmoved(runs),
        "deployed": _deployed(one.log.histories, scenario),
        "runs": [_run(label, run) for label, run in runs.items()],
        "depth": search
        and {
            "wide": training_curves.depth_curve(f"trained-from-{i}-wide", search),
            "narrow": training_curves.depth_curve(f"trained-from-{i}-narrow", search, narrow=True),
            "caption": _depth_caption(search),
            "sentence": depth_sentence(search, depths),
            "metric": search.metric,
            "rounds": _rounds(search),
            "rows": _rows(search, depths),
        },
    }


def _from(one: TrainedScenario, scenario: Scenario, depths: Mapping[str, str]) -> str:
    """From where the network was trained, who said so, and what it was shown."""
    who = "which the depth search below chose" if one.log.search is not None else "as was asked for"
    text = f"Trained from {one.log.depth} on ({depths[one.log.depth]}), {who}"
    if scenario.pixels.views:
        text += f", on images changed otherwise every time ({scenario.pixels.views.preset})"
    given = settings(scenario)
    return f"{text}. Told otherwise than usual: {given}." if given else f"{text}."


# --------------------------------------------------------------------------- did it pay


def earned(result: StudyResult, names: Mapping[str, str]) -> list[str]:
    """A sentence for each trained family: did it earn its place against the best frozen codes?"""
    family_of = {row.key: row.family for row in result.scenarios}
    found = []
    for family in dict.fromkeys(row.family for row in result.scenarios):
        if family not in TRAINED:
            continue
        asked = [
            one
            for one in result.questions
            if family_of.get(one.comparison.a) == family
            and family_of.get(one.comparison.b) == "probe"
        ]
        found += [_earned(one, WHO[family], result.metric, names) for one in asked]
        if not asked:
            found.append(
                f"{WHO[family]} was compared with no probe of a frozen network, so whether it "
                "pays is not known here; add probe to --families."
            )
    chosen = family_of.get(result.recommended, "")
    if chosen in TRAINED:
        found.append("The scenario that is recommended is a trained one.")
    elif set(family_of.values()) - set(TRAINED):
        found.append("The scenario that is recommended leaves the network frozen.")
    return found


def _earned(one: Question, who: str, metric: str, names: Mapping[str, str]) -> str:
    found = one.comparison
    verdict = {
        "better": "earned its place",
        "worse": "did harm",
        "no difference seen": "did not earn its place",
    }[one.answer]
    text = (
        f"{who} {verdict} here: {_gap(metric, found)} for its best scenario ({names[found.a]}) "
        f"against the best probe of a frozen network ({names[found.b]}), on the same images out of "
        "fold"
    )
    if one.answer == "no difference seen":
        text += ". No difference was seen, and a frozen network is the simpler one"
    return f"{text}."


def _gap(metric: str, found: Comparison) -> str:
    return (
        f"{formatting.difference(metric, found.difference)} in {formatting.name_metric(metric)} "
        f"(paired 95 % interval {formatting.between(metric, found)}; "
        f"{formatting.p_value(found.p)}, corrected)"
    )


# --------------------------------------------------------------------------- epoch by epoch


def gap_sentence(found: Gap) -> str:
    """How much the network knows by heart, in numbers."""
    text = (
        f"At the kept epoch the log loss is {formatting.number(found.learned)} on images that were "
        f"learned from and {formatting.number(found.held)} on images held out"
    )
    if found.loss[0] <= 0:
        return f"{text}: no overfitting is seen there."
    text += f". The difference of {_spread(found.loss)} is overfitting"
    if np.isfinite(found.auroc[0]):
        text += f"; in AUROC it is {_spread(found.auroc)}"
    if found.last[0] > found.loss[0]:
        text += f". At the last epoch it was {_spread(found.last)} in log loss"
    return f"{text}."


def _spread(found: tuple[float, float, float]) -> str:
    """A mean, and from where to where the runs lie where there are several."""
    mean, least, most = map(formatting.number, found)
    return mean if least == most else f"{mean} ({least} to {most} by run)"


def _caption(runs: Histories, scenario: Scenario) -> str:
    several = len(runs) > 1
    decides = scenario.classifier
    began = (
        "with a head fitted to its frozen codes"
        if isinstance(decides, Finetune) and decides.recipe.probe
        else "with a head that knows nothing"
    )
    keeps_last = isinstance(decides, Finetune) and decides.recipe.keep == "last"
    kept = "the last" if keeps_last else "the best by the log loss of images held out"
    return (
        ("Thin lines are the folds, thick ones their mean as long as all train. " * several)
        + "Blue: images held out; orange, dashed: images learned from, seen as they are; shaded, "
        f"the gap between the two, which is overfitting. Rings: the epoch whose weights were kept, "
        f"{kept}. Epoch 0 is the network before training, {began}."
    )


def _unmoved(runs: Histories) -> str:
    """Say where no epoch of training was better than none."""
    n = sum(best_epoch(run) == 0 for run in runs.values())
    if not n:
        return ""
    where = "Here" if len(runs) == 1 else f"In {n} of {len(runs)} folds"
    return f"{where} no epoch was better than the network before training."


def _deployed(runs: Histories, scenario: Scenario) -> str:
    """What is used, and at what cost an image beside the mean of the folds' networks."""
    run = runs.get(DEPLOYED, ())
    trained = scenario.classifier
    differs = isinstance(trained, Finetune) and trained.recipe.differ == "scale"
    if not run and len(runs) > 1:
        return (
            f"What is deployed is the mean of the scores of these {len(runs)} networks"
            f"{OF_TWO_SCALES if differs else ''}: what one learned by chance, the others outvote. "
            f"No further network was trained. An image costs {len(runs)} passes, with --training "
            "deploy=distilled one."
        )
    if len(runs) <= 1:
        return ""
    epochs = formatting.plural(len(run) - 1, "epoch")
    if (
        isinstance(scenario.classifier, Finetune)
        and scenario.classifier.recipe.deploy == "distilled"
    ):
        return (
            f"The network that is deployed was trained on all development images, for {epochs}, "
            "half on their labels and half on what the networks of the folds said of images they "
            "had not learned from (distillation). It answers in one pass an image, where the mean "
            f"of those {len(runs) - 1} networks takes {len(runs) - 1}. Figures out of fold are of "
            "the networks of the folds."
        )
    return (
        f"The network that is deployed was trained once more on all development images, for "
        f"{epochs}, about the mean kept epoch of the folds; nothing was held out from it."
    )


def _run(label: str, history: Sequence[Epoch]) -> dict[str, object]:
    kept, last = history[best_epoch(history)], history[-1]
    return {
        "name": label,
        "best": kept.number,
        "epochs": last.number,
        "loss": (kept.train[LOSS], kept.holdout[LOSS]),
        "auroc": (kept.train[AUROC], kept.holdout[AUROC]),
        "seconds": sum(epoch.seconds for epoch in history),
        "stopped": last.stopped,
    }


# --------------------------------------------------------------------------- from which layer


def depth_sentence(search: DepthSearch, depths: Mapping[str, str]) -> str:
    """The chosen depth, its margin over the next, and how sure that is."""
    tried = formatting.plural(len(search.curve), "depth was", "depths were")
    text = (
        f"{tried} tried, the better half going on with more images and epochs, and judged on "
        f"{formatting.plural(search.holdout, 'image')} held out. {_sure(search, depths)}"
        f"{_gained(search)}"
    )
    return formatting.sentence(text)


def _sure(search: DepthSearch, depths: Mapping[str, str]) -> str:
    named = f"{search.chosen} ({depths[search.chosen]})"
    if not search.comparisons:
        return f"Chosen was {named}, with nothing left to compare it with."
    sign = METRICS[search.metric].sign
    nearest = min(search.comparisons, key=lambda one: sign * one.difference)
    sure = (
        "that is more than chance explains"
        if nearest.p < LEVEL and sign * nearest.difference > 0
        else "these images cannot tell the two apart"
    )
    return (
        f"Chosen was {named}, in the last round before {nearest.b} ({depths[nearest.b]}) by "
        f"{_gap(search.metric, nearest)}: {sure}."
    )


def _gained(search: DepthSearch) -> str:
    """Whether training gained anything over a linear head on the frozen network."""
    gain = search.gain
    if gain is None:
        return ""
    sure = "surely so" if gain.p < LEVEL else "which these images do not settle"
    return (
        f" Against a linear head on the frozen network, of the same images, training from there "
        f"differs by {_gap(search.metric, gain)}, its having been chosen discounted: {sure}."
    )


def _depth_caption(search: DepthSearch) -> str:
    last = max(trial.rung for trial in search.trials)
    text = (
        "Each point is the network trained from that layer on, the line its 95 % interval. Round "
        "1 shows all depths under the same conditions"
    )
    text += f"; it is round {last + 1} that chose (ringed)." if last else "; the chosen is ringed."
    return text


def _rounds(search: DepthSearch) -> list[str]:
    """What each round learned from."""
    first = {trial.rung: trial for trial in reversed(search.trials)}
    return [
        f"{formatting.plural(one.images, 'image')}, {formatting.plural(one.epochs, 'epoch')}"
        for _, one in sorted(first.items())
    ]


def _rows(search: DepthSearch, depths: Mapping[str, str]) -> list[dict[str, object]]:
    """One line a depth, from the image to the deepest."""
    rungs = sorted({trial.rung for trial in search.trials})
    by = {(trial.depth, trial.rung): trial for trial in search.trials}

    def cell(trial: DepthTrial | None) -> Estimate | None:
        return None if trial is None else trial.estimate

    return [
        {
            "words": formatting.sentence(depths[one.depth]).removesuffix("."),
            "depth": one.depth,
            "chosen": one.depth == search.chosen,
            "cells": [cell(by.get((one.depth, rung))) for rung in rungs],
            "seconds": sum(trial.seconds for trial in search.trials if trial.depth == one.depth),
        }
        for one in search.curve
    ]


# --------------------------------------------------------------------------- in the terminal


def lines(
    trainings: Sequence[TrainedScenario], names: Mapping[str, str], *, changed: bool
) -> list[str]:
    """The same for the terminal: a line or two a trained scenario, and one for changed views."""
    found = []
    for one in trainings:
        text = f"{names.get(one.key, one.key)}: trained from {one.log.depth} on"
        depths = depths_in_words(one.depths)
        text += f" ({depths[one.log.depth]})"
        if one.gap is not None:
            best = np.mean([best_epoch(run) for run in one.log.held_out.values()])
            spread = _spread(one.gap.loss)
            text += f"; kept epoch {best:.1f} on average, overfitting {spread} in log loss"
        found.append(formatting.sentence(text))
        if one.log.search is not None:
            found.append(f"Depth: {_sure(one.log.search, depths)}")
    return [*found, *([CHANGED_SHORT] if changed else [])]
