"""The threshold under shift: rules that see no label of the new place, compared on the same images.

`make results-shift` runs it. On every pair of a first and a second source (`sources.py`) frozen
probes learn, calibrate and choose on the first alone; then each rule labels the second, which it
sees without labels. A cell, a line of `experiments/results/thresholds.jsonl`, is one pair, one
probe and one mix of classes: accuracy and balanced accuracy of every rule, paired differences to
the steady threshold, and what was expected of accuracy and shares before the labels were looked at.
No image of an official test split is in any pair.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from medgraft import Extractor
from medgraft.bundle.adapt import is_another
from medgraft.data.split import Development, make_folds
from medgraft.errors import FitError
from medgraft.evaluate.intervals import DEFAULT, bootstrap, percentile
from medgraft.evaluate.prior import adjust, estimate_shares
from medgraft.evaluate.threshold import choose_threshold
from medgraft.evaluate.unlabelled import Labelled, expected_accuracy, halfway, matching_threshold
from medgraft.features.cache import Cache
from medgraft.learn.fit import cross_fitted
from medgraft.learn.frozen import FittedFrozen
from medgraft.profile.reference import EXPECTED, Reference
from medgraft.types import Floats, ImageTable, Ints, Predictions, Scenario

sys.path.insert(0, str(Path(__file__).parents[1]))

from page import read_cells
from shift.sources import SETS, Pair, development, pairs

RESULTS = Path(__file__).parents[1] / "results" / "thresholds.jsonl"
MOST = 1500  # images of a set, for time
OTHERS = 200  # images of another set
OTHER_SORT = "images of"
# One question of two classes for every set; the positive ones.
POSITIVE: Mapping[str, tuple[str, ...]] = {
    "chest_xray": ("PNEUMONIA",),
    "hyperkvasir5": ("polyp",),
    "scenes_ot8": ("highway", "inside_city", "street", "tallbuilding"),
    "skin7": ("akiec", "bcc", "mel"),
    "lc25000_lung_unique": ("lung_scc",),
}
PROBES = ("probe/tf_efficientnet_lite0/stages/logistic", "probe/tf_efficientnet_lite0/blocks.4/svm")
MIXES = {"as it is": 1.0, "a quarter of the positive": 0.25, "a quarter of the negative": 4.0}

Row = dict[str, Any]
Mask = NDArray[np.bool_]


# --------------------------------------------------------------------------- the rules


@dataclass(frozen=True, eq=False)
class Seen:
    """What a rule sees: the first source with labels, out of fold, and the second without.

    y : (n,) bool. p : (n,) probability of the positive class, out of fold. new : (m,) the same of
    the second source. steady : the threshold chosen on the first. unlike : whether the images look
    different within what is called one class, for sure (`bundle.adapt`). known : the true share of
    positives there, for the one rule that asks who knows it.
    """

    y: Mask
    p: Floats
    new: Floats
    new_groups: NDArray[np.str_]
    steady: float
    unlike: bool
    known: float

    @property
    def share(self) -> float:
        return float(self.y.mean())


def _adjusted(seen: Seen, share: float) -> Mask:
    """The most probable class where so many are positive."""
    share = min(1 - 0.5 / len(seen.new), max(0.5 / len(seen.new), share))
    q = (1 - seen.share, seen.share)
    return adjust(_two(seen.new), q, (1 - share, share))[:, 1] >= 0.5


def _two(p: Floats) -> Floats:
    return np.stack([1 - p, p], axis=1)


def em(seen: Seen) -> float:
    """The share of positives by Saerens et al. (2002)."""
    shares = (1 - seen.share, seen.share)
    return float(estimate_shares(_two(seen.new), shares, seen.new_groups).values[1])


def bbse(seen: Seen) -> float:
    """The share of positives by black box shift estimation (Lipton et al., ICML 2018).

    How often the steady threshold says yes is what a share and the rates out of fold make it.
    """
    yes = seen.p >= seen.steady
    hit, false = float(yes[seen.y].mean()), float(yes[~seen.y].mean())
    said = float((seen.new >= seen.steady).mean())
    return (
        seen.share if hit - false < 1e-6 else float(np.clip((said - false) / (hit - false), 0, 1))
    )


def quantile(seen: Seen) -> float:
    """The threshold from which on as many are positive as were labelled so out of fold."""
    return matching_threshold(seen.new, float((seen.p >= seen.steady).mean()))


def middle(seen: Seen) -> float:
    """Half of the way from the steady threshold to the quantile's, in log odds."""
    return halfway(seen.steady, quantile(seen))


def within_em(seen: Seen) -> float:
    """The threshold from which on as many are positive as EM finds."""
    return matching_threshold(seen.new, em(seen))


def _off(share: float) -> float:
    """A share ten points nearer to a half, as who guesses it may believe; past it where it is."""
    return share + (0.1 if share < 0.5 else -0.1)


STEADY, KNOWN, NEARLY = "steady", "quantile at the true share", "quantile at a share 10 points off"
RULES: Mapping[str, Callable[[Seen], Mask]] = {
    STEADY: lambda seen: seen.new >= seen.steady,
    "one half": lambda seen: seen.new >= 0.5,
    "share of positives": lambda seen: seen.new >= seen.share,
    "quantile": lambda seen: seen.new >= quantile(seen),
    "halfway to the quantile": lambda seen: seen.new >= middle(seen),
    "quantile, where images look different": lambda seen: (
        seen.new >= (quantile(seen) if seen.unlike else seen.steady)
    ),
    "halfway, where images look different": lambda seen: (
        seen.new >= (middle(seen) if seen.unlike else seen.steady)
    ),
    "EM, most probable": lambda seen: _adjusted(seen, em(seen)),
    "BBSE, most probable": lambda seen: _adjusted(seen, bbse(seen)),
    "EM, as many": lambda seen: seen.new >= within_em(seen),
    KNOWN: lambda seen: seen.new >= matching_threshold(seen.new, seen.known),
    NEARLY: lambda seen: seen.new >= matching_threshold(seen.new, _off(seen.known)),
}


# --------------------------------------------------------------------------- a cell


def main() -> None:
    done = {_name(row) for row in read_cells(RESULTS)}
    extractor = Extractor(Cache(), workers=os.cpu_count() or 1)
    for name in SETS:
        for pair in pairs(name, MOST):
            for probe in PROBES:
                names = [(name, pair.name, probe, mix) for mix in MIXES]
                if all(one in done for one in names):
                    continue
                for row in cells(name, pair, probe, extractor):
                    if _name(row) not in done:
                        _append(row)
        for other in SETS:
            if other != name and (name, f"{OTHER_SORT} {other}", "", "") not in done:
                _append(other_sort(name, other, extractor))


def _name(row: Row) -> tuple[str, ...]:
    return tuple(row[key] for key in ("data", "pair", "probe", "mix"))


def _append(row: Row) -> None:
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write("\n" * _is_cut() + json.dumps(_rounded(row)) + "\n")
    print(*_name(row), flush=True)


def _rounded(value: Any) -> Any:
    """The same with five decimals, which is more than any figure is known to."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(float(value), 5) if isinstance(value, float) else value


def _is_cut() -> bool:
    """Whether the last line of the results was cut short when a run was killed."""
    return RESULTS.stat().st_size > 0 and not RESULTS.read_bytes().endswith(b"\n")


def cells(name: str, pair: Pair, probe: str, extractor: Extractor) -> Iterator[Row]:
    """The cells of one pair and one probe, of every mix."""
    first, second, twin = (binary(name, one) for one in (pair.first, pair.second, pair.twin))
    crossed = cross_fitted(
        Scenario.from_key(probe), Development(first, make_folds(first)), extractor
    )
    fitted, oof = cast(FittedFrozen, crossed.fitted), crossed.unchanged
    reference = Reference.of(first, oof, extractor)
    there = fitted
    if pair.edit is not None:
        there = replace(fitted, feature_plan=fitted.feature_plan.seen(pair.edit))
    said, same = there.predict(second)[0], fitted.predict(twin)[0]
    steady = choose_threshold(oof).threshold
    there_codes = reference.encode(second, extractor, pair.edit)[0]
    same_codes = reference.encode(twin, extractor)[0]
    for mix, odds in MIXES.items():
        yield {
            "data": name,
            "pair": pair.name,
            "probe": probe,
            "mix": mix,
            **_judged(reference, oof, said, there_codes, steady, odds),
            "twin": _judged(reference, oof, same, same_codes, steady, odds),
        }


def other_sort(name: str, other: str, extractor: Extractor) -> Row:
    """How unlike the images of one set those of another are."""
    table = binary(name, development(name, MOST))
    learned = Development(table, make_folds(table))
    oof = cross_fitted(Scenario.from_key(PROBES[0]), learned, extractor).unchanged
    reference = Reference.of(table, oof, extractor)
    others = development(other, OTHERS)
    codes = reference.encode(others, extractor)[0]
    pair = f"{OTHER_SORT} {other}"
    looks = _far(reference, codes)
    return {"data": name, "pair": pair, "probe": "", "mix": "", "n": len(codes), "looks": looks}


def binary(name: str, table: ImageTable) -> ImageTable:
    """The table with one question of two classes."""
    positive = np.array([one in POSITIVE[name] for one in table.classes])
    return replace(
        table,
        labels=positive[table.labels].astype(np.int64),
        classes=("no", "yes"),
        positive="yes",
    )


def _judged(
    reference: Reference,
    oof: Predictions,
    said: Predictions,
    codes: NDArray[np.float32],
    steady: float,
    odds: float,
) -> Row:
    """Every rule on the images of a mix, and what was expected of them beforehand."""
    rows = _mixed(said, odds)
    said = said.select(rows)
    looks = _looks(reference, codes[rows], said, steady)
    y, known = said.y_true == 1, oof.y_true == 1
    seen = Seen(
        y=known,
        p=oof.y_prob[:, 1],
        new=said.y_prob[:, 1],
        new_groups=said.groups,
        steady=steady,
        unlike=looks["different"],
        known=float(y.mean()),
    )
    right = {rule: label(seen) == y for rule, label in RULES.items()}
    found = estimate_shares(_two(seen.new), (1 - seen.share, seen.share), said.groups)
    expected = expected_accuracy(
        _labelled(seen.p, known, steady, oof.groups), _sure(seen.new, steady), said.groups
    )
    return {
        "looks": looks,
        "n": len(y),
        "positive": float(y.mean()),
        "learned_positive": seen.share,
        "steady": steady,
        "rules": dict(_compared(right, y, said.groups)),
        "em": [found.shares[1].value, found.shares[1].low, found.shares[1].high],
        "bbse": bbse(seen),
        "expected": {
            key: [one.value, one.low, one.high]
            for key, one in (
                ("out_of_fold", expected.out_of_fold),
                ("atc", expected.atc),
                ("doc", expected.doc),
            )
        },
    }


def _mixed(said: Predictions, odds: float) -> Ints:
    """Rows in which the odds of the positive class are those of all, times `odds`."""
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(said.y_true == k) for k in range(2)]
    kept = (min(1.0, 1 / odds), min(1.0, odds))
    drawn = [
        rng.permutation(r)[: max(5, round(len(r) * k))] for r, k in zip(rows, kept, strict=True)
    ]
    return np.sort(np.concatenate(drawn)) if odds != 1 else np.arange(len(said))


def _sure(p: Floats, threshold: float) -> Floats:
    """The probability that the label which is given is right."""
    return np.where(p >= threshold, p, 1 - p)


def _labelled(p: Floats, y: Mask, threshold: float, groups: NDArray[np.str_]) -> Labelled:
    return Labelled(_sure(p, threshold), (p >= threshold) == y, groups)


def _compared(
    right: Mapping[str, Mask], y: Mask, groups: NDArray[np.str_]
) -> Iterator[tuple[str, Row]]:
    """Accuracy and balanced accuracy of every rule, and how much more than the steady one's."""
    each = np.stack([*right.values()]).astype(float)  # (rules, n)

    def statistic(weights: Floats) -> Floats:
        yes, no = y @ weights, ~y @ weights
        with np.errstate(invalid="ignore", divide="ignore"):
            accuracy = each @ weights / weights.sum(axis=0)
            balanced = ((each * y) @ weights / yes + (each * ~y) @ weights / no) / 2
        both = np.stack([accuracy, balanced])  # (2, rules, resamples)
        return np.concatenate([both, both - both[:, :1]]).reshape(-1, weights.shape[1])

    n = len(right)
    values = statistic(np.ones((len(y), 1)))[:, 0].reshape(4, n)
    samples = bootstrap(statistic, groups, DEFAULT).reshape(4, n, -1)
    for i, rule in enumerate(right):
        row: Row = {}
        for j, metric in enumerate(("accuracy", "balanced_accuracy")):
            low, high = percentile(samples[2 + j, i], DEFAULT)
            row[metric] = {
                "value": values[j, i],
                "difference": values[2 + j, i],
                "low": low,
                "high": high,
            }
        yield rule, row


def _looks(
    reference: Reference, codes: NDArray[np.float32], said: Predictions, steady: float
) -> Row:
    """Whether the images look like those learned from: the shift test, and the share unlike."""
    given, labels = ((p[:, 1] >= steady).astype(np.int64) for p in (reference.prob, said.y_prob))
    try:
        shift = reference.shift(codes, labels, said.groups, given)
    except FitError:
        shift = None
    return {
        "auroc": shift and [shift.estimate.value, shift.estimate.low, shift.estimate.high],
        "p": shift and shift.p,
        "different": shift is not None and is_another(shift),
        **_far(reference, codes),
    }


def _far(reference: Reference, codes: Floats) -> Row:
    """How far codes lie from those learned from, against how far these lie from each other."""
    own = reference.distances(reference.codes, reference.groups.tolist())
    far = reference.distances(codes)
    return {
        "unlike": float((far > np.quantile(own, 1 - EXPECTED)).mean()),
        "median_to_median": float(np.median(far) / np.median(own)),
        "beyond_all": float((far > own.max()).mean()),
    }


if __name__ == "__main__":
    main()
