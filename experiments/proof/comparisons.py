"""Does a test cry wolf, and is a winner's figure worth what is said of it?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial

import numpy as np

from medgraft.evaluate.compare import compare
from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.winners_curse import resample_in_and_out
from medgraft.studies.questions import answer
from medgraft.studies.recommend import recommend
from medgraft.types import Scenario
from proof.cell import Bound, Cell
from proof.scores import distance, true_auroc, two_classes

RESAMPLES = Sampling(resamples=1000)
LEVEL = 0.05
PROBES = 3  # scenarios of the family that others are held against
WINNERS = {
    "20 know nothing": (0.0,) * 20,
    "20 equal, .92": (distance(0.92),) * 20,
    "20 from .80 to .92": tuple(distance(a) for a in np.linspace(0.80, 0.92, 20)),
}


def cells() -> Iterator[Cell]:
    """Pairs, several against one, families, the best against the rest, and the winner."""
    for metric in ("auroc", "balanced_accuracy", "log_loss"):
        for size, ns in {1: (60, 300), 3: (60, 300), 10: (300, 600)}.items():
            for n in ns:
                for rho in (0.5, 0.9):
                    yield _pair(metric, n, size, rho)
    for size in (1, 3, 10):
        yield _many("several against one", partial(_several, n=300, size=size), 300, size, 1000)
    for members in (3, 20):
        for size in (1, 3):
            run = partial(_family, members=members, n=300, size=size)
            yield _many(f"best of {members} against best of {PROBES} probes", run, 300, size, 600)
    for kind in WINNERS:
        for n, size in ((60, 1), (300, 1), (300, 10)):
            yield _won(kind, n, size)


# --------------------------------------------------------------------------- pairs


def _pair(metric: str, n: int, size: int, rho: float) -> Cell:
    setting = {
        "metric": metric, "images": f"{n}", "a patient": f"{size}", "rho": f"{rho:g}",
    }  # fmt: skip
    large = n >= 150 and n / size >= 30
    why = "" if large else "fewer than 150 images or 30 patients"
    low, high = (0.93 if size == 1 else 0.91, 0.98) if large else (0.90, 1.0)
    bounds = {
        "p below .05": Bound(LEVEL, 0.0, 0.07 if large else 0.10, why),
        "interval covers 0": Bound(0.95, low, high, why),
    }
    short = {("auroc", 300, 1, 0.5): 400, ("auroc", 300, 10, 0.5): 300,
             ("balanced_accuracy", 300, 3, 0.5): 300, ("log_loss", 300, 10, 0.9): 300}  # fmt: skip
    run = partial(_two, metric=metric, n=n, size=size, rho=rho)
    sample = short.get((metric, n, size, rho), 0)
    return Cell("pairs", setting, run, 2000 if size == 1 else 1000, bounds, sample)


def _two(rng: np.random.Generator, metric: str, n: int, size: int, rho: float) -> dict[str, float]:
    """Two of equal worth; and, for what the test sees, one of .92 against one of .95."""
    a, b = two_classes(rng, n, size, [distance(0.92)] * 2, rho, folds=True)
    (found,) = compare(a, [b], metric, sampling=RESAMPLES)
    a, b = two_classes(rng, n, size, [distance(0.92), distance(0.95)], rho, folds=True)
    (better,) = compare(a, [b], metric, sampling=RESAMPLES)
    return {
        "p below .05": float(found.p < LEVEL),
        "interval covers 0": float(found.low <= 0 <= found.high),
        "sees .95 against .92": float(better.p < LEVEL),
    }


# --------------------------------------------------------------------------- many


def _many(what: str, run: partial[dict[str, float]], n: int, size: int, runs: int) -> Cell:
    large = n >= 150 and n / size >= 30
    bounds = {"false alarm": Bound(LEVEL, 0.0, 0.07 if large else 0.10)}
    if "probes" in what:
        bounds["difference"] = Bound(0.0, -0.002, 0.002)
    setting = {"question": what, "images": f"{n}", "a patient": f"{size}"}
    sample = {"several against one": 150, "best of 20 against best of 3 probes": 60}.get(what, 0)
    return Cell("many", setting, run, runs, bounds, sample if size == 1 else 0)


def _several(rng: np.random.Generator, n: int, size: int) -> dict[str, float]:
    """Eight equal ones, the first of which was named before: any p below .05 is an alarm."""
    first, *others = two_classes(rng, n, size, [distance(0.92)] * 8, 0.7, folds=True)
    found = compare(first, others, "auroc", sampling=RESAMPLES)
    return {"false alarm": float(min(one.p for one in found) < LEVEL)}


def _family(rng: np.random.Generator, members: int, n: int, size: int) -> dict[str, float]:
    """The best of a family against the best probe, all equal."""
    said = two_classes(rng, n, size, [distance(0.92)] * (PROBES + members), 0.7, folds=True)
    scenarios = [
        Scenario.from_key(f"probe/net/t{k}/svm" if k < PROBES else f"vlad/net/t{k}/k8/svm")
        for k in range(len(said))
    ]
    named = [dataclasses.replace(p, scenario=s.key) for s, p in zip(scenarios, said, strict=True)]
    (asked,) = answer(scenarios, resample_in_and_out(named, "auroc", sampling=RESAMPLES))
    return {
        "false alarm": float(asked.answer != "no difference seen"),
        "difference": asked.comparison.difference,
    }


# --------------------------------------------------------------------------- the winner


def _won(kind: str, n: int, size: int) -> Cell:
    setting = {"scenarios": kind, "images": f"{n}", "a patient": f"{size}"}
    large = n >= 150 and n / size >= 30
    room = 0.005 if large else 0.02
    bounds = {
        "bias of the corrected figure": Bound(0.0, -room, room),
        "corrected covers": Bound(0.95, 0.91 if large else 0.90, 0.98 if large else 1.0),
    }
    if kind != "20 from .80 to .92":
        bounds["false alarm"] = Bound(LEVEL, 0.0, 0.07 if large else 0.10)
    run = partial(_winner, kind=kind, n=n, size=size)
    sample = 40 if (kind, n, size) == ("20 equal, .92", 300, 1) else 0
    return Cell("winner", setting, run, 300, bounds, sample)


def _winner(rng: np.random.Generator, kind: str, n: int, size: int) -> dict[str, float]:
    """Twenty, of which a study recommends one; an alarm: another is called surely worse."""
    d = WINNERS[kind]
    said = two_classes(rng, n, size, d, 0.7, folds=True)
    drawn = resample_in_and_out(said, "auroc", sampling=RESAMPLES)
    choice = recommend(drawn)
    chosen = int(choice.recommended[1:])
    truth = true_auroc(d[chosen])
    corrected = choice.corrected
    return {
        "false alarm": float(min(one.p for one in choice.comparisons) < LEVEL),
        "bias of the winner's own figure": float(drawn.values[chosen]) - truth,
        "bias of the corrected figure": corrected.value - truth,
        "corrected covers": float(corrected.low <= truth <= corrected.high),
        "width": corrected.high - corrected.low,
        "lost by the choice": true_auroc(max(d)) - truth,
    }
