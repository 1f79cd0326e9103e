"""Do stated probabilities come true? Slope and intercept of a logistic recalibration, and a test.

Cox (1958), Van Calster et al. (J Clin Epidemiol 2016; BMC Medicine 2019). To what came true,
`softmax(slope * log p + biases)` is fitted, p being what was stated; of two classes that is `logit
= slope * logit(p) + intercept`, and of more the model of `calibration.Calibrator`. Slope 1 and no
bias: p means what it says. Slope below 1: p is too extreme; above: too moderate. Unlike the
expected calibration error these do not grow as images get fewer.

The test compares Rao's score with what it is where the classes are drawn by p itself, so that few
images and separated classes do not harm it. Where groups hold several images, that depends on how
these hang together, and the score is compared with itself under random signs of its sums over
groups (the wild score bootstrap of Kline and Santos 2012).
Estimates are Firth's (1993; of the multinomial model Bull et al. 2002), finite where classes are
separated, and intervals the penalised profile likelihood's (Heinze and Schemper 2002), scaled by
the sandwich over groups (Chandler and Bate 2007). `tests/evaluate/test_recalibration.py` tries it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from medgraft.evaluate.intervals import blended, describe_groups, freedom_of, number_groups, wilson
from medgraft.results.figures import Calibration
from medgraft.types import Estimate, Floats, Ints, Predictions

LEVEL = 0.95
CLIP = 1e-7  # the least probability that is believed, as in the log loss
TOLERATED = (2 / 3, 3 / 2)  # slopes beyond matter
MOST_OFF = 0.10  # as does an average that is off by more
DRAWS = (999, 4999)  # of the score under probabilities that are right; many where they are cheap
DRAWN = 2**24  # numbers drawn for that
CHUNK = 2**21  # of these at once
LARGEST = 2**23  # numbers of a design (n, K, K) that is fitted: 130,000 images of 8 classes
NARROW = 0.1  # half a width of an interval
STEPS, HALVINGS = 20, 11  # outwards to the end of an interval, and back to where it is
FEWEST_GROUPS = 10  # by which the sandwich is believed: of 6 its intervals cover 85 %


def recalibrate(predictions: Predictions) -> Calibration:
    """How the probabilities of labelled images relate to what came true.

    predictions : with probabilities that `metrics.judge` takes, every image labelled.
    """
    predictions = _some(predictions)
    p, y, classes = predictions.y_prob, predictions.y_true, predictions.classes
    whole = _model(predictions)
    test = _test(whole)
    reason = _cannot(whole, classes, lambda: test)
    fitted = None if reason else _fit(whole)
    slope = None if fitted is None else _estimate(whole, fitted)
    binary = len(classes) == 2
    named = [k for k in range(len(classes)) if k != _reference(predictions) or not binary]
    averages = {classes[k]: _average(p[:, k], y == k, whole.group, whole.n_groups) for k in named}
    at_slope_1 = dataclasses.replace(
        whole,
        start=whole.start[1:],
        design=whole.design[:, :, 1:],
        offset=whole.design[:, :, 0],
    )
    return Calibration(
        slope=slope,
        intercept=_estimate(at_slope_1, _fit(at_slope_1))
        if binary and whole.n_groups > 1
        else None,
        averages=averages,
        curve=(float(fitted[0]), float(fitted[1])) if binary and fitted is not None else None,
        p=test,
        needed=_needed(slope, averages.values()) if slope else 0,
        reason=reason,
    )


def comes_true(found: Calibration, stated: Floats) -> NDArray[np.float64]:
    """How often, by the fit, what was stated (0..1) of the positive class comes true; as `stated`.

    Raises
    ------
    ValueError
        There is no curve: more than two classes, or no slope.
    """
    if found.curve is None:
        raise ValueError("only of two classes with a slope is it known what a probability means")
    slope, intercept = found.curve
    logits = special.logit(np.clip(stated, CLIP, 1 - CLIP))
    return np.asarray(special.expit(slope * logits + intercept))


def recalibrated(predictions: Predictions) -> NDArray[np.float64]:
    """The probabilities (n, n_classes) that the fit makes of those stated; these where it cannot.

    They mean what they say on these images by construction, and judge nothing.
    """
    whole = _model(predictions)
    alone = dataclasses.replace(whole, group=np.arange(len(whole.y)), n_groups=len(whole.y))
    if _cannot(alone, predictions.classes, lambda: _test(whole)):
        return np.asarray(predictions.y_prob, np.float64)
    return np.asarray(special.softmax(whole.design @ _fit(whole), axis=1))


def _some(predictions: Predictions) -> Predictions:
    """As many whole groups, drawn at random, as memory and time allow; mostly all."""
    n, n_classes = predictions.y_prob.shape
    most = LARGEST // n_classes**2
    if n <= most:
        return predictions
    group, n_groups = number_groups(predictions.groups)
    rank = np.random.default_rng(0).permutation(n_groups)[group]
    return predictions.select(rank < max(1, np.sort(rank)[most]))


def _model(predictions: Predictions) -> _Model:
    """The recalibration of some predictions; of two classes the bias is the positive's."""
    n, n_classes = predictions.y_prob.shape
    log_p = np.log(np.clip(predictions.y_prob, CLIP, None))
    biases = np.delete(np.eye(n_classes), _reference(predictions), axis=1)
    biases = np.broadcast_to(biases, (n, *biases.shape))
    return _Model(
        np.r_[1.0, np.zeros(n_classes - 1)],
        np.concatenate([log_p[:, :, None], biases], axis=2),
        np.zeros((n, n_classes)),
        predictions.y_true,
        *number_groups(predictions.groups),
    )


def _reference(predictions: Predictions) -> int:
    """The class whose bias is 0: the other than the positive one, or the first."""
    classes, positive = predictions.classes, predictions.positive
    return 1 - classes.index(positive) if len(classes) == 2 and positive in classes else 0


def _cannot(whole: _Model, classes: tuple[str, ...], p: Callable[[], float]) -> str:
    """Why no slope can be told; '' where one can.

    p : of the test, which takes its time and is seldom asked for.
    """
    present = np.unique(whole.y)
    if len(present) < 2:
        return f"all images are {classes[present[0]]}"
    if whole.clustered and whole.n_groups < FEWEST_GROUPS:
        return f"the images are of {whole.n_groups} groups only"
    information = whole.at(whole.start).information
    rest = np.linalg.pinv(information[1:, 1:], hermitian=True)
    own = information[0, 0] - information[0, 1:] @ rest @ information[1:, 0]
    if own < 1e-9 * max(information[0, 0], 1e-9):
        return "all images have one probability"
    # Probabilities of all but 0 and 1 that came true leave the penalty to choose the slope.
    return (
        "no probability was moderate enough to be put to the test" if own < 1 and p() > 0.05 else ""
    )


# --------------------------------------------------------------------------- the model


@dataclass(frozen=True, eq=False)
class _Point:
    """A model at some coefficients: log likelihood, and information (q, q).

    centred : (n, K, q) the design less its mean under the probabilities; weighed : that times them.
    """

    likelihood: float
    information: Floats
    centred: Floats
    weighed: Floats

    @property
    def penalised(self) -> float:
        """The log likelihood with Firth's penalty, half the log determinant of the information.

        -inf where float64 holds no inverse of it.
        """
        values = np.linalg.eigvalsh(self.information)
        if not values[0] > max(1e-13 * values[-1], 1e-100):
            return -np.inf
        return self.likelihood + 0.5 * float(np.log(values).sum())

    def pull(self) -> Floats:
        """The penalty's derivative (q,): each row's leverage times its third moment."""
        inverse = np.linalg.inv(self.information)
        leverage = np.einsum("nkq,nkq->nk", self.centred @ inverse, self.centred)
        pull: Floats = 0.5 * np.einsum("nk,nkq->q", leverage, self.weighed)
        return pull


@dataclass(frozen=True, eq=False)
class _Model:
    """A multinomial logistic model of n images and K classes with q coefficients.

    start : (q,) the coefficients of probabilities that are right. design : (n, K, q). offset :
    (n, K). y, group : (n,) numbers.
    """

    start: Floats
    design: Floats
    offset: Floats
    y: Ints
    group: Ints
    n_groups: int

    @property
    def clustered(self) -> bool:
        return self.n_groups < len(self.y)

    def at(self, theta: Floats) -> _Point:
        log_p = special.log_softmax(self.offset + self.design @ theta, axis=1)  # (n, K)
        p = np.exp(log_p)
        centred = self.design - np.einsum("nk,nkq->nq", p, self.design)[:, None]
        weighed = p[:, :, None] * centred
        information = np.tensordot(weighed, centred, ([0, 1], [0, 1]))
        likelihood = float(log_p[np.arange(len(self.y)), self.y].sum())
        return _Point(likelihood, information, centred, weighed)

    def scores(self, point: _Point) -> NDArray[np.float64]:
        """The derivative of the log likelihood, each image's part (n, q)."""
        return np.asarray(point.centred[np.arange(len(self.y)), self.y])

    def by_group(self, rows: Floats) -> NDArray[np.float64]:
        """Sums (n_groups, q) of rows (n, q)."""
        columns = [np.bincount(self.group, row, self.n_groups) for row in rows.T]
        return np.stack(columns, axis=1)


def _fit(
    model: _Model, start: Floats | None = None, fixed: int | None = None
) -> NDArray[np.float64]:
    """Firth's estimates (q,), by Newton's steps; the coefficient `fixed` stays as it starts."""
    theta = np.array(model.start if start is None else start, float)
    free = np.arange(len(theta)) != (-1 if fixed is None else fixed)
    point = model.at(theta)
    for _ in range(100):
        if not np.isfinite(point.penalised):
            break
        slope = (model.scores(point).sum(axis=0) + point.pull())[free]
        step = np.zeros(len(theta))
        step[free] = np.linalg.solve(point.information[np.ix_(free, free)], slope)
        step *= min(1.0, 3.0 / max(float(np.abs(step).max()), 1e-12))
        if slope @ step[free] < 1e-8:  # twice what is left to gain
            break
        for _ in range(30):
            after = model.at(theta + step)
            if after.penalised > point.penalised:
                break
            step /= 2
        theta, point = theta + step, after
    return theta


def _estimate(model: _Model, fitted: Floats) -> Estimate:
    """The first coefficient with its penalised profile likelihood interval.

    It ends where twice the loss of likelihood is the squared quantile of t, times what the
    sandwich over groups makes of the variance: at least 1, for few groups show it poorly. t has the
    degrees of freedom of that sandwich, as far as images repeat (`blended`): where few patients are
    a surprise, these make it. Within `NARROW` the likelihood is a parabola, whose ends (Wald's)
    need no search.
    """
    point = model.at(fitted)
    variance = float(np.linalg.inv(point.information)[0, 0])
    scale, quantile, how = 1.0, float(stats.norm.isf((1 - LEVEL) / 2)), ""
    if model.clustered:
        parts = _left_out(model, point)
        scale = max(1.0, float((parts**2).sum()) * (1 - 1 / model.n_groups) / variance)
        freedom = blended(freedom_of(parts), model.n_groups - 1, np.bincount(model.group))
        quantile = float(stats.t.isf((1 - LEVEL) / 2, freedom))
        how = f", sandwich {describe_groups(model.group.astype(str))}"
    n, value = len(model.y), float(fitted[0])
    half = quantile * float(np.sqrt(scale * variance))
    if half < NARROW:
        return Estimate(value, value - half, value + half, n, f"Firth, Wald{how}")
    loss = scale * quantile**2 / 2

    def profile(value: float, start: Floats) -> NDArray[np.float64]:
        return _fit(model, np.r_[value, start[1:]], 0)

    def holds(theta: Floats) -> bool:
        return point.penalised - model.at(theta).penalised < loss

    ends = []
    for side in (-1.0, 1.0):
        inside = outside = np.array(fitted, float)
        step = side * float(np.sqrt(2 * loss * variance))
        for _ in range(STEPS):  # of separated classes of few groups the end may be far
            outside = profile(inside[0] + step, inside)
            if not holds(outside):
                break
            inside = outside
        for _ in range(HALVINGS):
            middle = profile((inside[0] + outside[0]) / 2, inside)
            inside, outside = (middle, outside) if holds(middle) else (inside, middle)
        ends.append(float(outside[0]))
    return Estimate(value, ends[0], ends[1], n, f"Firth, profile likelihood{how}")


def _left_out(model: _Model, point: _Point) -> NDArray[np.float64]:
    """What leaving out each group does to the first coefficient (n_groups,).

    A group's influence is `(I - I_g)^-1 s_g`, of its information and its score: without the
    correction few groups, each of which draws the fit to itself, seem to agree. Their squares add
    up to Bell and McCaffrey's CR3.
    """
    own = np.einsum("nkq,nkr->nqr", point.weighed, point.centred)
    within = np.zeros((model.n_groups, *own.shape[1:]))
    np.add.at(within, model.group, own)
    scores = model.by_group(model.scores(point))
    without = np.linalg.pinv(point.information - within, hermitian=True)  # (n_groups, q, q)
    return np.asarray(np.einsum("gq,gq->g", without[:, 0], scores))


def _average(p: Floats, is_class: NDArray[np.bool_], group: Ints, n_groups: int) -> Estimate:
    """Mean stated probability minus share, with Student's interval over groups.

    Where outcomes show less spread than the probabilities say, these are believed.
    """
    n = len(p)
    gap = p - is_class
    value = float(gap.mean())
    if n_groups < 2:
        return Estimate(value, -1.0, 1.0, n, "undefined: one group")
    parts = np.bincount(group, gap - value, n_groups) / n
    seen = float((parts**2).sum()) * n_groups / (n_groups - 1)
    error = float(np.sqrt(max(seen, float((p * (1 - p)).sum()) / n**2)))
    half = float(stats.t.isf((1 - LEVEL) / 2, n_groups - 1)) * error
    method = f"t over {'images' if n_groups == n else f'{n_groups} groups'}"
    if half < 1e-6:
        half, method = wilson(0, n_groups, LEVEL).high, f"Wilson on {n_groups} groups (no spread)"
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half), n, method)


# --------------------------------------------------------------------------- the test


def _test(model: _Model) -> float:
    """The score test against coefficients of probabilities that are right: its p."""
    point = model.at(model.start)
    values, vectors = np.linalg.eigh(point.information)
    kept = values > 1e-9 * max(float(values[-1]), 1e-9)
    whiten = vectors[:, kept] / np.sqrt(values[kept])  # (q, rank)
    parts = model.by_group(model.scores(point) @ whiten)  # (n_groups, rank)
    rng = np.random.default_rng(0)
    # Equal numbers of images meet equal draws: what few of them miss of the rate, all of them miss.
    draws = int(np.clip(DRAWN // model.offset.size, *DRAWS))
    if model.clustered:
        width = max(1, CHUNK // model.n_groups)
        several = (min(width, draws - start) for start in range(0, draws, width))
        signs = (rng.choice([-1.0, 1.0], (n, model.n_groups)) for n in several)
        others = np.concatenate([some @ parts for some in signs])
    else:
        others = _drawn(model, point.centred @ whiten, rng, draws)
    statistic, null = ((sums**2).sum(axis=-1) for sums in (parts.sum(axis=0), others))
    return (1 + int((null > statistic - 1e-6).sum())) / (len(null) + 1)


def _drawn(
    model: _Model, scores: Floats, rng: np.random.Generator, draws: int
) -> NDArray[np.float64]:
    """Sums (draws, rank) of scores (n, K, rank), each image's class drawn by what was stated."""
    cumulated = special.softmax(model.offset + model.design @ model.start, axis=1).cumsum(axis=1)
    sums = []
    width = max(1, CHUNK // len(cumulated))
    for start in range(0, draws, width):
        at = rng.random((min(width, draws - start), len(cumulated)))
        found = np.broadcast_to(scores[:, 0].sum(axis=0), (len(at), scores.shape[2]))
        for k in range(1, scores.shape[1]):  # from class k on: one more step along the classes
            found = found + (at > cumulated[:, k - 1]) @ (scores[:, k] - scores[:, k - 1])
        sums.append(found)
    return np.concatenate(sums)


def _needed(slope: Estimate, averages: Iterable[Estimate]) -> int:
    """Images with which intervals around 1 and 0 are within what is tolerated, 4 times in 5."""
    low, high = (abs(end - 1) for end in TOLERATED)
    widths = [(slope.value - slope.low) / low, (slope.high - slope.value) / high]
    widths += [(one.high - one.low) / 2 / MOST_OFF for one in averages]
    luck = 1 + float(stats.norm.isf(0.1) / stats.norm.isf((1 - LEVEL) / 2))
    return int(np.ceil(slope.n * (luck * max(widths)) ** 2))
