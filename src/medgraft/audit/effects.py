"""How much the class content of each region moves a classifier: sizes, tests, what was visible.

For a pair of donors u of classes a and b and a region r, with l the log odds of a against b, the
*effect on the log odds* is

    D_ur = mean over recipients i of [l(i with r from a) - l(i with r from b)]
         - the same with only the seams of r exchanged.

Where the region's content says nothing of the class, a and b could have been exchanged, and D_ur
is as likely as -D_ur. So all D_u are given random signs, the same for all regions, many times over:
T_r = sum_u D_ur / sqrt(sum_u D_ur²) is compared with the largest T of any region of the family
under these (Westfall and Young, 1993), which holds the chance of any false alarm in the family at
its level. With more than two classes a region has one T a class, of the pairs with that class.
The same signs say how seldom -T_r is as large: a mark that goes with the ill here went with the
healthy where the model learned, and its labels follow the place all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medgraft.audit.parts import Part
from medgraft.audit.swap import LEAST, Swaps, exchanged_at_all, log_odds
from medgraft.evaluate.intervals import (
    DEFAULT,
    bootstrap,
    describe_bootstrap,
    percentile,
    wilson,
)
from medgraft.evaluate.metrics import auroc, ranking
from medgraft.results.evidence import FEW_PAIRS, LEVEL, RegionEffect, Role, SkillLeft
from medgraft.types import Estimate, Floats, Ints

FLIPS = 9999  # of signs
POWER = 0.80  # with which the smallest visible effect is seen


def region_effects(
    swaps: Swaps, families: Sequence[frozenset[Role]], seed: int = 0
) -> tuple[RegionEffect, ...]:
    """The effect of every region that pairs enough could exchange, in order.

    Each family of roles is tested for itself. Of several classes it is given for the one that a
    region decides most surely, or else turns the other way round, or else moves most.
    """
    a, b = (np.array([unit.classes[k] for unit in swaps.units]) for k in (0, 1))
    odds = log_odds(swaps.prob, a, b)  # (units, regions, recipients, donors, variants)
    per_unit = odds[:, :, :, 0] - odds[:, :, :, 1]
    shift = (per_unit[..., 0] - per_unit[..., 1]).mean(axis=2)  # D, (units, regions)
    follows = _follows(swaps, a, b)  # (units, regions)
    put = exchanged_at_all(swaps)  # (units, regions)
    classes = swaps.parts[0].fitted.classes
    columns = np.unique([a, b]) if len(classes) > 2 else np.array([-1])  # of classes with pairs
    of = np.stack([(a == c) | (b == c) | (c < 0) for c in columns], axis=1)  # (units, columns)
    signs = np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), (FLIPS, len(a)))

    def effect(row: int, column: int, p: float, against: bool, limit: float) -> RegionEffect:
        some = of[:, column] & put[:, row]
        d, points = shift[some, row], _mean(follows[some, row])
        ways = ((d, points), (-d, _negative(points)))
        visible = max(_visible(swaps.parts, *way, limit) for way in ways)
        return RegionEffect(
            swaps.regions[row].name,
            swaps.regions[row].role,
            classes[columns[column]] if len(classes) > 2 else "",
            points,
            _ranking(swaps, odds, some, row),
            float(d.mean()),
            p,
            visible,
            int(some.sum()),
            against=against,
        )

    found: dict[int, RegionEffect] = {}
    for family in families:
        rows = [i for i, region in enumerate(swaps.regions) if region.role in family]
        if not rows:
            continue
        spread = shift[:, rows, None] * of[:, None]  # (units, regions, columns)
        t, largest = _by_signs(spread.reshape(len(a), -1), signs)
        limit = float(np.quantile(largest, 1 - LEVEL))
        for row, own in zip(rows, t.reshape(len(rows), -1), strict=True):
            here: NDArray[np.bool_] = np.any(of & put[:, [row]], axis=0)  # (columns,)
            if put[:, row].sum() < FEW_PAIRS or not here.any():
                continue
            ways = sorted(  # of each class what follows it, the surest first, then what does not
                (against, -size, column)
                for against, sizes in ((False, own), (True, -own))
                for column, size in enumerate(sizes.tolist())
                if here[column]
            )
            first, *others = (
                (column, _p(-size, largest), against) for against, size, column in ways
            )
            found[row] = effect(row, *first, limit)
            if not found[row].large:
                sure = (effect(row, *other, limit) for other in others if other[1] < LEVEL)
                found[row] = next((one for one in sure if one.large), found[row])
    return tuple(found[row] for row in sorted(found))


def _p(size: float, largest: Floats) -> float:
    """How seldom the largest T of a family is as large, under random signs."""
    return float((1 + (largest >= size - 1e-9).sum()) / (1 + FLIPS))


def _visible(parts: Sequence[Part], d: Floats, points: Estimate, limit: float) -> float:
    """The smallest share of labels that what is in a region cannot turn unseen, one way."""
    return min(turned(parts, min(seen(d, limit), possible(d))), upper(points))


def _negative(points: Estimate) -> Estimate:
    return replace(points, value=-points.value, low=-points.high, high=-points.low)


def _by_signs(d: Floats, signs: Floats) -> tuple[Floats, Floats]:
    """T of each column of D (units, columns), and the largest T under every row of signs."""
    scale = np.sqrt((d**2).sum(axis=0))
    unit = np.divide(d, scale, out=np.zeros_like(d), where=scale > 0).astype(np.float32)
    return unit.sum(axis=0), (signs @ unit).max(axis=1)


def seen(d: Floats, limit: float) -> float:
    """The mean of D that would have passed `limit` with 80 % power, by its standard error here.

    T² = n t² / (n - 1 + t²), so that `limit` is one of t, and the mean must be (t + z) standard
    errors, with z the normal quantile of the power.
    """
    n = len(d)
    if n < 2 or limit**2 >= n:
        return np.inf
    t = limit * np.sqrt((n - 1) / (n - limit**2))
    return float((t + stats.norm.ppf(POWER)) * d.std(ddof=1) / np.sqrt(n))


def possible(d: Floats) -> float:
    """The largest mean of D that what was seen leaves possible: the upper end of Student's 95 %."""
    if len(d) < 2:
        return np.inf
    error = d.std(ddof=1) / np.sqrt(len(d))
    return float(max(0.0, d.mean() + stats.t.ppf(0.975, len(d) - 1) * error))


def upper(points: Estimate) -> float:
    """The largest share of labels that what was seen to follow leaves possible (97.5 %).

    Where hardly a label follows, resamples know nothing of those that did not by chance: Wilson's
    end of the same share of the pairs stands in where it is higher.
    """
    share = max(0.0, points.value)
    return max(points.high, wilson(share * points.n, points.n).high)


def turned(parts: Sequence[Part], shift: float) -> float:
    """The share of images whose label turns when log odds move by `shift` across it.

    An image turns if its log odds lie within half of `shift` of the threshold: content of one class
    would move it to the one side, content of the other to the other.
    """
    return float(np.mean(np.concatenate([np.abs(margins(part)) for part in parts]) < shift / 2))


def margins(part: Part) -> Floats:
    """(n,) log odds over the threshold, or of the most probable class against the next."""
    prob = part.said.y_prob
    if part.positive is None:
        top = np.sort(prob, axis=1)[:, ::-1]
        margin: Floats = np.log(top[:, 0]) - np.log(np.maximum(top[:, 1], LEAST))
        return margin
    n = len(prob)
    ours = np.full(n, part.positive)
    threshold = float(np.clip(part.threshold, LEAST, 1 - LEAST))
    over: Floats = log_odds(prob, ours, 1 - ours) - np.log(threshold / (1 - threshold))
    return over


def _follows(swaps: Swaps, a: Ints, b: Ints) -> Floats:
    """(units, regions) the share of recipients whose label follows the donor's class.

    The mean of [labelled a with the region from a] - [labelled a with it from b] and the same of b,
    less what the seams do.
    """
    shape = swaps.prob.shape[:-1]
    labels = np.empty(shape, np.int64)
    for number, part in enumerate(swaps.parts):
        rows = np.array([unit.part == number for unit in swaps.units])
        flat = swaps.prob[rows].reshape(-1, swaps.prob.shape[-1])
        labels[rows] = part.labels(flat).reshape(int(rows.sum()), *shape[1:])
    # (units, regions, recipients, donors, variants) == class of each unit
    is_a = labels == a[:, None, None, None, None]
    is_b = labels == b[:, None, None, None, None]
    to_a = is_a[:, :, :, 0].astype(float) - is_a[:, :, :, 1]
    to_b = is_b[:, :, :, 1].astype(float) - is_b[:, :, :, 0]
    both = (to_a + to_b) / 2  # (units, regions, recipients, variants)
    found: Floats = (both[..., 0] - both[..., 1]).mean(axis=2)
    return found


def _mean(values: Floats) -> Estimate:
    """The mean over pairs of donors with its interval."""
    names = np.arange(len(values)).astype(str)
    column = values.astype(np.float32)[None]
    samples = bootstrap(lambda weights: column @ weights / weights.sum(axis=0), names, DEFAULT)[0]
    low, high = percentile(samples, DEFAULT)
    how = f"percentile bootstrap over pairs of donors, {DEFAULT.resamples} resamples"
    return Estimate(float(values.mean()), low, high, len(values), how)


def _ranking(swaps: Swaps, odds: Floats, some: np.ndarray, row: int) -> float:
    """AUROC with the region from the own class minus with it from the other, less the seam's."""
    truth, part = recipients_are_first(swaps)[some].ravel(), _parts(swaps)[some].ravel()
    areas = []
    for variant in (0, 1):
        first, second = odds[some, row, :, 0, variant], odds[some, row, :, 1, variant]
        first, second = first.ravel(), second.ravel()
        own, other = np.where(truth, first, second), np.where(truth, second, first)
        areas.append(auroc(truth, own, part) - auroc(truth, other, part))
    return float(areas[0] - areas[1])


def recipients_are_first(swaps: Swaps) -> np.ndarray:
    """(units, recipients) whether each is of the first of its unit's classes."""
    return np.array(
        [
            [swaps.parts[u.part].table.labels[i] == u.classes[0] for i in u.recipients]
            for u in swaps.units
        ]
    )


def _parts(swaps: Swaps) -> Ints:
    """(units, recipients) whose model answered: answers of two are never ranked as one."""
    return np.array([[unit.part] * len(unit.recipients) for unit in swaps.units])


def without_region(swaps: Swaps, row: int) -> SkillLeft:
    """What is left of the ranking of recipients with a region that no longer tells their class.

    The region comes from donors of both classes, and the mean of the two answers is ranked. The
    interval resamples the recipients' patients, who lose their skill together.
    """
    truth = recipients_are_first(swaps).ravel()
    a, b = (np.array([unit.classes[k] for unit in swaps.units]) for k in (0, 1))
    removed = log_odds(swaps.prob, a, b)[:, row, :, :, 0].mean(axis=2).ravel()
    said = np.stack([swaps.parts[u.part].said.y_prob[list(u.recipients)] for u in swaps.units])
    before = log_odds(said, a, b).ravel()
    groups = np.array(
        [swaps.parts[u.part].table.groups[i] for u in swaps.units for i in u.recipients]
    )
    part = _parts(swaps).ravel()
    areas = [ranking(truth, score, part) for score in (before, removed)]

    def share(weights: Floats) -> Floats:
        whole, left = (area(weights)[None] - 0.5 for area in areas)
        return np.asarray(np.clip(left / np.maximum(whole, LEAST), 0, 1))

    one = np.ones((len(truth), 1))
    low, high = percentile(bootstrap(share, groups, DEFAULT)[0], DEFAULT)
    value = float(share(one)[0, 0])
    method = describe_bootstrap(groups, DEFAULT)
    left = Estimate(value, min(low, value), max(high, value), len(truth), method)
    return SkillLeft(float(areas[0](one)[0]), float(areas[1](one)[0]), left)
