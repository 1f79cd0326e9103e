"""The page of what holds under shift: docs/results/shift.md, a function a section.

`make results-shift` measures what the committed files of results lack and writes the page anew;
`python experiments/shift_page.py` only writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from page import difference, figure, lines, read_cells
from shift.effects import cells
from shift.effects_section import effects, elsewhere, views
from shift.start_section import start

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
PAGE = ROOT / "docs" / "results" / "shift.md"
PLAIN = "plain folds"
CHEST = "chest_xray"
CELLS = 5  # of the ranking
GAINS = ("gain", "saved")
THRESHOLD_CELLS = 188
ELSEWHERE_CELLS = 12
DISTILL_CELLS = 6
CALIBRATORS = {"one": "", "own": "; own", "mean": "; mean", "answers": "; answers"}
LOOKED_AT = ("log loss", "slope")
START_CELLS = 7
RULE_HEAD = (
    "rule", "accuracy", "against steady", "worst", "surely better, worse",
    "balanced accuracy", "against steady", "worst", "surely better, worse",
)  # fmt: skip
EXPECTED = {
    "out_of_fold": "accuracy as out of fold",
    "atc": "accuracy by ATC",
    "doc": "accuracy by DoC",
}

Row = dict[str, Any]


def write_page() -> None:
    """Write the page from what has been measured by now."""
    text = [
        "# What holds under shift",
        "",
        "Written by `make results-shift`; do not edit. Everything here is measured on development "
        "images; no official test split was looked at.",
        "",
        *_effects(),
        *elsewhere(read_cells(RESULTS / "effects_elsewhere.jsonl"), ELSEWHERE_CELLS),
        *views(_json("judging_view.json")),
        *start(read_cells(RESULTS / "start.jsonl"), START_CELLS),
        *ranking(read_cells(RESULTS / "ranking.jsonl")),
        *thresholds(read_cells(RESULTS / "thresholds.jsonl")),
        *distilled(read_cells(RESULTS / "distill.jsonl")),
    ]
    PAGE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


def _effects() -> list[str]:
    return effects(
        [*read_cells(RESULTS / "effects.jsonl"), *read_cells(RESULTS / "plain_loop.jsonl")],
        _json("effects_design.json"),
        len(cells()) + 1,
    )


def _json(name: str) -> dict[str, Any]:
    known = RESULTS / name
    return dict(json.loads(known.read_text(encoding="utf-8"))) if known.is_file() else {}


# --------------------------------------------------------------------------- ranking


def ranking(cells: Sequence[Row]) -> list[str]:
    """Which way to judge ranks scenarios as a second source does."""
    if not cells:
        return []
    rows = [
        [cell["cell"], way, str(one["seconds"]), *(figure(one[key], 2) for key in ("rho", "gain")),
         *(figure(one[key], 4) for key in ("regret", "saved"))]
        for cell in cells
        for way, one in cell["mean"].items()
    ]  # fmt: skip
    return [
        "## Which way to judge ranks scenarios as a second source does",
        "",
        f"{len(cells)} of {CELLS} cells done. Thirty frozen scenarios (ten taps of the default "
        "network under a linear SVM and a logistic regression, 128 pixels with and without CLAHE, "
        "kNN, VLAD) learn from a first source, and are judged there in several ways and at second "
        "sources that nothing was chosen by. *Second sources*: the same X-rays processed by others "
        "(`chest_xray_aspect256`, `chest_xray_originals`; their patients are left out of the "
        "first), endoscopy with the inset taken out, and five shifts planted into images of "
        "patients left out (a film's curve, light that falls off, Gaussian blur, JPEG of quality "
        "10, an octagonal frame). A view is never compared on a shift of its own type. *One "
        "changed view* is that of decision 0012. *Several views*: histogram equalised, sharpened, "
        "eight grey levels, warped, speckled; no training view does these. *Kinds*: the sharpest "
        "tenth of each class, one cluster each of exposure, frame and colour, and of chest_xray "
        "either germ, each judged by models that learned without it; a kind needs ten groups of "
        f"every class. Kinds were: {_kinds(cells)}.",
        "",
        "*Rank correlation*: Spearman's, of the AUROC of the thirty by this way with that at the "
        "second source, the mean over the second sources of a set. *Against plain*: minus that of "
        "plain folds on the same second sources. *Lost*: AUROC at the second source of the best of "
        "the thirty minus that of the one picked. *Saved*: what plain folds lose beyond that. 95 % "
        "intervals over resampled groups, of both sources; resampling adds noise, so that "
        "correlations lie in the upper part of their intervals or above, alike for every way.",
        "",
        *lines(
            ["first source", "judged by", "second sources", "rank correlation", "against plain",
             "lost", "saved"],
            rows,
        ),
        "Over data sets, mean and 95 % t interval of what is gained: what another set would show. "
        f"{_sure(cells)}",
        "",
        *lines(["judged by", "sets", "rank correlation against plain", "AUROC saved"],
               _over_sets(cells)),
        *_five_folds(),
        "By second source:",
        "",
        *lines(
            ["first source", "second", "images", "best", "spread of the thirty",
             *(way for way in _ways(cells))],
            _by_second(cells),
        ),
    ]  # fmt: skip


def _five_folds() -> list[str]:
    """The run that was cut for time, after its first cell had been seen."""
    (cell,) = read_cells(RESULTS / "ranking_five_folds.jsonl")
    gains = ", ".join(f"{way} {figure(one['gain'], 2)}" for way, one in cell["mean"].items())
    return [
        f"The first cell, {cell['cell']}, was run once before, in five folds instead of three; "
        "then folds and images were cut for time and one way to judge was added. Its correlations "
        f"against plain folds ({figure(cell['mean'][PLAIN]['rho'], 2)}) were: {gains}. How folds "
        "are dealt moves them as much as the ways to judge do, and no interval here covers that.",
        "",
    ]


def _ways(cells: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(way for cell in cells for way in cell["mean"]))


def _over_sets(cells: Sequence[Row]) -> list[list[str]]:
    found = []
    for way in _ways(cells):
        if way == PLAIN:
            continue
        mine = [cell["mean"][way] for cell in cells if way in cell["mean"]]
        gain, saved = (_t_interval([one[key]["value"] for one in mine]) for key in GAINS)
        found.append([way, str(len(mine)), figure(gain, 2), figure(saved, 4)])
    return found


def _kinds(cells: Sequence[Row]) -> str:
    """What was held out of each set."""
    named = (
        (cell["cell"], ", ".join(kind.removeprefix("kind ") for kind in cell["kinds"]))
        for cell in cells
    )
    return "; ".join(f"{cell}: {kinds or 'none'}" for cell, kinds in named)


def _sure(cells: Sequence[Row]) -> str:
    """Which ways are surely better than plain folds, and which surely worse, over data sets."""
    found: dict[str, list[str]] = {"better": [], "worse": []}
    for way in _ways(cells):
        mine = [cell["mean"][way]["gain"]["value"] for cell in cells if way in cell["mean"]]
        one = _t_interval(mine)
        if way != PLAIN and one["low"] > 0:
            found["better"].append(way)
        if way != PLAIN and one["high"] < 0:
            found["worse"].append(way)
    return " ".join(
        f"Surely {word} in rank correlation than plain folds: {'; '.join(ways) or 'none'}."
        for word, ways in found.items()
    )


def _t_interval(values: Sequence[float]) -> Mapping[str, float]:
    mean, n = float(np.mean(values)), len(values)
    half = float(stats.t.isf(0.025, n - 1) * np.std(values, ddof=1) / n**0.5) if n > 1 else np.nan
    return {"value": mean, "low": mean - half, "high": mean + half}


def _by_second(cells: Sequence[Row]) -> list[list[str]]:
    return [
        [
            cell["cell"],
            pair["second"],
            f"{pair['images']:,}",
            f"{pair['best']:.3f}",
            f"{pair['spread']:.3f}",
            *(
                f"{pair['ways'][way]['rho']['value']:.2f}" if way in pair["ways"] else ""
                for way in _ways(cells)
            ),
        ]
        for cell in cells
        for pair in cell["pairs"]
    ]


# --------------------------------------------------------------------------- one of many


def distilled(cells: Sequence[Row]) -> list[str]:
    """What one network keeps of the mean of many, by what it learned, and what calibrates it."""
    if not cells:
        return []
    text = [
        "## One network that answers as the mean of many",
        "",
        f"{len(cells)} of {DISTILL_CELLS} cells done. About 1,000 development images a set; each "
        "third is held out once (whole groups), the others are studied in five folds: lite0 from "
        "`blocks.4` on, 128 px, strong views. *Mean of the networks*: the five of the folds, as "
        "deployed by default. The others are one network each, trained on all images studied. "
        "*Labels, epochs of the folds*: as `deploy=once`, which ends at the folds' mean best "
        "epoch; all others run the whole schedule. *All*: it learns the probabilities of the mean "
        "of all five (Hinton et al. 2015), *out of fold*: of those alone that have not learned "
        "from the image, of the image *as it is* or in *the view* that is learned from; *and "
        "label*: half of each. Pooled over the thirds, differences paired, 95 % intervals. "
        "*Changed*: in the view of decision 0012.",
        "",
    ]
    for cell in cells:
        ways = cell["ways"]
        if cell["cell"].endswith(", in use"):
            text += [f"**{cell['cell']}**: as a study deploys them, of images held out.", ""]
            text += lines(
                ["deployed", "AUROC", "against the mean", "log loss", "against the mean", "slope"],
                [_in_use(way, one) for way, one in ways.items()],
            )
            continue
        alone = [way for way in ways if "; " not in way]
        text += [f"**{cell['cell']}** ({cell['images']:,} images, {cell['groups']:,} groups)", ""]
        text += lines(
            ["learned", "AUROC", "against labels", "against the mean", "changed", "against labels",
             "against the mean"],
            [_ranked(way, ways[way]) for way in alone],
        )  # fmt: skip
        text += [
            "Log loss and slope (below 1: too extreme) of images held out, as they are, under the "
            "calibrator of one network of the folds (of the mean: its own), of the network's own "
            "scores of the images that it learned from, of the mean, and of the network's own "
            "scores fitted to the probabilities given out of fold:",
            "",
            *lines(
                ["learned", *(f"{what}, {name}" for name in CALIBRATORS for what in LOOKED_AT)],
                [_calibrated(way, ways) for way in alone],
            ),
        ]
    return text


def _ranked(way: str, one: Mapping[str, Any]) -> list[str]:
    row = [way]
    for found in (one["auroc as they are"], one["auroc changed"]):
        row.append(f"{found['metric']:.4f}")
        for gain in (found["one"], found["mean"]):
            same = gain["low"] == gain["high"] == 0
            row.append("" if same else difference({**gain, "difference": gain["value"]}))
    return row


def _in_use(way: str, one: Mapping[str, Any]) -> list[str]:
    row = [way]
    for metric in ("auroc", "log_loss"):
        gain = one[metric]["mean"]
        same = gain["low"] == gain["high"] == 0
        shown = "" if same else difference({**gain, "difference": gain["value"]})
        row += [f"{one[metric]['metric']:.4f}", shown]
    return [*row, "" if one["slope"] is None else figure(one["slope"], 2)]


def _calibrated(way: str, ways: Mapping[str, Any]) -> list[str]:
    row = [way]
    for ending in CALIBRATORS.values():
        one = ways.get(way + ending)
        if one is None:
            row += ["", ""]
            continue
        row += [f"{one['log_loss as they are']['metric']:.4f}", figure(one["slope as they are"], 2)]
    return row


# --------------------------------------------------------------------------- thresholds


def thresholds(cells: Sequence[Row]) -> list[str]:
    """Which threshold loses least elsewhere, what is expected there, and what is another sort."""
    judged = [cell for cell in cells if cell["mix"]]
    if not judged:
        return []
    mixes = list(dict.fromkeys(cell["mix"] for cell in judged))
    text = [
        "## The threshold elsewhere",
        "",
        f"{len(cells)} of {THRESHOLD_CELLS} cells done. Two frozen probes (all stages under "
        "logistic regression, `blocks.4` under a linear SVM) answer one question of two classes "
        "a set "
        "(pneumonia, polyp, built, malignant, squamous); they learn, calibrate and choose on the "
        "first source, and each rule labels the second, whose labels it does not see. The second "
        "sources are those above, of about 1,500 images a set. *Steady*: the threshold chosen on "
        "the first source (decision 0011). *Share of positives*: of the first. *Quantile*: as many "
        "positive as were labelled so out of fold. *Halfway*: half of the way to it, in log odds. "
        "*EM* (Saerens et al. 2002) and *BBSE* (Lipton et al. 2018) estimate the share of "
        "positives; *as many* are called positive, or the *most probable* class at that share is. "
        "*Look different*: the shift test of `medgraft adapt`. The last two rules are told the "
        "share, truly or ten points nearer to a half. All but the three gated and told rules were "
        "fixed before the first cell; the others were added when a run had shown that a quantile "
        "fails where the mix changes.",
        "",
        "Points against the steady threshold: the mean over sets with its 95 % t interval, the "
        "worst cell, and in how many cells a rule is surely better or worse "
        "(95 % interval over groups, paired).",
        "",
    ]  # fmt: skip
    for mix in mixes:
        mine = [cell for cell in judged if cell["mix"] == mix]
        for look, some in (("changed", mine), ("as before", _twins(mine))):
            text += [f"**Look {look}, {mix}** ({len(some)} cells)", ""]
            text += lines(RULE_HEAD, _rules(some))
    return [*text, *_expected(judged), *_sorts(cells)]


def _twins(cells: Sequence[Row]) -> list[Row]:
    """What was found of the same images as the first source made them, each once."""
    found = {}
    for cell in cells:
        twin = cell["twin"]
        found[cell["data"], cell["probe"], cell["mix"], twin["n"]] = {**twin, "data": cell["data"]}
    return list(found.values())


def _rules(cells: Sequence[Row]) -> list[list[str]]:
    """A row a rule."""
    found = []
    for rule in cells[0]["rules"]:
        row = [rule]
        for metric in ("accuracy", "balanced_accuracy"):
            each = [cell["rules"][rule][metric] for cell in cells]
            row.append(f"{100 * np.mean([one['value'] for one in each]):.1f}")
            if rule == "steady":
                row += ["", "", ""]
                continue
            gain = _over_data(cells, [100 * one["difference"] for one in each])
            worst = min(100 * one["difference"] for one in each)
            better = sum(one["low"] > 0 for one in each)
            worse = sum(one["high"] < 0 for one in each)
            row += [gain, f"{worst:+.1f}", f"{better}, {worse}"]
        found.append(row)
    return found


def _over_data(cells: Sequence[Row], values: Sequence[float]) -> str:
    """The mean over data sets of the means over their cells, and its t interval."""
    sets = dict.fromkeys(cell["data"] for cell in cells)
    means = [
        float(np.mean([v for c, v in zip(cells, values, strict=True) if c["data"] == name]))
        for name in sets
    ]
    one = _t_interval(means)
    return f"{one['value']:+.1f} ({one['low']:+.1f} to {one['high']:+.1f})"


def _expected(cells: Sequence[Row]) -> list[str]:
    """How far estimates from unlabelled images were from the truth."""
    rows = []
    for look, some in (("changed", cells), ("as before", _twins(cells))):
        accuracy = np.array([one["rules"]["steady"]["accuracy"]["value"] for one in some])
        errors = {
            name: np.array([one["expected"][key][0] for one in some]) - accuracy
            for key, name in EXPECTED.items()
        }
        positive = np.array([one["positive"] for one in some])
        errors["share of positives by EM"] = np.array([one["em"][0] for one in some]) - positive
        errors["share of positives by BBSE"] = np.array([one["bbse"] for one in some]) - positive
        rows += [
            [look, name, *(f"{100 * x:.1f}" for x in _spread(error)), f"{100 * error.mean():+.1f}"]
            for name, error in errors.items()
        ]
    told = [cell["looks"]["different"] for cell in cells]
    false = [twin["looks"]["different"] for twin in _twins(cells)]
    return [
        "**What unlabelled images say.** Points from the truth, of accuracy at the steady "
        "threshold and of the share of positives, over the cells of all mixes. That images look "
        f"different was found in {sum(told)} of {len(told)} cells where they do, and in "
        f"{sum(false)} of {len(false)} where they do not.",
        "",
        *lines(["look", "estimate", "half are within", "nine in ten within", "mean"], rows),
    ]


def _spread(error: Any) -> tuple[float, float]:
    return float(np.median(np.abs(error))), float(np.quantile(np.abs(error), 0.9))


def _sorts(cells: Sequence[Row]) -> list[str]:
    """How far other places and other sorts of images lie."""
    named: dict[tuple[str, str], float] = {}
    for cell in cells:
        looks = cell["looks"]
        named[cell["data"], cell["pair"]] = looks["median_to_median"]
    sets = list(dict.fromkeys(data for data, _ in named))
    rows = []
    for data in sets:
        mine = {pair: ratio for (of, pair), ratio in named.items() if of == data}
        places = [r for pair, r in mine.items() if not pair.startswith("images of")]
        sorts = [r for pair, r in mine.items() if pair.startswith("images of")]
        rows.append([data, f"{max(places, default=0):.2f}", f"{min(sorts, default=0):.2f}"])
    return [
        "**Another sort of images.** The median distance of new images to those learned from, over "
        "the same of these among each other, by the last stage: the farthest shifted source, and "
        "the nearest other set. `medgraft adapt` refuses above 1.67, which this table set.",
        "",
        *lines(["learned from", "farthest other place", "nearest other sort"], rows),
    ]  # fmt: skip


if __name__ == "__main__":
    write_page()
