"""The part 'How good, exactly': counts, figures with intervals, curves, and calibration."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medgraft.report.charts import plots
from medgraft.report.charts.decision import decision as draw_decision
from medgraft.report.text import calibration, decision, formatting
from medgraft.results.curves import Curve, Curves
from medgraft.results.figures import Evaluation, Wish
from medgraft.types import Estimate

PATIENT = "By patient or group"
BY_PATIENT = "By patient or group: one answer for each, the mean of its images' probabilities."
ENOUGH_FOUND = 10  # images found below which precision has no band
ENOUGH_IN_BIN = 5  # images a point of the reliability plot must hold


@dataclass(frozen=True, eq=False)
class Judged:
    """What the part 'How good, exactly' is about, on the page of a study and of an evaluation.

    sentence : which model on which images. columns : the evaluations shown side by side by their
    titles; `evaluation` is the first of them, and `curves` are of the same predictions.
    wishes : thresholds for a wanted sensitivity or specificity, held on them too.
    """

    curves: Curves
    evaluation: Evaluation
    sentence: str
    columns: Mapping[str, Evaluation]
    wishes: tuple[Wish, ...] = ()


def section(judged: Judged) -> dict[str, object]:
    """What the template shows of one classifier's predictions."""
    evaluation = judged.evaluation
    drawn, sentence = _curves(judged)
    return {
        "judged": evaluation,
        "judged_sentence": judged.sentence,
        "confusion": _confusion(evaluation),
        "point_sentence": _point_sentence(evaluation),
        "columns": [_column(title, one) for title, one in judged.columns.items()],
        "metrics": _metrics(evaluation),
        "methods": _methods(evaluation),
        "wishes": [
            (decision.wish(one), one, "" if one.threshold is not None else decision.unmet(one))
            for one in judged.wishes
        ],
        "by_patient_note": _by_patient(judged.columns.get(PATIENT)),
        "curves": drawn,
        "curves_sentence": sentence,
        "reliability": _reliability(judged),
        "calibrated": calibration.sentence(evaluation),
    }


def _by_patient(evaluation: Evaluation | None) -> str:
    if evaluation is None or evaluation.operating is None:
        return BY_PATIENT if evaluation else ""
    threshold = formatting.number(evaluation.operating.threshold)
    return f"{BY_PATIENT} It is called {evaluation.positive} when that mean reaches {threshold}."


def _column(title: str, evaluation: Evaluation) -> dict[str, object]:
    n = f"n = {formatting.count(evaluation.n_images)}"
    return {"title": title, "n": n, "figures": calibration.figures(evaluation)}


def _metrics(evaluation: Evaluation) -> list[str]:
    names = calibration.figures(evaluation)
    known = [name for name in formatting.METRIC_WORDS if name in names]
    return known + [name for name in names if name not in formatting.METRIC_WORDS]


def _methods(evaluation: Evaluation) -> list[str]:
    """How the intervals were got, each way once with the figures it was used for."""
    used: dict[str, list[str]] = {}
    estimates = calibration.figures(evaluation)
    for name in _metrics(evaluation):
        method = re.sub(r" over \d+ groups", " over groups", estimates[name].method)
        used.setdefault(method, []).append(formatting.name_metric(name))
    return [f"{method}: {formatting.join(names)}." for method, names in used.items()]


def _confusion(judged: Evaluation) -> dict[str, object]:
    totals = judged.confusion.sum(axis=1)
    rows = []
    for i, name in enumerate(judged.classes):
        shares = judged.confusion[i] / max(int(totals[i]), 1)
        cells = [
            {
                "n": int(n),
                "share": float(share) if totals[i] else None,
                "tint": f"{share:.2f}",
                "right": i == j,
            }
            for j, (n, share) in enumerate(zip(judged.confusion[i], shares, strict=True))
        ]
        rows.append({"name": name, "cells": cells, "total": int(totals[i])})
    found = [
        f"{formatting.percent(judged.confusion[i, i] / totals[i])} of {name}"
        for i, name in enumerate(judged.classes)
        if totals[i]
    ]
    caption = "Counts, and in each row the share of that class."
    if 0 < len(found) <= 4:
        caption += f" Found: {formatting.join(found)}."
    return {"rows": rows, "caption": caption}


ADAPTED = "unlabelled images"  # in the rule of a threshold that `medgraft adapt` has set


def _point_sentence(judged: Evaluation) -> str:
    operating = judged.operating
    if judged.positive is None:
        return "Each image is given its most probable class."
    if operating is None:
        return "Each image is labelled by a threshold that was chosen on the other folds."
    chosen = "The study chose that threshold on out-of-fold predictions of its development images"
    if ADAPTED in operating.rule:
        chosen = "That threshold was set at another place, on images without labels"
    return formatting.sentence(
        f"An image is called {judged.positive} when its probability reaches "
        f"{formatting.number(operating.threshold)}. {chosen}, by this rule: {operating.rule}"
    )


def _curves(content: Judged) -> tuple[list[dict[str, object]], str]:
    """ROC and precision-recall; for more than two classes one ROC curve each, against the rest."""
    judged, curves = content.evaluation, content.curves
    binary = judged.positive is not None and len(judged.classes) == 2
    drawn: list[dict[str, object]] = []
    for i, (name, curve) in enumerate(curves.roc.items()):
        if curve is None:
            continue
        estimates = judged.estimates if binary else {}
        svg = plots.roc(f"roc-{i}", curve, name, _point(estimates, "specificity", "sensitivity"))
        title = "ROC" if binary else name
        drawn.append({"title": title, "svg": svg, "caption": _roc_caption(judged, binary)})
        if curves.precision_recall is not None:
            drawn.append(_precision_recall(judged, name, curves.precision_recall))
        if curves.decision is not None:
            svg = draw_decision("decision", curves.decision, name)
            text = decision.caption(curves.decision)
            drawn.append({"title": "Is acting by it worth it?", "svg": svg, "caption": text})
    sentence = "The band is the 95 % interval at each place; the dashed line is guessing."
    if not binary:
        sentence = f"One class against the rest, ROC curves. {sentence}"
    if not binary and len(curves.roc) < len(judged.classes):
        sentence += f" Only the first {len(curves.roc)} of {len(judged.classes)} classes are drawn."
    if absent := [name for name, curve in curves.roc.items() if curve is None]:
        sentence += (
            f" {formatting.MISSING.capitalize()}: {formatting.join(absent)}, for lack of images."
        )
    return drawn, sentence


def _roc_caption(judged: Evaluation, binary: bool) -> str:
    if not binary:
        return ""
    area = judged.estimates.get("auroc")
    figure = formatting.MISSING if area is None else formatting.value("auroc", area.value)
    return f"AUROC {figure}. The closer to the upper left, the better."


def _precision_recall(judged: Evaluation, name: str, curve: Curve) -> dict[str, object]:
    n_positive = int(judged.confusion[judged.classes.index(name)].sum())
    share = n_positive / judged.n_images
    point = _point(judged.estimates, "sensitivity", "ppv")
    few = curve.grid * n_positive < ENOUGH_FOUND  # a band on so few would say only that
    curve = dataclasses.replace(
        curve, low=np.where(few, np.nan, curve.low), high=np.where(few, np.nan, curve.high)
    )
    area = judged.estimates.get("auprc")
    figure = formatting.MISSING if area is None else formatting.value("auprc", area.value)
    svg = plots.precision_recall("pr", curve, name, point, share)
    caption = (
        f"AUPRC {figure}; guessing gives {formatting.number(share)}, the share of {name} here. No "
        f"band is drawn where fewer than {ENOUGH_FOUND} images are found."
    )
    return {"title": "Precision and recall", "svg": svg, "caption": caption}


def _point(estimates: Mapping[str, Estimate], x: str, y: str) -> tuple[float, float] | None:
    if x not in estimates or y not in estimates:
        return None
    across = estimates[x].value
    point = (1 - across if x == "specificity" else across, estimates[y].value)
    return point if np.isfinite(point).all() else None


def _reliability(content: Judged) -> dict[str, object] | None:
    bins, judged = content.curves.reliability, content.evaluation
    if not bins or judged.n_images < ENOUGH_IN_BIN * len(bins):
        return None
    binary = judged.positive is not None and len(judged.classes) == 2
    what = judged.positive if binary and judged.positive else "the class given"
    caption = (
        f"Each point holds about {formatting.plural(bins[0].observed.n, 'image')}, the line its 95 "
        "% interval; on the dashed line a probability means what it says."
    )
    found = judged.calibration
    if found is not None and calibration.is_refuted(found):  # else the furthest is so by chance
        gaps = [one.observed.value - one.predicted for one in bins]
        worst = bins[int(np.argmax(np.abs(gaps)))]
        caption += (
            f" Furthest off: of the images given about {formatting.percent(worst.predicted)}, "
            f"{formatting.percent(worst.observed.value)} "
            f"{f'were {what}' if binary else 'were called right'}."
        )
    fitted = found if binary and found is not None and found.curve is not None else None
    if fitted is not None:
        caption += " The curve is what slope and intercept make of them."
    return {"svg": plots.reliability("kept", bins, what, fitted), "caption": caption}
