"""The section of docs/results/shift.md on what moves AUROC on kinds that training has not seen.

Intervals are of resampled patients, the same ones for both that are compared. Chance of training is
shown beside them: how far trainings that differ in the seed alone lie apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.types import Floats, Ints
from page import lines

RESAMPLES = 400
BASE = "base"
BEFORE = "bf16"  # of cells that name no precision
CLEAN = "as they are"
LARGE = "zoomed out at 224 px"
BESIDE = {
    "another seed": LARGE,
    "from `blocks.4`, another seed": f"{LARGE} from blocks.4",
    "nine epochs": f"{LARGE} for nine epochs",
    "160 px": "zoomed out to .65",
    "160 px, nine epochs": "zoomed out for nine epochs",
    "mild views, 160 px": "mild views",
    "a frozen probe": "frozen probe of all stages",
    "a frozen probe of VGG-16": "frozen probe of all stages of VGG-16",
}
"""What stands beside a network trained as `LARGE` in a mean of two, and its setting."""

Row = dict[str, Any]
Curves = Mapping[str, Floats]
"""By set that judges: AUROC (1 + RESAMPLES,), of all images and then of resampled patients."""


def effects(cells: Sequence[Row], design: Mapping[str, Any], planned: int) -> list[str]:
    """What one change of a training does to the AUROC of images unlike those learned from.

    cells : of effects.jsonl. design : by set that judges its classes `y` and patients `group`.
    """
    if not cells:
        return []
    judges = {
        name: _Judge(np.array(one["y"]), np.array(one["group"])) for name, one in design.items()
    }
    scores = {(row["setting"], row["seed"]): row["scores"] for row in cells}
    seeds = sorted(seed for setting, seed in scores if setting == BASE)
    curves = {key: _curves(one, judges) for key, one in scores.items()}
    base = {seed: curves[BASE, seed] for seed in seeds}
    several = {
        f"mean of {n} networks that differ in the seed": [
            (_curves(_mean([scores[BASE, seed] for seed in some]), judges), base[some[0]])
            for some in combinations(seeds, n)
        ]
        for n in range(2, len(seeds) + 1)
    }
    settings = list(dict.fromkeys(row["setting"] for row in cells if row["setting"] != BASE))
    other = {row["setting"] for row in cells if row.get("precision", BEFORE) != BEFORE}
    rows = [[BASE, str(len(seeds)), *_absolute(list(base.values()))]]
    rows += [[name, "", *_gain(pairs)] for name, pairs in several.items()]
    for setting in settings:
        pairs = [(curves[setting, s], base[s]) for s in seeds if (setting, s) in curves]
        if pairs:
            single = " (in single precision)" if setting in other else ""
            rows.append([setting + single, str(len(pairs)), *_gain(pairs)])
    names = [name for name in judges if name != CLEAN]
    mixed = (
        " What was trained in single precision, on a machine that computes no bfloat16, stands "
        "beside a base in bfloat16: such a row is of both changes together."
    )
    return [
        "## What moves AUROC on kinds that training has not seen",
        "",
        f"{len(cells)} of {planned} cells done. Each is one training of everything in the default "
        f"network on {cells[0]['images']} development images of chest_xray, at 160 pixels for five "
        "epochs in strong views that zoom in, .9 to 1.5 (`base`), or with one thing changed, or "
        "what is named. All judge images that none "
        "learned from: viral pneumonia, where only bacterial was learned; the sharpest tenth; 600 "
        "X-rays processed otherwise (`chest_xray_aspect256`), and the same 600 with planted "
        "shifts. The table gives AUROC less that of the base with the same seed, means over seeds, "
        f"in thousandths; *unlike* is the mean over {len(names)} sets, *worst* their lowest AUROC, "
        f"*alike* the same 600 as they are. Brackets hold 95 % of {RESAMPLES} resamples of "
        "patients; they do not hold the chance of training."
        f"{_chance(list(base.values()))}{mixed if other else ''}",
        "",
        *lines(["changed", "seeds", "unlike", "worst", "alike", *names], rows),
        *_means(scores, curves, judges),
    ]


def _means(
    scores: Mapping[tuple[str, int], Mapping[str, Sequence[float]]],
    curves: Mapping[tuple[str, int], Curves],
    judges: Mapping[str, _Judge],
) -> list[str]:
    """What a second network, or more, adds to one: log odds averaged."""
    large = [key for key in scores if key[0] == LARGE]
    if len(large) < 2:
        return []
    several = {f"and {name}": _pairs(large, setting, scores) for name, setting in BESIDE.items()}
    frozen = [key for key in scores if key[0].startswith("frozen")]
    several[f"{len(large)} seeds"] = [tuple(large)]
    several[f"{len(large)} seeds and {len(frozen)} frozen"] = [(*large, *frozen)] if frozen else []
    rows = []
    for name, means in several.items():
        pairs = []
        for keys in means:
            mean = _curves(_mean([scores[key] for key in keys]), judges)
            pairs += [(mean, curves[key]) for key in keys if key in large]
        if pairs:
            rows.append([name, str(len(means)), *_gain(pairs)])
    names = [name for name in judges if name != CLEAN]
    return [
        "### Means of several",
        "",
        f"The log odds of a network trained as *{LARGE}* averaged with another's: its AUROC less "
        "that of the one, in thousandths, over every pair of those above.",
        "",
        *lines(["one", "means", "unlike", "worst", "alike", *names], rows),
    ]


def _pairs(
    large: Sequence[tuple[str, int]], setting: str, scores: Iterable[tuple[str, int]]
) -> list[tuple[tuple[str, int], ...]]:
    """Each of `large` with each of a setting; of another seed, where the setting has several."""
    beside = [key for key in scores if key[0] == setting]
    if setting == LARGE:
        return list(combinations(large, 2))
    return [(a, b) for a in large for b in beside if len(beside) == 1 or a[1] != b[1]]


def elsewhere(cells: Sequence[Row], planned: int) -> list[str]:
    """What a change that helps X-rays does to other sets; its AUROC less that of the base."""
    if not cells:
        return []
    found = {(row["set"], row["setting"], row["seed"]): row["auroc"] for row in cells}
    rows = []
    for name in dict.fromkeys(row["set"] for row in cells):
        base = {seed: areas for (a, b, seed), areas in found.items() if (a, b) == (name, BASE)}
        rows.append([name, BASE, str(len(base)), *_areas([_summary(one) for one in base.values()])])
        for setting in dict.fromkeys(row["setting"] for row in cells if row["setting"] != BASE):
            gains = [
                1000 * (_summary(areas) - _summary(base[seed]))
                for (a, b, seed), areas in found.items()
                if (a, b) == (name, setting) and seed in base
            ]
            if gains:
                each = (
                    ", ".join(f"{some:+.1f}" for some in column)
                    for column in zip(*gains, strict=True)
                )
                rows.append([name, setting, str(len(gains)), *each])
    return [
        "### Elsewhere",
        "",
        f"{len(cells)} of {planned} cells done. The same training on three fifths of the "
        f"development images of other sets (about 960 of 1,600), judged by the rest: as they are, "
        "and with the planted shifts (mean and worst of five). Macro AUROC of the base, mean over "
        "seeds; of a change its difference to the base in thousandths, seed by seed.",
        "",
        *lines(["set", "changed", "seeds", "as they are", "shifted", "worst"], rows),
    ]


def views(found: Mapping[str, Any]) -> list[str]:
    """In which view a trained network and frozen probes are in the order of the unlike sets."""
    if not found:
        return []
    areas: Mapping[str, Mapping[str, float]] = found["auroc"]
    seen = [name for name in next(iter(areas.values())) if name.startswith("view of")]
    unlike = [name for name in next(iter(areas.values())) if name not in (*seen, CLEAN)]
    rows = [[name, *(f"{one[name]:.4f}" for one in areas.values())] for name in (CLEAN, *seen)]
    for name, summary in (("unlike, mean", np.mean), ("unlike, worst", np.min)):
        rows.append([name, *(f"{summary([one[k] for k in unlike]):.4f}" for one in areas.values())])
    return [
        "### In which view",
        "",
        "A network trained from the image (224 px, nine epochs, seed 0) and two frozen probes "
        f"learn the same {found['images']} images and judge those of the table above: the same 600 "
        "as they are, in two views that could judge (decision 0035), and the unlike sets. AUROC.",
        "",
        *lines(["judged", *areas], rows),
    ]


def _summary(areas: Mapping[str, float]) -> Floats:
    """AUROC of the images as they are, and the mean and the worst over what is planted."""
    planted = [area for name, area in areas.items() if name not in (CLEAN, "inset")]
    return np.array([areas[CLEAN], np.mean(planted), min(planted)])


def _areas(several: Sequence[Floats]) -> list[str]:
    return [f"{value:.4f}" for value in np.mean(several, axis=0)]


class _Judge:
    """Images that judge, and the resamples of their patients."""

    def __init__(self, y: Ints, group: Ints) -> None:
        self.y = y == 1
        rng = np.random.default_rng(0)
        draws = []
        for label in (False, True):  # patients of each class, so that both are always there
            patients = np.unique(group[self.y == label])
            drawn = rng.multinomial(
                len(patients), np.full(len(patients), 1 / len(patients)), RESAMPLES
            )
            weight = np.zeros((RESAMPLES, group.max() + 1))
            weight[:, patients] = drawn
            draws.append(weight[:, group] * (self.y == label))
        self.weights = np.concatenate([np.ones((1, len(y))), draws[0] + draws[1]])

    def auroc(self, score: Floats) -> NDArray[np.float64]:
        """(1 + RESAMPLES,), ties counting half."""
        _, place = np.unique(score, return_inverse=True)
        n = int(place.max()) + 1
        found = []
        for weight in self.weights:
            positive = np.bincount(place, weight * self.y, n)
            negative = np.bincount(place, weight * ~self.y, n)
            below = np.cumsum(negative) - negative / 2
            found.append((positive * below).sum() / (positive.sum() * negative.sum()))
        return np.array(found)


def _curves(scores: Mapping[str, Sequence[float]], judges: Mapping[str, _Judge]) -> Curves:
    return {name: judge.auroc(np.array(scores[name])) for name, judge in judges.items()}


def _mean(several: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    return {name: np.mean([one[name] for one in several], axis=0).tolist() for name in several[0]}


def _summaries(curves: Curves) -> list[Floats]:
    """Unlike, worst, alike, and each set that is unlike."""
    unlike = [values for name, values in curves.items() if name != CLEAN]
    return [np.mean(unlike, axis=0), np.min(unlike, axis=0), curves[CLEAN], *unlike]


def _absolute(several: Sequence[Curves]) -> list[str]:
    parts = np.mean([_summaries(one) for one in several], axis=0)
    return [f"{values[0]:.4f}" for values in parts]


def _gain(pairs: Sequence[tuple[Curves, Curves]]) -> list[str]:
    parts = np.mean(
        [np.array(_summaries(one)) - np.array(_summaries(base)) for one, base in pairs], axis=0
    )
    found = []
    for values in 1000 * parts:
        low, high = np.percentile(values[1:], [2.5, 97.5])
        found.append(f"{values[0]:+.1f} ({low:+.1f} to {high:+.1f})")
    return found


def _chance(several: Sequence[Curves]) -> str:
    """How far trainings lie apart that differ in the seed alone."""
    if len(several) < 2:
        return ""
    spread = 1000 * np.std([_summaries(one)[0][0] for one in several], ddof=1)
    return (
        f" Bases that differ in the seed alone lie {spread:.1f} apart in *unlike* (standard "
        "deviation)."
    )
