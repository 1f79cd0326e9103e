"""The page of what the recommendation loses: docs/results/recommendation.md.

`make prove-recommendation` runs the cells that are lacking and writes the page anew;
`python experiments/recommendation_page.py` only writes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medgraft.types import Floats
from page import lines
from recommendation.fields import CONSTANTS, FIELDS
from recommendation.policies import OURS
from recommendation.regret import (
    ELSEWHERE,
    THUMB,
    Cell,
    Regret,
    Summary,
    of_policies,
    summary,
)
from recommendation.results import Row, planned, read
from recommendation.sets import ALL, LEAST, SETS, SIZES

PAGE = Path(__file__).parents[1] / "docs" / "results" / "recommendation.md"
LARGE_TEST = 600  # images of a test, from which it counts for the headline
LARGE_SETS = ("skin7", "hyperkvasir5", "scenes_ot8", "chest_xray")  # whose tests are so large
AIM = "median at most 1 point, 90th percentile at most 3, and no constant policy better"
WHAT = {
    "frozen": "nine layers of tf_efficientnet_lite0 and their join under three heads; five of "
    "these at 544 px alone, beside 224 px and averaged with it; VLAD of four layers with 16 and "
    "64 words; the layers of tf_efficientnet_lite2 under a linear SVM",
    "networks": "the layers of tf_efficientnet_lite0, tf_efficientnet_lite2 and VGG-16 under a "
    "linear SVM",
    "trained": "the layers of tf_efficientnet_lite0 and tf_efficientnet_lite2 under a linear SVM, "
    "and tf_efficientnet_lite0 trained at 128 px, whole and from the depth that a search finds",
}


def write_page(rows: Sequence[Row]) -> None:
    """Write the page from what has been measured by now."""
    text = [*_introduction(), *_done(rows)]
    for field in FIELDS:
        mine = [row for row in rows if row["field"] == field]
        if mine:
            text += _field(field, mine)
    text += _missing(rows)
    PAGE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


def _introduction() -> list[str]:
    return [
        "# What the recommendation loses",
        "",
        "Written by `make prove-recommendation` from experiments/results/recommendation.jsonl; do "
        "not edit. A cell draws n images to learn from out of a data set's development images "
        f"(whole groups, classes in their shares, {LEAST} groups of each at least), judges every "
        "scenario of a field out of fold as a study does, and lets every policy choose one. Then "
        "all are refitted on the n images and judged on the test split. Where all images are "
        "learned from, draws differ by how the folds are dealt alone.",
        "",
        "*Regret*: AUROC on the test of the best in hindsight minus that of what the policy chose, "
        "in points (hundredths). The best in hindsight is chosen on one half of the test's groups "
        "(stratified, dealt anew each draw), and both are judged on the other half, both ways: so "
        "it has no luck that the policies have not, and a regret can be below 0. Brackets hold "
        "95 % intervals over draws and over the groups of the tests; the data sets are those there "
        "are, and no interval is of others. Every size of every data set weighs the same.",
        "",
        f"*{OURS}*: what a study recommends (`studies/recommend.py`), before an audit of its "
        "evidence. *best out of fold*: the highest figure. *one standard error*: the simplest "
        "within one of the best. *LogME* (You et al. 2021): of the linear SVMs, that whose codes "
        f"have the highest evidence. *{ELSEWHERE}*: the one scenario that lost least on the other "
        f"data sets. *{THUMB}*: similar to ImageNet, the best network's last layer; else few "
        "images, a linear SVM on the default network's; many, the whole network trained (where the "
        "field trains none: the linear SVM again); what is few and what similar is tuned on the "
        "other data sets. Sets that share images (cancer_cells and lc25000_lung_unique, "
        "mini_scenes and scenes_ot8) are never tuned on one another. All other policies take one "
        "scenario whatever the data. Fields and policies were fixed before the first cell looked "
        "at a test; nothing was changed in the light of what follows "
        "([ledger](ledger.md)).",
        "",
    ]


def _done(rows: Sequence[Row]) -> list[str]:
    """How many cells of how many are done."""
    count = Counter((row["field"], row["data"]) for row in rows)
    table = []
    for field in FIELDS:
        cells = [f"{count[field, name]} of {planned(field, name)}" for name in SETS]
        total = sum(planned(field, name) for name in SETS)
        table.append([field, f"{sum(count[field, name] for name in SETS)} of {total}", *cells])
    return [
        "## What is done",
        "",
        "Cells done, of those there are to be:",
        "",
        *lines(["field", "all", *SETS], table),
        f"They took {sum(row['cpu_seconds'] for row in rows) / 3600:.2f} hours of one core, "
        "without the reading of the images, which is done once a data set.",
        "",
        *(f"- *{field}*: {what}." for field, what in WHAT.items()),
        "",
    ]


def _field(field: str, rows: Sequence[Row]) -> list[str]:
    cells = [Cell.of(row) for row in rows]
    found = of_policies(cells)
    large = [i for i, row in enumerate(rows) if row["test_images"] >= LARGE_TEST]
    text = [f"## {field.capitalize()}", ""]
    if large:
        some = [rows[i] for i in large]
        to_be = sum(planned(field, name) for name in LARGE_SETS)
        text += [f"**Tests of {LARGE_TEST} images and more** ({_sets(some)} of {to_be}):", ""]
        text += _policies(
            [cells[i] for i in large], {policy: one.of(large) for policy, one in found.items()},
            headline=True,
        )  # fmt: skip
    else:
        text += ["No cell of a large test is done yet, so that there is no headline.", ""]
    if len(large) < len(rows):
        text += [
            f"**All data sets** ({_sets(rows)}), the small ones too, whose tests are too small for "
            "intervals:",
            "",
            *_policies(cells, found),
        ]
    return [*text, *_by_size(cells, found), *_chosen(rows)]


def _sets(rows: Sequence[Row]) -> str:
    return f"{', '.join(dict.fromkeys(row['data'] for row in rows))}; {len(rows)} cells"


def _policies(
    cells: Sequence[Cell], found: Mapping[str, Regret], headline: bool = False
) -> list[str]:
    """A row a policy; of a headline with intervals, and whether the aim is met."""
    known = {
        policy: summary(cells, regret, headline)
        for policy, regret in found.items()
        if np.isfinite(regret.value).any()
    }
    order = sorted(known, key=lambda policy: known[policy].mean[0])
    table = [
        [
            f"**{policy}**" if policy == OURS else policy,
            str(known[policy].cells),
            *(_points(one) for one in (known[policy].median, known[policy].high)),
            _points(known[policy].mean),
            f"{known[policy].worst:.1f}",
            f"{known[policy].also:.1f}",
            _against(found[OURS], found[policy]) if policy != OURS else "",
        ]
        for policy in order
    ]
    head = ["policy", "cells", "median", "90th percentile", "mean", "worst", "balanced accuracy, "
            "mean", "in how many cells it loses less, more than medgraft"]  # fmt: skip
    return [*lines(head, table), *(_aim(known) if headline else [])]


def _aim(known: Mapping[str, Summary]) -> list[str]:
    """Whether these cells meet it."""
    ours = known[OURS]
    better = [
        policy
        for policy, one in known.items()
        if policy in CONSTANTS and one.mean[0] < ours.mean[0]
    ]
    met = ours.median[0] <= 1 and ours.high[0] <= 3 and not better
    because = f": less is lost in the mean by {', '.join(better)}" if better else ""
    return [
        f"The aim ({AIM}) is {'met' if met else 'not met'} by the cells done so far{because}.",
        "",
    ]


def _points(one: tuple[float, ...]) -> str:
    return f"{one[0]:.2f} ({one[1]:.2f} to {one[2]:.2f})" if len(one) > 1 else f"{one[0]:.2f}"


def _against(ours: Regret, other: Regret) -> str:
    known = np.isfinite(other.value)
    gap = (other.value - ours.value)[known]
    return f"{int((gap < 0).sum())}, {int((gap > 0).sum())}"


def _by_size(cells: Sequence[Cell], found: Mapping[str, Regret]) -> list[str]:
    """Mean regret by data set and size, of every policy."""
    means = {policy: float(np.nanmean(one.value)) for policy, one in found.items()}
    shown = [OURS, *sorted((policy for policy in means if policy != OURS), key=means.__getitem__)]
    table = []
    for name in SETS:
        for n in (*SIZES, ALL):
            mine = [i for i, cell in enumerate(cells) if (cell.data, cell.n) == (name, n)]
            if not mine:
                continue
            best = np.mean([cells[i].worth.mean(axis=1).max() for i in mine])
            row = [name, f"{n:,}" if n != ALL else ALL, str(len(mine)), f"{best:.3f}"]
            table.append([*row, *(_mean(found[policy].value[mine]) for policy in shown)])
    return [
        "Mean regret by data set and number of images; *best* is the highest AUROC of any scenario "
        "on the whole test.",
        "",
        *lines(["data", "n", "draws", "best", *shown], table),
    ]


def _mean(values: Floats) -> str:
    known = values[np.isfinite(values)]
    return f"{known.mean():.2f}" if len(known) else ""


def _chosen(rows: Sequence[Row]) -> list[str]:
    """What was recommended most often."""
    table = []
    for name in SETS:
        mine = [row["chosen"][OURS] for row in rows if row["data"] == name]
        if mine:
            common = Counter(mine).most_common(3)
            table.append([name, str(len(set(mine))),
                          "; ".join(f"`{key}` {count}" for key, count in common)])  # fmt: skip
    return [
        "What was recommended: how many different scenarios, and the most frequent ones.",
        "",
        *lines(["data", "different", "most frequent (cells)"], table),
    ]


def _missing(rows: Sequence[Row]) -> list[str]:
    """What the page does not show yet."""
    fields = [field for field in FIELDS if not any(row["field"] == field for row in rows)]
    text = ["## What is missing", ""]
    if fields:
        text.append(
            f"- No cell of {' and '.join(f'*{field}*' for field in fields)} has been run: "
            f"`python experiments/recommendation/run.py --fields {','.join(fields)}` does."
        )
    lacking = [
        (field, name)
        for field in FIELDS
        for name in SETS
        if sum((row["field"], row["data"]) == (field, name) for row in rows) < planned(field, name)
    ]
    if lacking:
        text.append("- The cells that the first table lacks; a run goes on where the last stopped.")
    return [
        *text,
        "- A budget of a tenth: no cell is stopped by the clock, so that nothing here says what a "
        "study loses that had no time to judge every scenario.",
        "- Strengths of heads are chosen by AUROC; balanced accuracy judges the same choices.",
        "",
    ]


if __name__ == "__main__":
    write_page(read())
