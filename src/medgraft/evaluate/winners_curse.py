"""The winner's curse: a best that was chosen is worth less than it shows, others look worse.

Everything here rests on one set of resamples of whole groups, shared by all scenarios. A resample
draws some groups, the *bag*, and leaves out about 37 %: what was chosen in the bag is judged out of
it, by images that had no part in the choice. Nothing here may see the test split.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special, stats

from medgraft.evaluate.calibration import require_development
from medgraft.evaluate.compare import compare, of_all, paired_cases
from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.intervals import DEFAULT, Sampling, Weights, bootstrap, ones
from medgraft.evaluate.metrics import METRICS, Case, Threshold, value_range
from medgraft.results.figures import Comparison
from medgraft.types import Estimate, Floats, Ints, Predictions

Choice = Callable[[Floats], Ints]
"""From metrics (n_scenarios, n_resamples) to the chosen scenario of each resample."""

PairChoice = Callable[[Floats], tuple[Ints, Ints]]
"""The same of two scenarios: what is new, and its baseline."""


@dataclass(frozen=True, eq=False)
class Resampled:
    """One metric of several scenarios on all images, in every bag and out of it.

    values : (n_scenarios,). in_bag, out_of_bag : (n_scenarios, n_resamples), nan where the metric
    is undefined. cases : what was judged, in the order of `scenarios`.
    """

    scenarios: tuple[Predictions, ...]
    cases: tuple[Case, ...]
    metric: str
    sampling: Sampling
    values: Floats
    in_bag: Floats
    out_of_bag: Floats

    def of(self, chosen: Sequence[int]) -> Resampled:
        """The same of some of its scenarios."""
        rows = list(chosen)
        return replace(
            self,
            scenarios=tuple(self.scenarios[i] for i in rows),
            cases=tuple(self.cases[i] for i in rows),
            values=self.values[rows],
            in_bag=self.in_bag[rows],
            out_of_bag=self.out_of_bag[rows],
        )

    @functools.cached_property
    def luck(self) -> Floats:
        """How much better or worse each scenario does on the images left out, as `out_of_bag`.

        Averages to nothing: what a scenario's resamples have in common is the small number of
        images, and what the scenarios have in common in a resample is none of the choice between
        them. Taking both out makes a few hundred resamples enough.
        """
        luck = self.out_of_bag - self.values[:, None]
        luck = luck - _mean(luck, axis=1)
        return luck - _mean(luck, axis=0)


def resample_in_and_out(
    scenarios: Sequence[Predictions],
    metric: str,
    thresholds: Mapping[str, Threshold] | None = None,
    sampling: Sampling = DEFAULT,
) -> Resampled:
    """Judge scenarios in and out of the bag of every resample.

    Raises
    ------
    LeakError
        Test images are among them.
    DataError
        The scenarios were not judged on the same images in the same order.
    """
    require_development(scenarios, "what serves a choice")
    cases = paired_cases(scenarios, thresholds)
    weigh = of_all(cases, metric)

    def both(weights: Weights) -> Floats:
        left_out = (weights == 0).astype(weights.dtype)
        return np.stack([weigh(weights), weigh(left_out)])

    values = weigh(ones(len(cases[0].y)))[:, 0]
    in_bag, out_of_bag = bootstrap(both, cases[0].groups, sampling)
    return Resampled(tuple(scenarios), tuple(cases), metric, sampling, values, in_bag, out_of_bag)


def best(values: Floats, metric: str) -> Ints:
    """The best scenario of each resample; where a metric is undefined, it does not win.

    values : (n_scenarios, n_resamples). Of equals the first is the best.
    """
    worth = METRICS[metric].sign * values
    index: Ints = np.where(np.isnan(worth), -np.inf, worth).argmax(axis=0)
    return index


def judged_out_of_bag(drawn: Resampled, chosen: Ints) -> Floats:
    """What was chosen in each of the first bags, judged out of it: (n_chosen,) from indices."""
    judged: Floats = drawn.values[chosen] + drawn.luck[chosen, np.arange(len(chosen))]
    return judged


def _mean(values: Floats, axis: int) -> Floats:
    """Of what is defined, keeping the axis; nan where nothing is."""
    defined = np.isfinite(values)
    counts = defined.sum(axis=axis, keepdims=True)
    sums = np.where(defined, values, 0.0).sum(axis=axis, keepdims=True)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


# --------------------------------------------------------------------------- the winner's figure


def bias_corrected(
    scenarios: Sequence[Predictions] | Resampled,
    metric: str,
    thresholds: Mapping[str, Threshold] | None = None,
    choose: Choice | None = None,
    sampling: Sampling = DEFAULT,
) -> Estimate:
    """What the winner's out-of-fold figure is worth once its having been chosen is discounted.

    The value is that of BBC-CV (Tsamardinos et al. 2018) with groups as the units: in each
    resample the scenario is chosen in the bag and judged out of it, and the judgements are
    averaged. The interval is the winner's own, moved by as much as the value on the logit scale of
    the metric's range: percentiles of the judgements rest on 37 % of the groups and are half as
    wide again as they need be (docs/decisions/0015). Where the winner has made no error yet, its
    own interval is kept and reaches to the corrected value.

    Parameters
    ----------
    scenarios : predictions, or what `resample_in_and_out` made of them.
    choose : the rule of choice; by default the best value of `metric`.

    Raises
    ------
    LeakError, DataError
        As `resample_in_and_out`.
    """
    if isinstance(scenarios, Resampled):
        drawn = scenarios
    else:
        drawn = resample_in_and_out(scenarios, metric, thresholds, sampling)
    pick = choose or (lambda values: best(values, metric))
    return corrected_by(drawn, int(pick(drawn.values[:, None])[0]), pick(drawn.in_bag))


def corrected_by(drawn: Resampled, winner: int, chosen: Ints) -> Estimate:
    """`bias_corrected` from what was chosen: on all images, and in the first bags (n_chosen,)."""
    case = drawn.cases[winner]
    own = estimate(case, [drawn.metric], drawn.sampling)[drawn.metric]
    judged = judged_out_of_bag(drawn, chosen)
    judged = judged[np.isfinite(judged)]
    value = float(judged.mean()) if len(judged) else own.value
    scenarios = f"{len(drawn.cases)} scenarios, {len(judged)} resamples"
    method = f"bootstrap bias correction over {scenarios}; interval of the winner, {own.method}"
    least, most = value_range(drawn.metric, case)
    if own.value in (own.low, own.high) or not least < value < most:
        value = float(np.clip(value, least, most))
        return Estimate(value, min(own.low, value), max(own.high, value), own.n, method)
    share = (np.array([own.value, own.low, own.high, value]) - least) / (most - least)
    at, below, above, to = special.logit(np.clip(share, 0, 1))
    low, high = least + (most - least) * special.expit(np.array([below, above]) + to - at)
    return Estimate(value, float(low), float(high), own.n, method)


# --------------------------------------------------------------------------- against a chosen best


def compare_with_best(drawn: Resampled) -> tuple[Comparison, ...]:
    """The best against every other, in their order, with p that knows the best was chosen.

    Difference and interval are those of the pair, as `compare` gives them. p answers "could this
    one be the best after all?", for all others at once: a step-down test (as Romano and Wolf 2005)
    with the largest studentised difference as in multiple comparisons with the best (Hsu 1984).
    With ``t_ij = (d_i - d_j) / se_ij`` of what a resample adds to scenarios i and j, that of i is
    compared with the distribution of ``max t_ji`` over all j and over all i not yet rejected. So
    the chance that any scenario as good as the best is called worse is the level, for any number
    of scenarios and however they were correlated.
    """
    chosen = int(best(drawn.values[:, None], drawn.metric)[0])
    others = [i for i in range(len(drawn.scenarios)) if i != chosen]
    plain = compare(
        drawn.scenarios[chosen],
        [drawn.scenarios[i] for i in others],
        drawn.metric,
        sampling=drawn.sampling,
    )
    p = could_be_best(drawn, chosen)
    return tuple(replace(one, p=float(p[i])) for one, i in zip(plain, others, strict=True))


def could_be_best(drawn: Resampled, chosen: int) -> Floats:
    """(n_scenarios,) p that each is as good as the best."""
    sign = METRICS[drawn.metric].sign
    defined = np.flatnonzero(np.isfinite(drawn.values) & np.isfinite(drawn.in_bag).any(axis=1))
    p = np.ones(len(drawn.values))
    if len(defined) < 2:
        return p
    values, added = sign * drawn.values[defined], sign * drawn.in_bag[defined]
    added = added[:, np.isfinite(added).all(axis=0)]
    added = added - added.mean(axis=1, keepdims=True)
    error = np.sqrt(_variance_of_differences(added))
    scale = np.where(error < 1e-6, np.inf, error)  # what does not differ is no rival
    gaps = (values[defined == chosen] - values) / scale[defined == chosen][0]
    # The largest lead of any other over i that resampling alone makes, (n_scenarios, n_resamples).
    leads = np.stack(
        [((added - row) / scale[i][:, None]).max(axis=0) for i, row in enumerate(added)]
    )
    order = np.argsort(gaps)  # from the best on, so that the largest gap is tested against all
    largest = np.maximum.accumulate(leads[order], axis=0)
    counts = 1 + (largest >= gaps[order][:, None]).sum(axis=1)
    steps = np.maximum.accumulate((counts / (1 + added.shape[1]))[::-1])[::-1]
    p[defined[order]] = np.minimum(steps, 1.0)
    return p


def compare_chosen(drawn: Resampled, choose: PairChoice) -> Comparison:
    """What was chosen as new against what was chosen as its baseline, both choices discounted.

    In each resample both are chosen in the bag and their difference is judged out of it; the mean
    is unbiased however many there were to choose from. The interval is that of the pair chosen on
    all images, moved to this difference and, where that is wider, as wide as that of the pairs
    which bags choose: the best show less noise than they have. p comes from the difference over
    the standard error, which is the interval's half-width over its normal quantile. Where no bag
    chooses another pair, nothing was chosen, and the comparison is the pair's own.
    """
    new, baseline = (int(index[0]) for index in choose(drawn.values[:, None]))
    (plain,) = compare(
        drawn.scenarios[new], [drawn.scenarios[baseline]], drawn.metric, sampling=drawn.sampling
    )
    news, baselines = choose(drawn.in_bag)
    judged = judged_out_of_bag(drawn, news) - judged_out_of_bag(drawn, baselines)
    chosen = len(np.unique(news)) > 1 or len(np.unique(baselines)) > 1
    if not (chosen and np.isfinite(judged).any()):
        return plain
    difference = float(np.nanmean(judged))
    variance = _variance_of_differences(drawn.in_bag)
    usual, met = variance[new, baseline], float(np.nanmean(variance[news, baselines]))
    wider = np.sqrt(met / usual) if met > usual > 0 else 1.0
    low, high = (
        difference + float(wider) * (end - plain.difference) for end in (plain.low, plain.high)
    )
    error = (high - low) / 2 / float(stats.norm.isf(drawn.sampling.tail))
    p = 2 * float(stats.norm.sf(abs(difference) / error)) if error > 0 else 1.0
    return replace(plain, difference=difference, low=low, high=high, p=p)


def _variance_of_differences(samples: Floats) -> Floats:
    """Of each two of (n_scenarios, n_resamples), (n_scenarios, n_scenarios)."""
    covariance = np.cov(samples[:, np.isfinite(samples).all(axis=0)])
    own = np.diag(covariance)
    variance: Floats = np.maximum(own[:, None] + own - 2 * covariance, 0)
    return variance
